// Package e2e_test drives the whole system as its users do: a git push goes in; an RPM, a log and a finished event come out. NATS,
// S3, git, Docker and rpm are the real ones; mock is the stand-in image, or real mock when MOCK_IMAGE, MOCK_CONFIGDIR and
// MOCK_TARGET say so.
package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

// patience bounds a whole build: real mock fills its root from a repository each time.
const patience = 10 * time.Minute

func TestMain(m *testing.M) {
	lifeline.Main(map[string]lifeline.Func{gateway.ChildName: gateway.Child})
	code := m.Run()
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// programs are the binaries, built once for the tests that need processes of their own.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

func program(t *testing.T, name string) string {
	t.Helper()
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "rpmflow-e2e-bin-"); programs.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", programs.dir+"/", "github.com/rpmflow/rpmflow/cmd/...")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			programs.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return filepath.Join(programs.dir, name)
}

// mockTarget is the target of the engine mock, as YAML.
func mockTarget(t *testing.T) (name, yaml string) {
	t.Helper()
	if out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Skipf("needs docker: no engine answers: %s", bytes.TrimSpace(out))
	}
	image, dir, target := os.Getenv("MOCK_IMAGE"), os.Getenv("MOCK_CONFIGDIR"), os.Getenv("MOCK_TARGET")
	if image == "" {
		image, target = standin(t), "opensuse-leap-15.6-x86_64" // a name with dots
	}
	if target == "" {
		t.Fatal("MOCK_TARGET is empty: name the mock configuration to build for")
	}
	yaml = fmt.Sprintf("- name: %s\n  image: %s\n", target, image)
	if dir != "" {
		yaml += fmt.Sprintf("  config_dir: %s\n", dir)
	}
	return target, yaml
}

var standinImage = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("../standin/build").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1], nil
})

func standin(t *testing.T) string {
	t.Helper()
	image, err := standinImage()
	if err != nil {
		t.Fatalf("the stand-in image cannot be built: %v", err)
	}
	return image
}

func needRPM(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"rpm", "rpmbuild"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs rpm: %v", err)
		}
	}
}

// system is a running `rpmflow up`, in this process.
type system struct {
	cfg    *config.Config
	dir    string
	js     jetstream.JetStream
	log    *syncBuffer
	target string
	seen   chan events.Event // finished events, as a durable subscriber gets them
}

// start runs everything with these projects; engine is mock or rpmbuild.
func start(t *testing.T, engine string, projects ...string) *system {
	t.Helper()
	needRPM(t)
	s := &system{dir: t.TempDir(), log: &syncBuffer{}, target: "host", seen: make(chan events.Event, 64)}
	targets := "- name: host\n"
	if engine == "mock" {
		s.target, targets = mockTarget(t)
	}
	yaml := fmt.Sprintf("data_dir: %s/data\nlistener:\n  listen: 127.0.0.1:0\nembedded:\n  nats_listen: 127.0.0.1:0\n  s3_listen: 127.0.0.1:0\nbuilder:\n  engine: %s\n  retry_delay: 1s\n  poll: 500ms\ntargets:\n%sprojects:\n%s",
		s.dir, engine, targets, strings.Join(projects, ""))
	file := filepath.Join(s.dir, "rpmflow.yaml")
	writeFile(t, file, yaml)
	cfg, err := config.Load(config.Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan *config.Config, 1), make(chan error, 1)
	logger := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	go func() {
		done <- assembly.Up(ctx, ctx, cfg, "e2e", logger, func(c *config.Config) { ready <- c })
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("up ended with: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("up has not ended a minute after it was told to")
		}
		if t.Failed() {
			t.Logf("log of the system:\n%s", s.log.String())
		}
	})
	select {
	case s.cfg = <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("up did not start: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("up is not ready after a minute")
	}
	s.subscribe(t)
	if engine == "mock" {
		forgetRoots(t, s.js)
	}
	return s
}

