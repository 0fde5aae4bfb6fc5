package up

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	rules := rpmflow.Publish{On: true, Replace: true, RefuseLower: true, Keep: 2, KeepAge: time.Hour, Together: true}
	cfg.Projects = []rpmflow.Project{{Name: "hello", URL: "/srv/git/hello.git", Targets: []string{"host"},
		Publish: rules}, {Name: "all", URL: "https://git.example.com/all.git"}}
	key := testkit.Write(t, filepath.Join(dir, "key.asc"), "the secret key\n")
	cfg.Publisher.SigningKey, cfg.Publisher.SigningKeyFile = "the secret key", key
	cfg.Publisher.SigningCommand, cfg.Publisher.URL = "/usr/bin/sign", &url.URL{Scheme: "https", Host: "p.example.com"}
	file := filepath.Join(dir, ClientFile)
	testkit.Must(t, writeClient(file, cfg))
	got, err := config.Load(config.Source{File: file, For: config.ForOperator})
	testkit.Must(t, err)
	if len(got.Targets) != 3 || len(got.Projects) != 2 || got.Builder.Engine != config.EngineRPMBuild ||
		got.Targets[0].Name != rpmflow.HostTarget(osrelease.Read()).Name {
		t.Errorf("%+v", got)
	}
	if got.Projects[0].Publish != rules || got.Projects[1].Publish != (rpmflow.Publish{}) {
		t.Errorf("what is published: %+v", got.Projects)
	}
	if got.Publisher.SigningKey != cfg.Publisher.SigningKey ||
		got.Publisher.SigningKeyFile != key || got.Publisher.SigningCommand != "/usr/bin/sign" ||
		got.RepositoriesURL() != "https://p.example.com" {
		t.Errorf("the publisher's: %+v", got.Publisher)
	}
	if strings.Contains(string(testkit.Value(os.ReadFile(file))(t)), "the secret key") {
		t.Error("the signing key is in the file")
	}
}
