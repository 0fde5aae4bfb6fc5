package source

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

var plainSpec = specText("Source0: %{name}-%{version}.tar.gz", "%setup -q")

func TestPrepareStandard(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		files   map[string]string
		spec    string
		sources string
		why     string
	}{
		{"top", map[string]string{"hello.spec": plainSpec, "hello-1.0.tar.gz": "T", "a.patch": "P", "doc/x": "no"},
			"hello.spec", "a.patch hello-1.0.tar.gz",
			"standard: hello.spec and the tarball hello-1.0.tar.gz at the top of " +
				"the repository"},
		{"SPECS and SOURCES", map[string]string{"SPECS/hello.spec": plainSpec, "SOURCES/hello-1.0.tar.gz": "T",
			"SOURCES/a.patch": "P", "README": "no"},
			"SPECS/hello.spec", "a.patch hello-1.0.tar.gz", "in SPECS and SOURCES"},
		{"SOURCES with a subdirectory",
			map[string]string{"SPECS/hello.spec": plainSpec, "SOURCES/hello-1.0.tar.gz": "T",
				"SOURCES/sub/b": "no"},
			"SPECS/hello.spec", "hello-1.0.tar.gz", "in SPECS and SOURCES"},
		{"symlinks", map[string]string{"hello.spec": plainSpec, "hello-1.0.tar.gz": "-> files/real", "files/real": "T",
			"deep/er/l": "-> ../../files/real",
			"via":       "-> deep/er/l", "dirlink": "-> files", "through": "-> dirlink/real",
			"out":    "-> ../../../../etc/passwd",
			"abs":    "-> /etc/passwd",
			"tricky": "-> files/../../etc/passwd", "loop": "-> loop", "gone": "-> nowhere"},
			"hello.spec", "hello-1.0.tar.gz through via", "standard"},
		{"not UTF-8", map[string]string{"hello.spec": plainSpec, "hello-1.0.tar.gz": "T", "caf\xe9\n.patch": "P"},
			"hello.spec", "caf\xe9\n.patch hello-1.0.tar.gz", "standard"},
		{"spec is a link", map[string]string{"hello.spec": "-> SPECS/hello.spec", "SPECS/hello.spec": plainSpec,
			"SOURCES/hello-1.0.tar.gz": "T"},
			"SPECS/hello.spec", "hello-1.0.tar.gz", "in SPECS and SOURCES"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := gittest.New(t)
			commit := w.Commit(tt.files)
			p := prepare(t, newStore(t), request(w, commit))
			if p.Layout != rpmflow.LayoutStandard || !strings.Contains(p.Explanation, tt.why) || p.needsExpansion() {
				t.Errorf("got layout %s, %q", p.Layout, p.Explanation)
			}
			if p.SpecPath != tt.spec || content(t, p.Spec) != plainSpec || filepath.Base(p.Spec) != "hello.spec" {
				t.Errorf("got spec %q, %q", p.SpecPath, p.Spec)
			}
			if got := names(t, p.Sources); got != tt.sources {
				t.Errorf("got sources %q, want %q", got, tt.sources)
			}
			if got := content(t, filepath.Join(p.Sources, "hello-1.0.tar.gz")); got != "T" {
				t.Errorf("got content %q", got)
			}
			want := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
			info, err := os.Stat(filepath.Join(p.Sources, "hello-1.0.tar.gz"))
			testkit.Must(t, err)
			if !p.CommitTime.Equal(want) || !info.ModTime().Equal(want) || info.Mode() != 0o644 || p.Commit != commit {
				t.Errorf("got %v, %v, %v, %s", p.CommitTime, info.ModTime(), info.Mode(), p.Commit)
			}
			if err := finish(t.Context(), p, nil); err != nil {
				t.Errorf("Complete: %v", err)
			}
		})
	}
}

