package compose_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

const spec = `Name:           greet
Version:        1.0
Release:        1
Summary:        Greets
License:        Apache-2.0
BuildArch:      noarch
Source0:        greet.txt

%%description
Greets.

%%prep

%%build
sleep %d

%%install
install -D -m 644 %%{SOURCE0} %%{buildroot}%%{_datadir}/greet.txt

%%files
%%{_datadir}/greet.txt
`

// repository is a bare repository that containers reach with http, and a work tree that pushes to it.
type repository struct{ bare, tree, url, secret string }

// serveRepository serves a repository with git's own HTTP server until the test is over.
func serveRepository(t *testing.T, address string) *repository {
	t.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		t.Skipf("needs git: %v", err)
	}
	dir := t.TempDir()
	r := &repository{bare: filepath.Join(dir, "greet.git"), tree: filepath.Join(dir, "tree"),
		secret: "s3cr3t-of-webhooks"}
	git(t, "", "init", "--quiet", "--bare", "--initial-branch=main", r.bare)
	git(t, r.bare, "config", "http.receivepack", "false")
	git(t, "", "clone", "--quiet", r.bare, r.tree)
	git(t, r.tree, "checkout", "--quiet", "-b", "main")

	socket, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	testkit.Must(t, err)
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: &cgi.Handler{
		Path: path, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_GLOBAL=/dev/null"},
	}}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(socket) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	r.url = "http://" + socket.Addr().String() + "/greet.git"
	return r
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	ctx := append([]string{}, args...)
	cmd := exec.Command("git", ctx...)
	cmd.Dir, cmd.Env = dir, clean()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// announce installs the post-receive hook that users get.
func (r *repository) announce(t *testing.T, h *host) {
	t.Helper()
	system.InstallHook(t, r.bare, h.listener+"/hooks/generic/greet", r.secret)
}

// push pushes a package whose build takes so many seconds, and returns the commit.
func (r *repository) push(t *testing.T, seconds int) string {
	t.Helper()
	writeFile(t, filepath.Join(r.tree, "greet.spec"), fmt.Sprintf(spec, seconds), 0o644)
	writeFile(t, filepath.Join(r.tree, "greet.txt"), time.Now().String(), 0o644)
	git(t, r.tree, "add", "--all")
	git(t, r.tree, "commit", "--quiet", "--message", "Change")
	answer := git(t, r.tree, "push", "origin", "main")
	// A cluster that elects a leader can take longer than the hook waits.
	testkit.UntilWithin(t, patience, func() error {
		if strings.Contains(answer, ": queued as ") {
			return nil
		}
		out, err := exec.Command(system.Program(t, "rpmflow"), "hook", "flush", r.bare).CombinedOutput()
		answer += string(out)
		return fmt.Errorf("the push was answered: %s (flush: %w)", answer, err)
	})
	return git(t, r.tree, "rev-parse", "HEAD")
}

func writeFile(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	testkit.Must(t, os.WriteFile(name, []byte(content), mode))
}

// configure writes rpmflow.yaml over the example of init, which has the owner and the mode that are needed.
func (h *host) configure(t *testing.T, r *repository) {
	t.Helper()
	image, dir, target := os.Getenv("MOCK_IMAGE"), os.Getenv("MOCK_CONFIGDIR"), os.Getenv("MOCK_TARGET")
	if image == "" {
		image, target = testkit.Standin(t), "opensuse-leap-15.6-x86_64"
	}
	if target == "" {
		t.Fatal("MOCK_TARGET is empty: name the mock configuration to build for")
	}
	yaml := fmt.Sprintf("builder: {ack_wait: 5s, poll: 500ms, retry_delay: 1s}\ntargets:\n- name: %s\n  image: %s\n",
		target, image)
	if dir != "" {
		testkit.Must(t, os.CopyFS(filepath.Join(h.dir, "config", "mock"), os.DirFS(dir)))
		yaml += "  config_dir: mock\n"
	}
	yaml += fmt.Sprintf("projects:\n- name: greet\n  url: %s\n  secret: %s\n", r.url, r.secret)
	writeFile(t, filepath.Join(h.dir, "config", "rpmflow.yaml"), yaml, 0o640)
}

// subscriber is `rpmflow watch` in a container of its own.
type subscriber struct {
	mu   sync.Mutex
	seen []rpmflow.Build
	stop func()
}

