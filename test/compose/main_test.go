// Package compose_test drives the system in containers as its operators do: the images of scripts/images,
// deploy/compose with a .env of its init, docker-compose, and real pushes. mock is the stand-in image, or real mock
// when MOCK_IMAGE, MOCK_CONFIGDIR and MOCK_TARGET say so. Everything runs in projects of random names, which are
// removed with their volumes at the end.
package compose_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

const (
	deploy = "../../deploy/compose"
	// patience bounds a build and the start of a service.
	patience = 3 * time.Minute
)

// Made once for all tests.
var (
	madeImages = sync.OnceValue(func() error {
		if os.Getenv("TEST_IMAGES") == "made" { // by scripts/test
			return nil
		}
		_, err := output(20*time.Minute, "", nil, "../../scripts/images")
		return err
	})
)

// output runs a command in bounded time with a small environment, and says what it wrote when it fails.
func output(limit time.Duration, dir string, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second // for what a child of it holds open
	cmd.Env = append(clean(), env...)
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// clean is the environment of commands: nothing that compose or init would read from it.
func clean() []string {
	env := []string{"LC_ALL=C.UTF-8", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=compose", "GIT_AUTHOR_EMAIL=compose@example.com", "GIT_COMMITTER_NAME=compose",
		"GIT_COMMITTER_EMAIL=compose@example.com"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
		"GOPATH", "GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	return testkit.Value(output(time.Minute, "", nil, "docker", args...))(t)
}

func needCompose(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("docker-compose"); err != nil {
		t.Skipf("needs docker-compose: %v", err)
	}
}

// needImages makes the images, or what has changed of them.
func needImages(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Skipf("needs docker: no engine answers: %s", bytes.TrimSpace(out))
	}
	if err := madeImages(); err != nil {
		t.Fatalf("the images cannot be made: %v", err)
	}
}

// host is one host of an operator: a directory with what deploy/compose has, and what runs of it.
type host struct {
	dir, project string
	listener     string   // URL, from here
	env          []string // of docker-compose, stronger than .env
}

func random() string { return strings.ToLower(rand.Text()[:8]) }

func makeDir(t *testing.T, dir string) {
	t.Helper()
	testkit.Must(t, os.MkdirAll(dir, 0o755))
}

// newHost is a host on which nothing has been done yet.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{dir: t.TempDir(), project: "rpmflow-test-" + random()}
	testkit.Must(t, os.Chmod(filepath.Dir(h.dir), 0o755))
	copyFiles(t, h.dir)
	return h
}

func copyFiles(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"docker-compose.yml", ".env.example", "init", "rpmflow.example.yaml"} {
		raw, err := os.ReadFile(filepath.Join(deploy, name))
		testkit.Must(t, errors.Join(err, os.WriteFile(filepath.Join(dir, name), raw, 0o755)))
	}
	testkit.Must(t, os.CopyFS(filepath.Join(dir, "nats"), os.DirFS(filepath.Join(deploy, "nats"))))
}

// init runs ./init.
func (h *host) init(t *testing.T, env []string, args ...string) string {
	t.Helper()
	return testkit.Value(output(time.Minute, h.dir, env, filepath.Join(h.dir, "init"), args...))(t)
}

// set changes variables of .env, as an operator with an editor does.
func (h *host) set(t *testing.T, values map[string]string) {
	t.Helper()
	file := filepath.Join(h.dir, ".env")
	raw, err := os.ReadFile(file)
	testkit.Must(t, err)
	text := string(raw)
	for name, value := range values {
		line := regexp.MustCompile(`(?m)^` + name + `=.*$`)
		if !line.MatchString(text) {
			t.Fatalf(".env does not have %s", name)
		}
		text = line.ReplaceAllLiteralString(text, name+"="+value)
	}
	testkit.Must(t, os.WriteFile(file, []byte(text), 0o600))
}

// get reads a variable of .env.
func (h *host) get(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(h.dir, ".env"))
	testkit.Must(t, err)
	return variables(string(raw))[name]
}