func TestPrepareFindsSpec(t *testing.T) {
	t.Parallel()
	two := map[string]string{"a.spec": plainSpec, "SPECS/b.spec": plainSpec}
	for _, tt := range []struct {
		name  string
		files map[string]string
		spec  string
		want  string // the spec's path, or "" for a failure
		words []string
	}{
		{"none", map[string]string{"README": "x", ".spec": "x", "bad.spec": "-> ../out.spec"}, "", "",
			[]string{"no spec file at ", "add one or set spec:"}},
		{"two", two, "", "", []string{"2 spec files at", "(a.spec, SPECS/b.spec)",
			"set spec: in the project's configuration"}},
		{"two, one said", two, "SPECS/b.spec", "SPECS/b.spec", nil},
		{"said untidily", two, "./SPECS/../a.spec", "a.spec", nil},
		{"anywhere", map[string]string{"packaging/rpm/hello.spec": plainSpec, "main.c": "x"}, "",
			"packaging/rpm/hello.spec",
			nil},
		{"two anywhere", map[string]string{"x/a.spec": plainSpec, "y/b.spec": plainSpec}, "", "",
			[]string{"x/a.spec, y/b.spec"}},
		{"top goes before anywhere", map[string]string{"a.spec": plainSpec, "src/x": "x", "y/b.spec": plainSpec}, "",
			"a.spec", nil},
		{"not of others", map[string]string{"rpm/a.spec": plainSpec, "src/x": "x", "vendor/b/b.spec": plainSpec,
			"src/third_party/c.spec": plainSpec,
			"node_modules/d/d.spec":  plainSpec, "tests/data/e.spec": plainSpec, "Examples/f.spec": plainSpec}, "",
			"rpm/a.spec",
			nil},
		{"none but a test's", map[string]string{"tests/a.spec": plainSpec, "src/x": "x"}, "", "tests/a.spec", nil},
		{"a name that a shell would read", map[string]string{"hello world.spec": plainSpec}, "", "",
			[]string{"hello world.spec", "rename it: git mv"}},
		{"said, missing", two, "c.spec", "", []string{"no spec file c.spec"}},
		{"said, a directory", two, "SPECS", "", []string{"no spec file SPECS"}},
		{"said, outside", two, "../a.spec", "", []string{"outside"}},
		{"said, deeper outside", two, "SPECS/../../a.spec", "", []string{"outside"}},
		{"said, absolute", two, "/etc/passwd", "", []string{"outside"}},
		{"said, link outside", map[string]string{"a.spec": "-> ../../etc/passwd"}, "a.spec", "",
			[]string{"no spec file a.spec"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := gittest.New(t)
			req := request(w, w.Commit(tt.files))
			req.Spec = tt.spec
			p, err := newStore(t).Prepare(t.Context(), req, t.TempDir())
			if tt.want == "" {
				failtest.Want(t, err, rpmflow.FailureSource, append(tt.words, `project "hello"`)...)
				return
			}
			testkit.Must(t, err)
			if p.SpecPath != tt.want {
				t.Errorf("got %q", p.SpecPath)
			}
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
	lfs := w.Commit(map[string]string{"hello.spec": plainSpec, "hello-1.0.tar.gz": pointer})
	large := w.Commit(map[string]string{"hello-1.0.tar.gz": strings.Repeat("x", 10_001)})
	s := newStore(t)
	s.maxFile = 10_000
	for _, tt := range []struct {
		name   string
		change func(*Request)
		words  []string
	}{
		{"Git LFS", func(r *Request) { r.Commit = lfs }, []string{"hello-1.0.tar.gz is a Git LFS pointer"}},
		{"too large", func(r *Request) {}, []string{"10001 bytes"}},
		{"short commit", func(r *Request) { r.Commit = large[:12] }, []string{"full id"}},
		{"SHA-256", func(r *Request) { r.Commit = strings.Repeat("a", 64) }, []string{"SHA-1"}},
		{"refspec as ref", func(r *Request) {
			r.Commit, r.Ref = strings.Repeat("a", 40),
				"refs/heads/main:refs/heads/x"
		},
			[]string{"full name of a ref"}},
		{"option as ref", func(r *Request) { r.Commit, r.Ref = strings.Repeat("a", 40), "--upload-pack=x" },
			[]string{"full name of a ref"}},
		{"layout", func(r *Request) { r.Layout = "odd" }, []string{`"odd"`}},
		{"a file, not a commit", func(r *Request) { r.Commit = w.Git("rev-parse", "HEAD:hello.spec") },
			[]string{"not a commit"}},
		{"no repository", func(r *Request) { r.URL = w.Dir + "-not" }, []string{"not found", "url setting"}},
		{"no git repository", func(r *Request) { r.URL = t.TempDir() }, []string{"not found", "url setting"}},
		{"scheme", func(r *Request) { r.URL = "git://localhost/x" }, []string{`scheme "git"`}},
		{"helper", func(r *Request) { r.URL = "ext::sh -c true" }, []string{"neither"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := request(w, large)
			tt.change(&req)
			_, err := s.Prepare(t.Context(), req, t.TempDir())
			failtest.Want(t, err, rpmflow.FailureSource, tt.words...)
		})
	}
}

func TestPrepareOverTransports(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		s := newStore(t)
		first := w.Commit(map[string]string{"hello.spec": plainSpec, "hello-1.0.tar.gz": "1"})
		second := w.Commit(map[string]string{"hello-1.0.tar.gz": "2"})
		w.Git("tag", "-a", "-m", "x", "v1")
		w.Git("tag", "-a", "-m", "x", "v1-again", "v1")
		check := func(ref, commit, want string) {
			t.Helper()
			p := prepare(t, s, Request{Project: "hello", URL: url, Ref: ref, Commit: commit})
			if got := content(t, filepath.Join(p.Sources, "hello-1.0.tar.gz")); got != want {
				t.Errorf("%s %s: got %q, want %q", ref, commit, got, want)
			}
			if p.Commit != first && p.Commit != second && want < "3" {
				t.Errorf("got commit %s, which is none", p.Commit)
			}
		}
		check("refs/heads/main", first, "1") // an ancestor of what the branch is by now
		check("refs/tags/v1", w.Git("rev-parse", "v1"), "2")
		check("refs/tags/v1-again", w.Git("rev-parse", "v1-again"), "2")
		third := w.Commit(map[string]string{"hello-1.0.tar.gz": "3"})
		check("refs/heads/main", third, "3")

		// A branch on top of the name of a deleted one.
		w.Git("checkout", "--quiet", "-b", "a")
		check("refs/heads/a", w.Commit(map[string]string{"hello-1.0.tar.gz": "4"}), "4")
		w.Git("checkout", "--quiet", "main")
		w.Git("branch", "-D", "a")
		w.Git("checkout", "--quiet", "-b", "a/b")
		check("refs/heads/a/b", w.Commit(map[string]string{"hello-1.0.tar.gz": "5"}), "5")

		// A fetched commit needs no repository any more.
		testkit.Must(t, os.Rename(w.Dir, w.Dir+"-away"))
		check("refs/heads/main", first, "1")
		_, err := s.Prepare(t.Context(), Request{Project: "hello", URL: url, Ref: "refs/heads/main",
			Commit: strings.Repeat("b", 40)}, t.TempDir())
		failtest.Want(t, err, rpmflow.FailureSource, "not found", giturl.Redact(url))
		if strings.Contains(err.Error(), "cr@t") || strings.Contains(err.Error(), "cr%40t") {
			t.Errorf("credentials in %q", err)
		}
	})
}

func TestPrepareForcePushed(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		w.Commit(map[string]string{"hello.spec": plainSpec})
		lost := w.Commit(map[string]string{"hello-1.0.tar.gz": "lost"})
		w.Git("reset", "--quiet", "--hard", "HEAD~")
		w.Commit(map[string]string{"hello-1.0.tar.gz": "new"})
		req := Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: lost}

		// As long as the server has it and serves it, it is built.
		w.Git("config", "uploadpack.allowAnySHA1InWant", "true")
		p := prepare(t, newStore(t), req)
		if got := content(t, filepath.Join(p.Sources, "hello-1.0.tar.gz")); got != "lost" {
			t.Errorf("got %q", got)
		}
		req.Ref = ""
		prepare(t, newStore(t), req)
		req.Ref = "refs/heads/deleted"
		prepare(t, newStore(t), req)

		w.Git("reflog", "expire", "--expire=now", "--all")
		w.Git("gc", "--quiet", "--prune=now")
		for _, allow := range []string{"true", "false"} {
			w.Git("config", "uploadpack.allowAnySHA1InWant", allow)
			for _, req.Ref = range []string{"refs/heads/main", "refs/heads/deleted", ""} {
				_, err := newStore(t).Prepare(t.Context(), req, t.TempDir())
				failtest.Want(t, err, rpmflow.FailureSource, "commit "+lost[:12]+" is not in "+req.Ref,
					"any more (force-pushed or deleted?)")
			}
		}
	})
}