func (h *host) subscribe(t *testing.T) *subscriber {
	t.Helper()
	s := &subscriber{}
	cmd := exec.Command("docker-compose", "run", "--rm", "-T", "rpmflow", "watch", "--durable", "subscriber", "--json")
	cmd.Dir, cmd.Env, cmd.WaitDelay = h.dir, append(clean(), h.env...), 10*time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // compose has docker do it: both end together
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	testkit.Must(t, err)
	testkit.Must(t, cmd.Start())
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var e struct {
				Type string
				Data rpmflow.Build
			}
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Type != "dev.rpmflow.build.finished.v1" {
				t.Errorf("the subscriber got %q: %v", lines.Text(), err)
				continue
			}
			s.mu.Lock()
			s.seen = append(s.seen, e.Data)
			s.mu.Unlock()
		}
		_ = cmd.Wait() // it is killed
	}()
	s.stop = sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-done
		}
		if t.Failed() {
			t.Logf("the subscriber says: %s", stderr.String())
		}
	})
	t.Cleanup(s.stop)
	return s
}

// of is what was received of a commit's build.
func (s *subscriber) of(commit string) (builds []rpmflow.Build) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.seen {
		if b.Commit == commit {
			builds = append(builds, b)
		}
	}
	return builds
}

// finished waits for the outcome of a commit's build, which must be good.
func (s *subscriber) finished(t *testing.T, commit string) rpmflow.Build {
	t.Helper()
	var got []rpmflow.Build
	testkit.EventuallyWithin(t, patience, "finished event for "+commit,
		func() bool { got = s.of(commit); return len(got) > 0 })
	if len(got) != 1 || got[0].Outcome == nil || got[0].Outcome.Result != rpmflow.Succeeded {
		t.Fatalf("received of %s: %+v", commit, got)
	}
	return got[0]
}

// running waits until a commit's build is in the package's own build, and returns its record.
func (h *host) running(t *testing.T, commit string) rpmflow.Build {
	t.Helper()
	var found rpmflow.Build
	testkit.EventuallyWithin(t, patience, "build of "+commit+" at work", func() bool {
		for _, b := range h.builds(t) {
			if b.Commit == commit && b.State == rpmflow.Running && b.Phase == rpmflow.PhaseRPMs {
				found = b
			}
		}
		return found.ID != ""
	})
	return found
}

func (h *host) builds(t *testing.T) []rpmflow.Build {
	t.Helper()
	var page struct{ Builds []rpmflow.Build }
	testkit.Must(t, json.Unmarshal(fetch(t, h.listener+"/api/v1/builds"), &page))
	return page.Builds
}

// checkPackages downloads what a build has made, as a user does.
func checkPackages(t *testing.T, b rpmflow.Build) {
	t.Helper()
	packages := 0
	for _, a := range b.Artifacts {
		raw := fetch(t, a.URL)
		if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != a.SHA256 {
			t.Errorf("%s is not what the record says: %d bytes, sha256 %x", a.Name, len(raw), sum)
		}
		if a.Kind == rpmflow.KindRPM {
			packages++
			if !strings.HasPrefix(string(raw), "\xed\xab\xee\xdb") {
				t.Errorf("%s is not an RPM", a.Name)
			}
		}
	}
	if packages != 1 {
		t.Errorf("%d packages: %+v", packages, b.Artifacts)
	}
}

// checkRepository waits until a build is in its dnf repository, and fetches what dnf fetches first.
func checkRepository(t *testing.T, h *host, b rpmflow.Build) {
	t.Helper()
	base := h.listener + "/repos/" + b.Project + "/" + b.Target + "/"
	for _, name := range []string{b.Project + ".repo", "repodata/repomd.xml.key"} { // written last
		testkit.UntilWithin(t, patience, func() error {
			res, err := http.Get(base + name)
			if err == nil {
				err = res.Body.Close()
			}
			if err == nil && res.StatusCode != http.StatusOK {
				err = fmt.Errorf("%s: %s", name, res.Status)
			}
			return err
		})
	}
	if text := string(fetch(t, base+b.Project+".repo")); !strings.Contains(text, "repo_gpgcheck=1") ||
		!strings.Contains(text, h.listener) {
		t.Errorf("%s.repo: %s", b.Project, text)
	}
	revision := strings.TrimSpace(string(fetch(t, base+"mirrorlist")))
	if raw := fetch(t, revision+"repodata/repomd.xml"); !strings.Contains(string(raw), "<repomd") {
		t.Errorf("repomd.xml: %s", raw)
	}
	for url, begin := range map[string]string{
		revision + "repodata/repomd.xml.asc": "-----BEGIN PGP SIGNATURE-----",
		base + "repodata/repomd.xml.key":     "-----BEGIN PGP PUBLIC KEY BLOCK-----",
	} {
		if raw := fetch(t, url); !strings.HasPrefix(string(raw), begin) {
			t.Errorf("%s: %s", url, raw)
		}
	}
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	testkit.Must(t, err)
	req.Header.Set("Accept-Encoding", "gzip") // logs are stored so: nothing is unpacked on the way
	client := &http.Client{Timeout: time.Minute}
	res, err := client.Do(req)
	testkit.Must(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v: %s", url, res.Status, err, raw)
	}
	return raw
}
