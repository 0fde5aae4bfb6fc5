package source

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

// halves are the two repositories of layout split.
func halves(t *testing.T, packaging map[string]string) (source, pack *gittest.Repository, req Request) {
	t.Helper()
	source, pack = gittest.New(t), gittest.New(t)
	req = Request{Project: "hello", URL: source.Dir, Ref: "refs/heads/main", Layout: rpmflow.LayoutSplit}
	req.Commit = source.Commit(map[string]string{"main.c": "int main;\n", "src/b.c": "b\n",
		"rpm/SPECS/not-this.spec": "Name: other\n"})
	req.Packaging = &Packaging{URL: pack.Dir, Ref: "refs/heads/main", Commit: pack.Commit(packaging)}
	return source, pack, req
}

// The OpenStack layout: what is taken for each target, and that rpm can prepare it.
func TestSplit(t *testing.T) {
	t.Parallel()
	spec := specText("Source0: %{name}-%{version}.tar.gz\nSource1: hello.conf\nPatch0: a.patch",
		"%setup -q\ntest -f main.c && test -f src/b.c")
	packaging := map[string]string{
		"centos7/rpm/SPECS/hello.spec": spec, "centos7/rpm/SOURCES/hello.conf": "c7",
		"centos7/rpm/SOURCES/a.patch": "P",
		"fedora/rpm/SPECS/hello.spec": spec, "fedora/rpm/SOURCES/hello.conf": "f", "fedora/rpm/SOURCES/a.patch": "P",
		"rpm/SPECS/hello.spec": spec, "rpm/SOURCES/hello.conf": "top", "rpm/SOURCES/a.patch": "P", "README": "x",
		"flat/hello.spec": spec, "flat/hello.conf": "flat", "flat/a.patch": "P",
	}
	source, pack, req := halves(t, packaging)
	s := newStore(t)
	for _, tt := range []struct{ directory, spec, path, conf string }{
		{"centos7", "", "centos7/rpm/SPECS/hello.spec", "c7"},
		{"fedora", "rpm/SPECS/hello.spec", "fedora/rpm/SPECS/hello.spec", "f"},
		{"fedora", "fedora/rpm/SPECS/hello.spec", "fedora/rpm/SPECS/hello.spec", "f"}, // as the record has it
		{"", "", "rpm/SPECS/hello.spec", "top"},
		{"flat", "", "flat/hello.spec", "flat"},
	} {
		t.Run(tt.directory+" "+tt.spec, func(t *testing.T) {
			req := req
			req.Sources.Directory, req.Spec = tt.directory, tt.spec
			p := prepare(t, s, req)
			if p.SpecPath != tt.path || p.Layout != rpmflow.LayoutSplit || !p.needsExpansion() ||
				p.Commit != req.Commit ||
				p.Packaging != req.Packaging.Commit {
				t.Errorf("got %s, %s, %s, %s", p.SpecPath, p.Layout, p.Commit, p.Packaging)
			}
			if got := names(t, p.Sources); got != "a.patch hello.conf" || content(t, filepath.Join(p.Sources,
				"hello.conf")) != tt.conf {
				t.Errorf("sources %q", got)
			}
			if !strings.Contains(p.Explanation, "split: "+tt.path) {
				t.Errorf("explanation %q", p.Explanation)
			}
			text := expand(t, p.Spec, p.Sources)
			testkit.Must(t, finish(t.Context(), p, text))
			if missing := missingSources(text, p.Sources); len(missing) != 0 {
				t.Errorf("missing: %q", missing)
			}
			prep(t, p)
		})
	}
	t.Run("the archive is git's", func(t *testing.T) {
		p := prepare(t, s, req)
		testkit.Must(t, finish(t.Context(), p, []byte("Name: hello\nVersion: 1\nSource0: x.tar\n")))
		if content(t, filepath.Join(p.Sources, "x.tar")) != source.Archive(req.Commit, "hello-1/") {
			t.Error("the archive differs from git's")
		}
	})
	t.Run("tags", func(t *testing.T) {
		source.Git("tag", "-a", "-m", "x", "v1")
		pack.Git("tag", "-a", "-m", "x", "v1")
		req := req
		req.Ref, req.Commit = "refs/tags/v1", source.Git("rev-parse", "v1")
		req.Packaging = &Packaging{URL: pack.Dir, Ref: "refs/tags/v1", Commit: pack.Git("rev-parse", "v1")}
		p := prepare(t, s, req)
		if p.Commit != source.Git("rev-parse", "HEAD") || p.Packaging != pack.Git("rev-parse", "HEAD") {
			t.Errorf("got %s, %s", p.Commit, p.Packaging)
		}
	})
}