func TestPrepareEmptyRemote(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		_, err := newStore(t).Prepare(t.Context(),
			Request{URL: url, Ref: "refs/heads/main", Commit: strings.Repeat("b", 40)},
			t.TempDir())
		failtest.Want(t, err, rpmflow.FailureSource, "any more")
		_, _, err = git.Resolver(nil)(t.Context(), url, "HEAD")
		failtest.Want(t, err, rpmflow.FailureSource, "no branch or tag")
	})
}

func TestPrepareTwiceInOneDirectory(t *testing.T) {
	t.Parallel()
	w, s, dir := gittest.New(t), newStore(t), t.TempDir()
	first := w.Commit(map[string]string{"hello.spec": plainSpec, "hello-1.0.tar.gz": "1", "old.patch": "x"})
	second := w.Commit(map[string]string{"hello-1.0.tar.gz": "2", "old.patch": ""})
	for _, commit := range []string{first, second} {
		if _, err := s.Prepare(t.Context(), request(w, commit), dir); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, filepath.Join(dir, "SOURCES")); got != "hello-1.0.tar.gz" {
		t.Errorf("got %q", got)
	}
}

// A builder in a container reads mounted repositories of other users, which git alone refuses (safe.directory).
func TestRepositoryOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: a repository of another user cannot be made, so safe.directory goes untested")
	}
	w := gittest.New(t)
	commit := w.Commit(map[string]string{"hello.spec": plainSpec})
	if out, err := exec.Command("chown", "-R", "12345:12345", w.Dir).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v %s", err, out)
	}
	prepare(t, newStore(t), request(w, commit))
	if _, got, err := git.Resolver(nil)(t.Context(), "file://"+w.Dir, "main"); err != nil || got != commit {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestPrepareCancelled(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		commit := w.Commit(map[string]string{"hello.spec": plainSpec})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := newStore(t).Prepare(ctx, Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: commit},
			t.TempDir())
		failtest.WantOther(t, err)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
