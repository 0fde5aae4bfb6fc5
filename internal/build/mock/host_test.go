package mock

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocktest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

const patience = 5 * time.Minute

// host is an installation of rpmflow: its engine, and a repository that its target is made from.
type host struct {
	image        string
	installation string
	repository   string // container that serves it
	target       rpmflow.Target
}

func newHost(t *testing.T) *host {
	t.Helper()
	image := testkit.Standin(t)
	h := &host{image: image, installation: rpmflow.DeriveID("test", t.Name(), time.Now().String())}
	t.Cleanup(func() { mocktest.Forget(t, h.installation) })
	h.repository = mocktest.Docker(t, "run", "-d", image, "sh", "-c",
		"mkdir -p /repo/repodata && echo one >/repo/repodata/repomd.xml && exec python3 -m http.server --directory "+
			"/repo 80")
	t.Cleanup(func() { mocktest.Docker(t, "rm", "-fv", h.repository) })
	testkit.Eventually(t, "an answer of the repository", func() bool {
		return exec.Command("docker", "exec", h.repository, "python3", "-c",
			"import urllib.request as r; r.urlopen('http://127.0.0.1/')").Run() == nil
	})
	ip := mocktest.Docker(t, "inspect", "--format", "{{.NetworkSettings.IPAddress}}", h.repository)
	config := filepath.Join(t.TempDir(), "ours.cfg")
	testkit.Write(t, config, "include('/etc/mock/standin-1-x86_64.cfg')\nconfig_opts['dnf.conf'] = "+
		"'[main]\\n[r]\\nbaseurl=http://"+ip+"/\\n'\n")
	h.target = rpmflow.Target{Name: "ours", Arch: rpmflow.HostArch(), Config: config, Image: image, MaxAge: time.Hour}
	return h
}

// serve gives the repository another state; none: it is out of reach.
func (h *host) serve(t *testing.T, repomd string) {
	t.Helper()
	script := "mkdir -p /repo/repodata && echo " + repomd + " >/repo/repodata/repomd.xml"
	if repomd == "" {
		script = "rm -r /repo/repodata"
	}
	mocktest.Docker(t, "exec", h.repository, "sh", "-c", script)
}

// attempt is a session with what it reports.
type attempt struct {
	build.Session
	s          *session
	log        *bytes.Buffer
	containers int
	root       rpmflow.BuildRoot
}

func (h *host) engine(t *testing.T) *Engine {
	t.Helper()
	return h.engineWith(t, Settings{})
}

func (h *host) engineWith(t *testing.T, s Settings) *Engine {
	t.Helper()
	s.Network, s.PIDs, s.Packages, s.Installation, s.Logger = "bridge", 4096, 1<<30, h.installation, quiet
	e, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Shut() })
	return e
}

func (h *host) open(t *testing.T, e *Engine, name string, target rpmflow.Target) *attempt {
	t.Helper()
	return h.openFor(t, e, name, target, rpmflow.Build{BuildRequest: rpmflow.BuildRequest{Project: "p", Package: "p"}})
}

// openFor is a session of a build that asks for more.
func (h *host) openFor(t *testing.T, e *Engine, name string, target rpmflow.Target, b rpmflow.Build) *attempt {
	t.Helper()
	a := &attempt{log: &bytes.Buffer{}}
	b.ID, b.Attempt = rpmflow.DeriveID("build", t.Name(), name), 2
	s, err := e.Open(t.Context(), build.Job{
		Build:  b,
		Target: target, Epoch: time.Unix(1700000000, 0), Dir: t.TempDir(), Log: a.log,
		OnContainer: func(string) { a.containers++ }, OnRoot: func(r rpmflow.BuildRoot) { a.root = r },
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Session, a.s = s, s.(*session)
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s:\n%s", name, a.log)
		}
	})
	return a
}

// ready is a session whose root is there.
func (h *host) ready(t *testing.T, e *Engine, name string, target rpmflow.Target) *attempt {
	t.Helper()
	a := h.open(t, e, name, target)
	if err := a.Root(t.Context()); err != nil {
		t.Fatalf("%s: root: %v", name, err)
	}
	return a
}

// build takes a package through all steps, and returns the number of containers that its dependencies took.
func (a *attempt) build(t *testing.T, version, requires, commands string) (containers int, err error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "p.spec")
	testkit.Write(t, file, strings.NewReplacer("%VERSION%", version, "%REQUIRES%", requires, "%BUILD%",
		commands).Replace(packageSpec))
	sources := filepath.Join(dir, "sources")
	if err := os.Mkdir(sources, 0o755); err != nil {
		t.Fatal(err)
	}
	srpm, err := a.SRPM(t.Context(), file, sources)
	if err != nil {
		return 0, fmt.Errorf("srpm: %w", err)
	}
	before := a.containers
	if err := a.Dependencies(t.Context(), srpm); err != nil {
		return 0, fmt.Errorf("dependencies: %w", err)
	}
	containers = a.containers - before
	rpms, err := a.RPMs(t.Context(), srpm)
	if err == nil && len(rpms) != 1 {
		err = fmt.Errorf("packages: %q", rpms)
	}
	return containers, err
}
