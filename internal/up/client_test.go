package up

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/osrelease"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestClientFile loads what Up leaves for the command line: with all settings the file must be valid.
func TestClientFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg, err := config.Load(config.Source{})
	testkit.Must(t, err)
	cfg.DataDir, cfg.Builder.Engine = dir, config.EngineRPMBuild
	cfg.S3.AccessKey, cfg.S3.SecretKey, cfg.NATS.User, cfg.NATS.Password = "rpmflow", "secret", "rpmflow", "secret"
	cfg.PublicURL = &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}
	mock := rpmflow.Target{Name: "fedora-43-x86_64", Arch: "x86_64", Config: "fedora-43-x86_64",
		Image: "rpmflow/mock:latest"}
	cfg.Targets = []rpmflow.Target{rpmflow.HostTarget(osrelease.Read()), {Name: "host", Arch: "x86_64"}, mock}
	cfg.Projects = []rpmflow.Project{{Name: "hello", URL: "/srv/git/hello.git", Targets: []string{"host"}},
		{Name: "all", URL: "https://git.example.com/all.git"}}
	file := filepath.Join(dir, ClientFile)
	testkit.Must(t, writeClient(file, cfg))
	got, err := config.Load(config.Source{File: file, For: config.ForOperator})
	testkit.Must(t, err)
	if len(got.Targets) != 3 || len(got.Projects) != 2 || got.Builder.Engine != config.EngineRPMBuild ||
		got.Targets[0].Name != rpmflow.HostTarget(osrelease.Read()).Name {
		t.Errorf("%+v", got)
	}
}