// forgetRoots removes at the end what builds share on the engine: nobody else has use for the roots of this installation.
func forgetRoots(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	stream, err := js.Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	id := rpmflow.DeriveID("installation", stream.CachedInfo().Created.UTC().Format(time.RFC3339Nano))
	t.Cleanup(func() {
		out, err := exec.Command("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "label=dev.rpmflow.installation="+id).Output()
		if err != nil {
			t.Errorf("list images: %v", err)
		}
		for name := range strings.FieldsSeq(string(out)) {
			if out, err := exec.Command("docker", "rmi", "--force", name).CombinedOutput(); err != nil {
				t.Errorf("remove image %s: %v: %s", name, err, out)
			}
		}
	})
}

// subscribe begins a durable subscription and checks every event of EVENTS against the schema.
func (s *system) subscribe(t *testing.T) {
	t.Helper()
	nc, js, err := events.Dial(assembly.NATSAccess(s.cfg, "e2e"), quietLogger())
	if err != nil {
		t.Fatal(err)
	}
	s.js = js
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	t.Cleanup(func() { cancel(); wait.Wait(); nc.Close() })
	wait.Go(func() {
		err := events.Finished(ctx, js, events.Subscription{Durable: "e2e"}, quietLogger(), func(e events.Event) error { s.seen <- e; return nil })
		if err != nil && ctx.Err() == nil {
			t.Errorf("subscriber: %v", err)
		}
	})
	wait.Go(func() {
		err := events.Replay(ctx, js, 0, func() {}, func(e events.Event) error {
			if err := eventschema.Validate(e.Raw); err != nil {
				t.Errorf("%s event of build %s is not as its schema says: %v\n%s", e.Type, e.Build.ID, err, e.Raw)
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			t.Errorf("replay: %v", err)
		}
	})
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := js.Consumer(ctx, events.StreamEvents, "watch-e2e"); err == nil {
			return
		}
	}
	t.Fatal("the durable subscription is not there")
}

// finished waits for the next finished event.
func (s *system) finished(t *testing.T) events.Event {
	t.Helper()
	select {
	case e := <-s.seen:
		return e
	case <-time.After(patience):
		t.Fatalf("no finished event after %s", patience)
		return events.Event{}
	}
}

func (s *system) url(path string) string { return s.cfg.PublicURL.String() + path }

// repository is a bare repository and a work tree that pushes to it.
type repository struct{ bare, tree, secret string }

func newRepository(t *testing.T) *repository {
	t.Helper()
	dir := t.TempDir()
	r := &repository{bare: filepath.Join(dir, "package.git"), tree: filepath.Join(dir, "tree"), secret: "s3cr3t-" + filepath.Base(dir)}
	git(t, "", "init", "--quiet", "--bare", "--initial-branch=main", r.bare)
	git(t, "", "clone", "--quiet", r.bare, r.tree)
	git(t, r.tree, "checkout", "--quiet", "-b", "main")
	return r
}

// project is the repository's entry in the configuration.
func (r *repository) project(name, more string) string {
	return fmt.Sprintf("- name: %s\n  url: %s\n  secret: %s\n%s", name, (&url.URL{Scheme: "file", Path: r.bare}).String(), r.secret, more)
}

// announce installs the post-receive hook that users get.
func (r *repository) announce(t *testing.T, s *system, name string) {
	t.Helper()
	hook, err := os.ReadFile("../../cmd/rpmflow/post-receive")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.bare, "hooks", "post-receive")
	writeFile(t, path, string(hook))
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(r.bare, "secret")
	writeFile(t, secret, r.secret+"\n")
	git(t, r.bare, "config", "rpmflow.url", s.url("/hooks/generic/"+name))
	git(t, r.bare, "config", "rpmflow.secretFile", secret)
}

// commit makes the tree hold exactly these files, and pushes; what the hook was answered is returned.
func (r *repository) push(t *testing.T, files map[string]string, refs ...string) string {
	t.Helper()
	if len(refs) == 0 {
		refs = []string{"main"}
	}
	git(t, r.tree, "rm", "-r", "-q", "--ignore-unmatch", ".")
	for name, content := range files {
		writeFile(t, filepath.Join(r.tree, name), content)
	}
	git(t, r.tree, "add", "--all")
	git(t, r.tree, "commit", "--quiet", "--allow-empty", "--message", "Change")
	return git(t, r.tree, append([]string{"push", "origin"}, refs...)...)
}

func (r *repository) head(t *testing.T) string {
	t.Helper()
	return git(t, r.tree, "rev-parse", "HEAD")
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C.UTF-8",
		"GIT_AUTHOR_NAME=e2e", "GIT_AUTHOR_EMAIL=e2e@example.com", "GIT_COMMITTER_NAME=e2e", "GIT_COMMITTER_EMAIL=e2e@example.com"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// syncBuffer is a log that is written while it is read.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func quietLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
