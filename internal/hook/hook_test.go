package hook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/hook"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

const secret = "the secret of the project"

// TestMain makes the test binary the program that hooks call.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "hook" && os.Args[2] == "post-receive" {
		if err := hook.PostReceive(context.Background(), ".", os.Stdin, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// listener answers deliveries, and remembers those that it has taken.
type listener struct {
	*httptest.Server
	mu     sync.Mutex
	taken  []delivery
	status int    // what it answers; 0: what a listener does
	body   string // with a status
}

type delivery struct{ Ref, Before, After, Delivery string }

func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	var d delivery
	if err := json.Unmarshal(body, &d); err != nil ||
		forge.Verify(secret, body, r.Header.Get("X-Rpmflow-Signature-256")) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if l.status != 0 {
		w.WriteHeader(l.status)
		fmt.Fprint(w, l.body)
		return
	}
	l.taken = append(l.taken, d)
	if strings.HasPrefix(d.Ref, "refs/tags/") {
		fmt.Fprint(w, `{"builds": [], "reason": "tag is not built: \u001b[31m"}`)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprint(w, `{"builds": [{"id": "9be5ef82-0000-5000-8000-000000000000", "package": "hello", `+
		`"target": "fedora-43-x86_64", "url": "http://x/b"}]}`)
}

func (l *listener) answer(status int, body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status, l.body = status, body
}

func (l *listener) refs() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.taken {
		all = append(all, d.Ref)
	}
	return all
}

// repository is a bare one with the hook, and a clone that pushes to it.
type repository struct {
	t          *testing.T
	bare, tree string
	listener   *listener
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	l := &listener{}
	l.Server = httptest.NewServer(l)
	t.Cleanup(l.Close)
	dir := t.TempDir()
	r := &repository{t: t, bare: filepath.Join(dir, "r.git"), tree: filepath.Join(dir, "tree"), listener: l}
	r.git("init", "--quiet", "--bare", "--initial-branch=main", r.bare)
	r.git("clone", "--quiet", r.bare, r.tree)
	r.install(r.bare, l.URL)
	return r
}

func (r *repository) secretFile() string {
	r.t.Helper()
	file := filepath.Join(filepath.Dir(r.bare), "secret")
	testkit.Must(r.t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	return file
}

func (r *repository) install(dir, url string) {
	r.t.Helper()
	testkit.Must(r.t, hook.Install(r.t.Context(), dir, os.Args[0], url+"/hooks/generic/hello", r.secretFile(),
		io.Discard))
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a",
		"GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// push commits and pushes to refs, and returns what git push prints.
func (r *repository) push(refs ...string) string {
	r.t.Helper()
	r.git("-C", r.tree, "commit", "--quiet", "--allow-empty", "-m", "x")
	args := []string{"-C", r.tree, "push", "--quiet", "--force", "origin"}
	for _, ref := range refs {
		args = append(args, "HEAD:"+ref)
	}
	out := r.git(args...)
	if strings.Contains(out, secret) || strings.Contains(out, "{") {
		r.t.Errorf("a secret or JSON is printed: %s", out)
	}
	return out
}

func (r *repository) flush(rejected bool) (string, error) {
	r.t.Helper()
	var out strings.Builder
	repo, err := hook.Open(r.t.Context(), r.bare)
	if err == nil {
		err = repo.Flush(r.t.Context(), rejected, &out)
	}
	return out.String(), err
}

func (r *repository) waiting() int {
	files, _ := filepath.Glob(filepath.Join(r.bare, "rpmflow", "waiting", "*.json"))
	return len(files)
}

func says(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	says(t, r.push("refs/heads/main"), "remote: hello for fedora-43-x86_64: queued as 9be5ef82 · http://x/b")
	says(t, r.push("refs/tags/v1"), "remote: hello: nothing is built: tag is not built: ?[31m")
	says(t, r.push("refs/heads/a", "refs/heads/b"), "hello of a for fedora-43-x86_64: queued", "hello of b for")
	if r.waiting() != 0 {
		t.Errorf("%d wait", r.waiting())
	}
}

// A branch that is pushed back and forth, and a tag that is deleted and pushed again, are new pushes.
func TestEachPushIsAnother(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.push("refs/heads/main")
	first := strings.TrimSpace(r.git("-C", r.tree, "rev-parse", "HEAD"))
	for range 2 {
		r.push("refs/heads/main")
		r.git("-C", r.tree, "reset", "--quiet", "--hard", first)
		r.git("-C", r.tree, "push", "--quiet", "--force", "origin", "HEAD:refs/heads/main", "HEAD:refs/tags/v1")
		r.git("-C", r.tree, "push", "--quiet", "origin", ":refs/tags/v1")
	}
	ids := map[string]bool{}
	for _, d := range r.listener.taken {
		ids[d.Delivery] = true
	}
	if len(ids) != 9 || len(r.listener.taken) != 9 {
		t.Errorf("%d ids of %d deliveries", len(ids), len(r.listener.taken))
	}
}

// The listener is away in one way or another: the push is quick and kept, and the next one delivers both, in order.
func TestListenerAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]struct {
		status int
		words  string
	}{
		"internal error": {500, "cannot take it now: 500"}, "unavailable": {503, "cannot take it now: 503"},
		"too many":       {429, "cannot take it now: 429"},
		"not a listener": {200, "is not a listener of rpmflow"}, "refused": {0, "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)
			there := r.listener.URL
			if r.listener.answer(away.status, "<html>"); away.status == 0 {
				closed := httptest.NewServer(nil)
				closed.Close()
				r.install(r.bare, closed.URL)
			}
			begun := time.Now()
			says(t, r.push("refs/heads/one"), away.words, "the push is kept", "rpmflow hook flush")
			says(t, r.push("refs/heads/two", "refs/heads/three"), "3 pushes are kept")
			if d := time.Since(begun); d > 10*time.Second {
				t.Errorf("the pushes took %s", d)
			}
			if _, err := r.flush(false); err == nil {
				t.Error("flush says that nothing waits")
			}
			r.listener.answer(0, "")
			r.install(r.bare, there)
			says(t, r.push("refs/heads/four"), "hello of one, pushed before, for fedora-43-x86_64: queued as 9be5ef82",
				"remote: hello for fedora-43-x86_64: queued")
			got := r.listener.refs()
			if r.waiting() != 0 || len(got) != 4 || got[0] != "refs/heads/one" || got[3] != "refs/heads/four" {
				t.Errorf("%d wait, delivered %v", r.waiting(), got)
			}
			if out, err := r.flush(false); err != nil || !strings.Contains(out, "nothing waits") {
				t.Errorf("%s, %v", out, err)
			}
		})
	}
}