// variables are the assignments in a file of them.
func variables(text string) map[string]string {
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z0-9_]+)=(.*)$`).FindAllStringSubmatch(text, -1) {
		found[m[1]] = m[2]
	}
	return found
}

// own gives the host ports and a name of its own, the images of this tree, and sees to it that all goes away at the
// end.
func (h *host) own(t *testing.T, address string) {
	t.Helper()
	listener := freePort(t, "127.0.0.1")
	h.listener = "http://127.0.0.1:" + listener
	h.set(t, map[string]string{
		"COMPOSE_PROJECT_NAME": h.project, "RPMFLOW_VERSION": "latest", "NATS_VERSION": "latest",
		"VERSITYGW_VERSION": "latest",
		"LISTENER_PORT":     "127.0.0.1:" + listener, "PUBLIC_URL": h.listener, "S3_PORT": address + ":" +
			freePort(t, address),
		"NATS_PORT": address + ":" + freePort(t, address), "NATS_2_PORT": address + ":" + freePort(t, address),
		"NATS_3_PORT": address + ":" + freePort(t, address),
	})
	h.removeAtEnd(t)
}

// removeAtEnd sees to it that nothing is left of what runs here; after a failure its logs are shown.
func (h *host) removeAtEnd(t *testing.T) {
	t.Cleanup(func() {
		if t.Failed() {
			log, err := output(time.Minute, h.dir, h.env, "docker-compose", "logs", "--no-color", "--tail=200")
			t.Logf("what ran: %s %v", log, err)
		}
		if _, err := output(2*time.Minute, h.dir, h.env, "docker-compose", "down", "--volumes", "--remove-orphans",
			"--timeout", "5"); err != nil {
			t.Errorf("the containers of %s are not removed: %v", h.project, err)
		}
	})
}

func freePort(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	testkit.Must(t, err)
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// compose runs docker-compose in the host's directory.
func (h *host) compose(t *testing.T, args ...string) string {
	t.Helper()
	return testkit.Value(output(patience, h.dir, h.env, "docker-compose", args...))(t)
}

// container is what the engine says of one.
type container struct {
	ID    string
	Name  string
	State struct {
		Status   string
		ExitCode int
		Health   *struct {
			Status string
			Log    []struct{ Output string }
		}
	}
	Config struct {
		User   string
		Env    []string
		Labels map[string]string
	}
	HostConfig struct {
		ReadonlyRootfs       bool
		CapAdd, CapDrop      []string
		SecurityOpt          []string
		Privileged           bool
		Memory               int64
		PidsLimit            *int64
		Binds                []string
		RestartPolicy        struct{ Name string }
		LogConfig            struct{ Config map[string]string }
		NetworkMode, PidMode string
	}
}

func (c container) service() string { return c.Config.Labels["com.docker.compose.service"] }

// containers are those of some services, or of all; not those of `docker-compose run`.
func (h *host) containers(t *testing.T, services ...string) []container {
	t.Helper()
	// docker-compose ps takes ten times as long, and this is asked again and again.
	ids := strings.Fields(docker(t, "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+h.project,
		"--filter", "label=com.docker.compose.oneoff=False"))
	if len(ids) == 0 {
		return nil
	}
	var found []container
	testkit.Must(t, json.Unmarshal([]byte(docker(t, append([]string{"inspect"}, ids...)...)), &found))
	return slices.DeleteFunc(found,
		func(c container) bool { return len(services) > 0 && !slices.Contains(services, c.service()) })
}

// healthy waits until there are so many containers, and all say that they are well.
func (h *host) healthy(t *testing.T, count int, services ...string) {
	t.Helper()
	testkit.UntilWithin(t, patience, func() error {
		var state []string
		well := 0
		for _, c := range h.containers(t, services...) {
			if c.State.Health == nil {
				t.Fatalf("%s has no health check", c.Name)
			}
			if c.State.Health.Status == "healthy" {
				well++
				continue
			}
			state = append(state, c.Name+" "+c.State.Status+" "+c.State.Health.Status)
			if n := len(c.State.Health.Log); n > 0 {
				state = append(state, c.State.Health.Log[n-1].Output)
			}
		}
		if well != count || len(state) > 0 {
			return fmt.Errorf("%d of %d containers of %v are healthy: %v", well, count, services, state)
		}
		return nil
	})
}
