package compose_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// TestImages checks what every image must have.
func TestImages(t *testing.T) {
	needImages(t)
	for name, entrypoint := range map[string][]string{
		"base": nil, "listener": {"listener"}, "builder": {"builder"}, "publisher": {"publisher"},
		"rpmflow": {"rpmflow"}, "nats": {"/nats-server"}, "versitygw": {"/rpmflow", "s3"},
	} {
		t.Run(name, func(t *testing.T) {
			var images []struct {
				Size   int64
				Config struct {
					User       string
					Entrypoint []string
					Labels     map[string]string
					Env        []string
					// absent in images without
					Healthcheck *struct{ Test []string }
				}
				RepoTags []string
			}
			testkit.Must(t, json.Unmarshal([]byte(docker(t, "image", "inspect", "rpmflow/"+name+":latest")),
				&images))
			i := images[0]
			if i.Size >= 120_000_000 {
				t.Errorf("%d bytes: trim it, see deploy/images/base/trim", i.Size)
			}
			for _, label := range []string{"title", "description", "version", "revision", "source", "licenses"} {
				if i.Config.Labels["org.opencontainers.image."+label] == "" {
					t.Errorf("no label %s", label)
				}
			}
			if len(i.RepoTags) < 2 {
				t.Errorf("tags %v: the version is missing", i.RepoTags)
			}
			if name == "base" {
				return
			}
			if i.Config.User != "10001:10001" || !slices.Equal(i.Config.Entrypoint, entrypoint) {
				t.Errorf("runs %v as %q", i.Config.Entrypoint, i.Config.User)
			}
			if (i.Config.Healthcheck == nil) != (name == "rpmflow") {
				t.Errorf("health check: %+v", i.Config.Healthcheck)
			}
		})
	}
}

// TestBase sees to it that nothing which the programs call was trimmed away.
func TestBase(t *testing.T) {
	needImages(t)
	r := serveRepository(t, system.Bridge(t))
	writeFile(t, r.tree+"/file", "content\n", 0o644)
	git(t, r.tree, "add", "--all")
	git(t, r.tree, "commit", "--quiet", "--message", "Begin")
	git(t, r.tree, "push", "--quiet", "origin", "main")
	docker(t, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--user", "10001:10001", "--cap-drop", "ALL",
		"--entrypoint", "sh", "rpmflow/builder:latest", "-euxc", `
		git clone --quiet `+r.url+` /tmp/clone
		git clone --quiet --bare file:///tmp/clone /tmp/bare.git
		[ "$(git -C /tmp/bare.git archive --format=tar main | tar -xO file)" = content ]
		[ "$(git -C /tmp/clone rev-parse HEAD)" = `+git(t, r.tree, "rev-parse", "HEAD")+` ]
		grep -q BEGIN /etc/ssl/certs/ca-certificates.crt
		ssh -V
		[ "$(ssh -G example.com | sed -n 's/^user //p')" = rpmflow ]`)
}