// A listener that takes a connection and says nothing.
func TestListenerSaysNothing(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer socket.Close()
	r.install(r.bare, "http://"+socket.Addr().String())
	begun := time.Now()
	says(t, r.push("refs/heads/one"), "does not answer: it took too long", "the push is kept")
	if d := time.Since(begun); d > 25*time.Second {
		t.Errorf("the push took %s", d)
	}
	r.install(r.bare, r.listener.URL)
	if _, err := r.flush(false); err != nil || len(r.listener.refs()) != 1 {
		t.Errorf("%v, %v", err, r.listener.refs())
	}
}

// A refused push is reported, does not delay later ones, and can be sent again once its cause is fixed.
func TestRejected(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.listener.answer(404, `{"error": "project \"hello\" is not configured", "hint": "add it"}`)
	says(t, r.push("refs/heads/one"), `refs/heads/one is NOT announced: project "hello" is not configured`,
		"what to do: add it", "rpmflow hook flush --rejected "+r.bare,
		"rpmflow submit hello --ref refs/heads/one")
	r.listener.answer(0, "")
	says(t, r.push("refs/heads/two"), "hello for fedora-43-x86_64: queued")
	if got := fmt.Sprint(r.listener.refs()); r.waiting() != 0 || got != "[refs/heads/two]" {
		t.Errorf("%d wait, delivered %s", r.waiting(), got)
	}
	if out, err := r.flush(true); err != nil || len(r.listener.refs()) != 2 {
		t.Errorf("%s, %v", out, err)
	}
}

func TestWrongSecret(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.listener.answer(401, `{"error": "project \"hello\": the signature does not match", "hint": "sign the raw body"}`)
	out := r.push("refs/heads/one")
	says(t, out, "refs/heads/one is NOT announced: project \"hello\": the signature does not match",
		"what to do: put the project's webhook secret into the file that git config rpmflow.secretFile names")
	if strings.Contains(out, "raw body") {
		t.Error(out)
	}
}

// Pushes at once: each is delivered, and once.
func TestPushesAtOnce(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.push("refs/heads/main")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { r.git("-C", r.tree, "push", "--quiet", "origin", fmt.Sprintf("HEAD:refs/heads/b%d", i)) })
	}
	wg.Wait()
	if _, err := r.flush(false); err != nil {
		t.Error(err)
	}
	seen := map[string]int{}
	for _, ref := range r.listener.refs() {
		seen[ref]++
	}
	if len(seen) != 9 || len(r.listener.refs()) != 9 {
		t.Errorf("%v", seen)
	}
}

func TestSpoolIsFullOrUnwritable(t *testing.T) {
	t.Parallel()
	t.Run("full", func(t *testing.T) {
		r := newRepository(t)
		r.listener.answer(503, "")
		r.push("refs/heads/one")
		for i := range 999 {
			name := filepath.Join(r.bare, "rpmflow", "waiting", fmt.Sprintf("%012d.json", i+2))
			testkit.Must(t, os.WriteFile(name, []byte(`{"ref":"refs/heads/x"}`), 0o600))
		}
		says(t, r.push("refs/heads/late"), "refs/heads/late is NOT announced, and could not be kept",
			"the spool is full (1000 pushes wait)", "rpmflow submit hello --ref refs/heads/late", "error: ")
		if r.waiting() != 1000 {
			t.Errorf("%d wait", r.waiting())
		}
		r.listener.answer(0, "")
		if out := r.push("refs/heads/again"); r.waiting() != 0 || len(r.listener.refs()) != 1001 {
			t.Errorf("%d wait, %d delivered: %.2000s", r.waiting(), len(r.listener.refs()), out)
		}
	})
	t.Run("unwritable", func(t *testing.T) {
		r := newRepository(t)
		if err := os.WriteFile(filepath.Join(r.bare, "rpmflow"), nil, 0o600); err != nil { // rights do not stop root
			t.Fatal(err)
		}
		says(t, r.push("refs/heads/one"), "queued as 9be5ef82")
		r.listener.answer(503, "")
		says(t, r.push("refs/heads/two"), "cannot take it now", "refs/heads/two is NOT announced",
			"rpmflow submit hello --ref refs/heads/two", "error: ")
	})
}

func TestSecretIsMissing(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	file := r.secretFile()
	testkit.Must(t, os.Remove(file))
	says(t, r.push("refs/heads/one"), "no such file", "the push is kept")
	r.secretFile()
	if _, err := r.flush(false); err != nil || len(r.listener.refs()) != 1 {
		t.Errorf("%v, %v", err, r.listener.refs())
	}
}