// The same two commits make the same files, whichever is the younger one.
func TestSplitTime(t *testing.T) {
	t.Parallel()
	young := time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, younger := range []string{"source", "packaging"} {
		source, pack, req := halves(t, map[string]string{"rpm/SPECS/hello.spec": plainSpec, "rpm/SOURCES/a": "a"})
		w, commit := source, &req.Commit
		if younger == "packaging" {
			w, commit = pack, &req.Packaging.Commit
		}
		w.Git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "y")
		tree := w.Git("rev-parse", "HEAD^{tree}")
		text := fmt.Sprintf("tree %s\nauthor a <a@b> %d +0000\ncommitter a <a@b> %d +0000\n\ny\n", tree, young.Unix(),
			young.Unix())
		*commit = w.GitIn(text, "hash-object", "-t", "commit", "-w", "--stdin")
		w.Git("update-ref", "refs/heads/main", *commit)
		if p := prepare(t, newStore(t), req); !p.CommitTime.Equal(young) {
			t.Errorf("%s is younger: time %s", younger, p.CommitTime)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	t.Parallel()
	_, _, req := halves(t, map[string]string{
		"two/rpm/SPECS/a.spec": plainSpec, "two/rpm/SPECS/b.spec": plainSpec, "empty/rpm/SOURCES/x": "x",
		"link/rpm/SPECS/hello.spec": "-> ../../../../../etc/passwd", "dir/rpm/SPECS/hello.spec/x": "x",
	})
	s := newStore(t)
	for _, tt := range []struct {
		name   string
		change func(*Request)
		words  []string
	}{
		{"no spec", func(r *Request) { r.Sources.Directory = "empty" },
			[]string{"no spec file in empty/rpm/SPECS of the packaging repository", "packaging_directories"}},
		{"no directory", func(r *Request) { r.Sources.Directory = "nowhere" },
			[]string{"no spec file in nowhere/rpm/SPECS"}},
		{"two specs", func(r *Request) { r.Sources.Directory = "two" }, []string{"2 spec files in two/rpm/SPECS",
			"set spec:"}},
		{"a link that leads out", func(r *Request) { r.Sources.Directory = "link" }, []string{"no spec file"}},
		{"a directory for a spec", func(r *Request) { r.Sources.Directory = "dir" }, []string{"no spec file"}},
		{"a directory outside", func(r *Request) { r.Sources.Directory = "../x" },
			[]string{`directory "../x" is outside`}},
		{"an absolute directory", func(r *Request) { r.Sources.Directory = "/etc" },
			[]string{`directory "/etc" is outside`}},
		{"a spec outside", func(r *Request) { r.Sources.Directory, r.Spec = "two", "../../x.spec" },
			[]string{`spec "../../x.spec" is outside`}},
		{"a spec that is not there", func(r *Request) { r.Sources.Directory, r.Spec = "two", "c.spec" },
			[]string{"no spec file two/c.spec"}},
		{"no packaging repository", func(r *Request) { r.Packaging = nil }, []string{"packaging_url"}},
		{"a commit that is not there", func(r *Request) {
			r.Packaging = &Packaging{r.Packaging.URL, "refs/heads/main", strings.Repeat("a", 40)}
		},
			[]string{"packaging repository", "force-pushed or deleted?"}},
		{"no such source repository", func(r *Request) { r.URL += "-not" }, []string{"not found"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := req
			tt.change(&req)
			_, err := s.Prepare(t.Context(), req, t.TempDir())
			failtest.Want(t, err, rpmflow.FailureSource, append(tt.words, `project "hello"`)...)
		})
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	head := w.Commit(map[string]string{"a": "a"})
	w.Git("branch", "rpm-master")
	w.Git("checkout", "--quiet", "-b", "stable/1.0")
	stable := w.Commit(map[string]string{"a": "b"})
	w.Git("tag", "v1")
	w.Git("checkout", "--quiet", "main")
	s := newStore(t)
	for _, tt := range []struct{ pushed, fallback, ref, commit, says string }{
		{"refs/heads/stable/1.0", "rpm-master", "refs/heads/stable/1.0", stable, "which has the same name"},
		{"refs/tags/v1", "", "refs/tags/v1", stable, "which has the same name"},
		{"refs/heads/feature", "rpm-master", "refs/heads/rpm-master", head,
			"which has no refs/heads/feature: the configured fallback"},
		{"refs/heads/feature", "", "refs/heads/main", head, "which has no refs/heads/feature: its HEAD"},
		{"refs/heads/feature", "gone", "refs/heads/main", head,
			`which has no refs/heads/feature and no branch "gone" ` +
				`(packaging_fallback): its HEAD`},
		{"refs/tags/v2", "rpm-master", "refs/heads/rpm-master", head, "the configured fallback"},
		{"", "", "refs/heads/main", head, "its HEAD"},
		{"", "gone", "refs/heads/main", head, `which has no branch "gone"`},
	} {
		got, says, err := s.Match(t.Context(), w.Dir, tt.pushed, tt.fallback)
		testkit.Must(t, err)
		if got != (rpmflow.Revision{Repository: w.Dir, Ref: tt.ref, Commit: tt.commit}) ||
			!strings.Contains(says, tt.says) {
			t.Errorf("%q, fallback %q: got %+v, %q", tt.pushed, tt.fallback, got, says)
		}
	}
	_, _, err := s.Match(t.Context(), gittest.New(t).Dir, "refs/heads/x", "y")
	failtest.Want(t, err, rpmflow.FailureSource, `has no refs/heads/x and no branch "y"`, "packaging_fallback")
	_, _, err = s.Match(t.Context(), w.Dir+"-not", "refs/heads/x", "")
	failtest.Want(t, err, rpmflow.FailureSource, "not found")
}
