package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// work is a repository with a work tree, as a packager has it.
type work struct {
	t   *testing.T
	dir string
}

func newWork(t *testing.T) *work {
	t.Helper()
	w := &work{t, filepath.Join(t.TempDir(), "hello")}
	w.git("init", "--quiet", "--initial-branch=main", w.dir)
	return w
}

// git runs git in the repository, on a day of its own and with no configuration but the repository's.
func (w *work) git(args ...string) string { w.t.Helper(); return w.gitIn("", args...) }

// gitIn is git with something on its standard input.
func (w *work) gitIn(stdin string, args ...string) string {
	w.t.Helper()
	if args[0] != "init" {
		args = append([]string{"-C", w.dir}, args...)
	}
	cmd := exec.Command("git", args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(childEnv(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b",
		"GIT_AUTHOR_DATE=2024-02-03T04:05:06Z", "GIT_COMMITTER_DATE=2024-02-03T04:05:06Z")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files (symlinks where the content is "-> target"), deletes those that are "" and returns the commit.
func (w *work) commit(files map[string]string) string {
	w.t.Helper()
	// What is deleted goes first: a file may make way for a directory of its name.
	order := slices.SortedFunc(maps.Keys(files), func(a, b string) int {
		return cmp.Or(cmp.Compare(min(len(files[a]), 1), min(len(files[b]), 1)), strings.Compare(a, b))
	})
	for _, name := range order {
		full, text := filepath.Join(w.dir, name), files[name]
		must(w.t, os.MkdirAll(filepath.Dir(full), 0o755))
		if err := os.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			must(w.t, os.Symlink(target, full))
		} else if text != "" {
			must(w.t, os.WriteFile(full, []byte(text), 0o644))
		}
	}
	w.git("add", "--all", "--force")
	w.git("commit", "--quiet", "--allow-empty", "-m", "x")
	return w.git("rev-parse", "HEAD")
}

// archive is what the git command makes of a commit here, by hand.
func (w *work) archive(commit, prefix string) string {
	w.t.Helper()
	name := filepath.Join(w.t.TempDir(), "want.tar")
	w.git("archive", "--format=tar", "--prefix="+prefix, "--output="+name, commit)
	return content(w.t, name)
}

// prep runs %prep as rpm does.
func prep(t *testing.T, p *Prepared) {
	t.Helper()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skip("needs rpmbuild: whether archives suit rpm goes untested; install rpm")
	}
	cmd := exec.Command("rpmbuild", "-bp", "--nodeps", "--define", "_topdir "+t.TempDir(), "--define", "_sourcedir "+p.Sources, p.Spec)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("rpmbuild -bp: %v\n%s", err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(Options{Dir: filepath.Join(t.TempDir(), "mirrors"), Logger: slog.New(slog.DiscardHandler), FetchTimeout: time.Minute})
	must(t, err)
	return s
}

func (w *work) request(commit string) Request {
	return Request{Project: "hello", URL: w.dir, Ref: "refs/heads/main", Commit: commit}
}

// serve gives the directory above the repository out over http, as git's own server does, to those who have the password.
func serve(t *testing.T, dir, password string) (url string) {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	must(t, err)
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env: append(childEnv(), "GIT_PROJECT_ROOT="+dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1",
			"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"),
		Stderr: io.Discard,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, got, _ := r.BasicAuth(); got != password {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() // go-git's
	})
	return server.URL
}

func prepare(t *testing.T, s *Store, req Request) *Prepared {
	t.Helper()
	p, err := s.Prepare(t.Context(), req, t.TempDir())
	must(t, err)
	return p
}

// names lists the files of a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func content(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	must(t, err)
	return string(text)
}

// wantFailure checks that err is the packager's business, with words in its text.
func wantFailure(t *testing.T, err error, kind rpmflow.FailureKind, words ...string) {
	t.Helper()
	var f *rpmflow.Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a failure of kind %s", err, kind)
	}
	if f.Kind != kind || f.Hint == "" {
		t.Errorf("got kind %q, hint %q; want kind %q with a hint", f.Kind, f.Hint, kind)
	}
	for _, word := range words {
		if !strings.Contains(err.Error()+"\n"+f.Hint, word) {
			t.Errorf("%q (hint %q) does not say %q", err, f.Hint, word)
		}
	}
}

func wantPlain(t *testing.T, err error) {
	t.Helper()
	var f *rpmflow.Failure
	if err == nil || errors.As(err, &f) {
		t.Fatalf("got %v, want an error that is ours", err)
	}
}

// expand runs the machine's own rpmspec.
func expand(t *testing.T, spec, sources string) []byte {
	t.Helper()
	if _, err := exec.LookPath("rpmspec"); err != nil {
		t.Skip("needs rpmspec: what rpm makes of specs goes untested; install rpm")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "rpmspec", "-P", "--define", "_topdir /builddir/build", "--define", "_sourcedir "+sources, spec)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("rpmspec: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	return out
}

// missingSources lists the files of an expanded spec that are not in dir.
func missingSources(text []byte, dir string) (missing []string) {
	for _, f := range spec.ParseExpanded(text).Files {
		if info, err := os.Stat(filepath.Join(dir, f.Name())); err != nil || !info.Mode().IsRegular() {
			missing = append(missing, f.Name())
		}
	}
	return missing
}

// specText is a spec with tags and %prep of the test's choice.
func specText(tags, prep string) string {
	return fmt.Sprintf("Name: hello\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\n%s\n\n%%description\nx\nSource0: not-this.tar.gz\n\n%%prep\n%s\n%%build\ntrue\n%%files\n", tags, prep)
}

func hashOf(commit string) plumbing.Hash { return plumbing.NewHash(commit) }

// silentServer takes requests and answers none until it hangs up. asked is closed at the first.
func silentServer(t *testing.T) (url string, asked <-chan struct{}, hangUp func()) {
	t.Helper()
	first := make(chan struct{})
	var once sync.Once
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(first) })
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { cancel(); server.Close() })
	return server.URL + "/a", first, cancel
}
