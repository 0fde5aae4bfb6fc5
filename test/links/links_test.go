// Package links_test holds what each program links: a program that faces a network carries nothing that it does not
// use.
package links_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The libraries and packages by which a program is recognised, each with everything below it.
const (
	docker     = "github.com/docker/docker"
	natsServer = "github.com/nats-io/nats-server/v2"
	natsClient = "github.com/nats-io/nats.go"
	s3Server   = "github.com/versity/versitygw"
	awsSDK     = "github.com/aws/aws-sdk-go-v2"
	s3Client   = "github.com/minio/minio-go/v7"
	sqlite     = "modernc.org/sqlite"
	goGit      = "github.com/go-git/go-git/v5"

	ours = "github.com/rpmflow/rpmflow/internal/"
)

func TestPrograms(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]struct{ linked, absent []string }{
		"listener": {
			linked: []string{natsClient, s3Client, sqlite, goGit, ours + "listener", ours + "readmodel", ours +
				"forge"},
			absent: []string{docker, natsServer, s3Server, awsSDK, ours + "build", ours + "builder", ours + "up"},
		},
		"builder": {
			linked: []string{natsClient, s3Client, docker, goGit, ours + "builder", ours + "build/mock", ours +
				"build/hostrpm"},
			absent: []string{sqlite, natsServer, s3Server, awsSDK, ours + "listener", ours + "readmodel", ours +
				"forge",
				ours + "up"},
		},
		"rpmflow": {
			linked: []string{natsServer, s3Server, docker, sqlite, ours + "up", ours + "listenerd", ours + "builderd"},
		},
	} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/"+program)
			cmd.Dir = "../.."
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("go list: %v", err)
			}
			packages := strings.Fields(string(out))
			links := func(root string) bool {
				return slices.ContainsFunc(packages,
					func(p string) bool { return p == root || strings.HasPrefix(p, root+"/") })
			}
			for _, root := range want.linked {
				if !links(root) {
					t.Errorf("%s does not link %s", program, root)
				}
			}
			for _, root := range want.absent {
				if links(root) {
					t.Errorf("%s links %s: find the importer with go mod why or go list -deps", program, root)
				}
			}
			t.Logf("%s links %d packages", program, len(packages))
		})
	}
}
