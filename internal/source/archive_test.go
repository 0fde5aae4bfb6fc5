package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/archive"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

// inTree is a source tree with its spec in rpm/.
func inTree(spec string) map[string]string {
	return map[string]string{"rpm/hello.spec": spec, "rpm/a.patch": "P", "rpm/sub/x": "no", "main.c": "int main;\n",
		"src/b.c":     "b\n",
		"version.txt": "$Format:%H %cI$\n", "secret/x": "x", ".gitattributes": "secret export-ignore\n" +
			"version.txt export-subst\n"}
}

func TestCompleteIsGitArchive(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		w.Commit(nil)
		commit := w.Commit(inTree(specText("Source0: hello.tar", "%setup -q -n hello-src")))
		w.Git("tag", "-a", "-m", "x", "v1")
		p := prepare(t, newStore(t), Request{Project: "hello", URL: url, Ref: "refs/tags/v1", Commit: w.Git("rev-parse",
			"v1")})
		if p.Layout != rpmflow.LayoutInTree || !p.needsExpansion() || names(t, p.Sources) != "a.patch" ||
			p.Commit != commit {
			t.Fatalf("got %s, %q, %s", p.Layout, names(t, p.Sources), p.Commit)
		}
		testkit.Must(t, finish(t.Context(), p, expand(t, p.Spec, p.Sources)))
		want := filepath.Join(t.TempDir(), "want.tar")
		w.Git("archive", "--format=tar", "--prefix=hello-src/", "--output="+want, commit)
		got := content(t, filepath.Join(p.Sources, "hello.tar"))
		if got != content(t, want) {
			t.Error("the archive differs from git's")
		}
		if !strings.Contains(got, commit+" 2024") || strings.Contains(got, "hello-src/secret") {
			t.Error("export-subst or export-ignore is not honoured")
		}
		info, err := os.Stat(filepath.Join(p.Sources, "hello.tar"))
		testkit.Must(t, err)
		if !info.ModTime().Equal(p.CommitTime) || info.Mode() != 0o644 {
			t.Errorf("got %v, %v", info.ModTime(), info.Mode())
		}
		if got := names(t, p.Sources); got != "a.patch hello.tar" {
			t.Errorf("got %q", got)
		}
	})
}

// rpm itself says whether the archive is what %prep wants.
func TestCompleteSatisfiesPrep(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skip("needs rpmbuild: whether archives suit rpm goes untested; install rpm")
	}
	const check = "\ntest -f main.c && test -f src/b.c && ! test -e secret"
	for _, tt := range []struct{ name, tags, prep string }{
		{"%setup", "Source0: %{name}-%{version}.tar.gz", "%setup -q" + check},
		{"%setup -n", "Source: https://example.org/%{name}-%{version}.tgz", "%setup -q -n %{name}-main" + check},
		{"%autosetup -n", "Source0: x.tar.xz\nPatch0: a.patch", "%autosetup -N -n %{name}-%{version}-rc1" + check},
		{"forge", "%global commit 0123456789abcdef\n" +
			"Source0: https://example.org/%{name}/archive/%{commit}.tar.gz#/%{name}-%{commit}.tar.gz",
			"%autosetup -n %{name}-%{commit}" + check},
		{"%setup -c", "Source0: %{name}.tar.bz2", "%setup -q -c" + check},
		{"%setup -c -n", "Source0: %{name}.tar.zst", "%setup -q -c -n top" + check},
		{"%setup -c -T -a 0", "Source0: %{name}.txz", "%setup -q -c -T -a 0" + check},
		{"-T -b 0", "Source0: %{name}.tar", "%setup -q -T -b 0 -n late" + check},
		{"-T -D -a 1", "Source0: %{name}.tar.gz\nSource1: other.tar",
			"%setup -q -n %{name}-a\n%setup -q -T -D -n %{name}-a -a 1" + check},
		{"into a subdirectory", "Source0: %{name}.tar.gz", "%setup -q -n %{name}-1/src\ntest -f b.c"},
		{"into a directory that is not there", "Source0: %{name}.tar.gz", "%setup -q -n deep/%{name}" + check},
		{"zip", "Source0: %{name}.zip", "%setup -q" + check},
		{"tar", "Source0: %{name}.tar.gz", "tar xf %{SOURCE0}\ncd %{name}-%{version}" + check},
		{"tar, named", "Source0: %{name}.tar.gz", "tar xf %{SOURCE0} && cd other" + check},
		{"tar in a new directory", "Source0: %{name}.tar.gz", "mkdir -p x; cd x && tar xf %{SOURCE0}" + check},
		{"tar --strip", "Source0: %{name}.tar.gz", "%setup -q -c -T\ntar xf %{SOURCE0} --strip-components=1" + check},
		{"Source00", "Source00: %{name}-%{version}.tar.gz", "%setup -q" + check},
		{"%sourcelist", "%sourcelist\n%{name}.tar.gz\na.patch", "%setup -q" + check},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := gittest.New(t)
			files := inTree(specText(tt.tags, tt.prep))
			files["rpm/other.tar"] = strings.Repeat("\x00", 10240)
			commit := w.Commit(files)
			p := prepare(t, newStore(t), request(w, commit))
			text := expand(t, p.Spec, p.Sources)
			if missing := missingSources(text, p.Sources); len(missing) != 1 {
				t.Errorf("missing before: %q", missing)
			}
			if err := finish(t.Context(), p, text); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if missing := missingSources(text, p.Sources); len(missing) != 0 {
				t.Errorf("missing: %q", missing)
			}
			top := t.TempDir()
			cmd := exec.Command("rpmbuild", "-bp", "--nodeps", "--define", "_topdir "+top, "--define",
				"_sourcedir "+p.Sources,
				p.Spec)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("rpmbuild -bp: %v\n%s", err, out)
			}
		})
	}
}

func TestCompleteIsReproducible(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	commit := w.Commit(inTree(specText("", "")))
	for _, suffix := range archive.Suffixes() {
		text := []byte("Name: hello\nVersion: 1\nSource0: h" + suffix + "\n")
		var made []string
		for range 2 {
			p := prepare(t, newStore(t), request(w, commit))
			testkit.Must(t, finish(t.Context(), p, text))
			made = append(made, content(t, filepath.Join(p.Sources, "h"+suffix)))
		}
		if made[0] != made[1] || len(made[0]) == 0 {
			t.Errorf("%s differs from time to time", suffix)
		}
	}
}

func TestCompleteLeavesAlone(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	files := inTree(specText("Source0: own.tar.gz", "%setup -q"))
	files["rpm/own.tar.gz"] = "mine"
	p := prepare(t, newStore(t), request(w, w.Commit(files)))
	testkit.Must(t, finish(t.Context(), p, []byte("Name: hello\nVersion: 1\nSource0: own.tar.gz\n")))
	// no Source0
	testkit.Must(t, finish(t.Context(), p, []byte("Name: hello\nVersion: 1\nSource1: own.tar.gz\nPatch0: a.patch\n")))
	if got := content(t, filepath.Join(p.Sources, "own.tar.gz")); got != "mine" ||
		names(t, p.Sources) != "a.patch own.tar.gz" {
		t.Errorf("got %q, %q", got, names(t, p.Sources))
	}
}

func TestCompleteRefuses(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	files := inTree(specText("Source0: x.tar", ""))
	files["rpm/large"] = strings.Repeat("x", 20_001)
	files["rpm/lfs.tar.gz"] = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n"
	s := newStore(t)
	s.maxFile = 20_000
	p := prepare(t, s, request(w, w.Commit(files)))
	for _, tt := range []struct {
		text  string
		kind  rpmflow.FailureKind
		words []string
	}{
		{"Source0: x.rar", rpmflow.FailureSpec, []string{"x.rar", ".tar.gz"}},
		{"Source0: .tar.gz", rpmflow.FailureSpec, []string{".tar.gz"}},
		{"Source0: https://x/", rpmflow.FailureSpec, []string{"no file name"}},
		{"Source0: x/..", rpmflow.FailureSpec, []string{"no file name"}},
		{"Source0: x.tar\n%prep\n%setup -n ../x", rpmflow.FailureSpec, []string{`"../x"`}},
		{"Source0: x.tar\n%prep\n%setup -n /x", rpmflow.FailureSpec, []string{`"/x"`}},
		{"Source0: x.tar\nSource1: large", rpmflow.FailureSource, []string{"20001 bytes"}},
		{"Source0: lfs.tar.gz", rpmflow.FailureSource, []string{"Git LFS"}},
		{"Source0: x.tar", rpmflow.FailureSource, []string{"larger than 20000 bytes"}},
	} {
		err := finish(t.Context(), p, []byte("Name: hello\nVersion: 1\n"+tt.text+"\n"))
		failtest.Want(t, err, tt.kind, tt.words...)
		if got := names(t, p.Sources); got != "a.patch" {
			t.Errorf("%q left %q", tt.text, got)
		}
	}
	err := finish(t.Context(), p, []byte("Source0: x.tar.gz\n"))
	failtest.Want(t, err, rpmflow.FailureSpec, "no Name or no Version")

	s.maxFile = 500 // compressors must end, too
	for _, suffix := range archive.Suffixes() {
		err := finish(t.Context(), p, []byte("Name: hello\nVersion: 1\nSource0: x"+suffix+"\n"))
		failtest.Want(t, err, rpmflow.FailureSource, "larger than")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = finish(ctx, p, []byte("Name: hello\nVersion: 1\nSource0: x.tar.bz2\n"))
	if failtest.WantOther(t, err); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := names(t, p.Sources); got != "a.patch" {
		t.Errorf("left %q", got)
	}
}

// The mirror may go between the two steps.
func TestCompleteAfterDamage(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		dir := t.TempDir()
		p := prepare(t, newStoreIn(t, dir), Request{Project: "hello", URL: url, Ref: "refs/heads/main",
			Commit: w.Commit(inTree("Name: hello\n"))})
		text := []byte("Name: hello\nVersion: 1\nSource0: x.tar\n")
		gittest.Damage(t, dir)
		testkit.Must(t, finish(t.Context(), p, text))
		testkit.Must(t, os.Remove(filepath.Join(p.Sources, "x.tar")))
		testkit.Must(t, os.RemoveAll(dir))
		testkit.Must(t, os.Mkdir(dir, 0o700))
		testkit.Must(t, finish(t.Context(), p, text))
		if got := names(t, p.Sources); got != "a.patch x.tar" {
			t.Errorf("got %q", got)
		}
	})
}

// A tree of 13 objects with 10^12 files in it.
func TestTreeBomb(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	w.Commit(map[string]string{"hello.spec": "Name: hello\nSource0: x.tar\n"})
	blob := w.Git("rev-parse", "HEAD:hello.spec")
	mktree := func(lines string) string {
		cmd := exec.Command("git", "-C", w.Dir, "mktree")
		cmd.Stdin, cmd.Env = strings.NewReader(lines), gittest.Env()
		out, err := cmd.Output()
		testkit.Must(t, err)
		return strings.TrimSpace(string(out))
	}
	level := func(mode filemode.FileMode, kind, id string) string {
		var lines strings.Builder
		for i := range 10 {
			fmt.Fprintf(&lines, "%s %s %s\tf%d\n", strings.TrimPrefix(mode.String(), "0"), kind, id, i)
		}
		return mktree(lines.String())
	}
	tree := level(filemode.Regular, "blob", blob)
	for range 11 {
		tree = level(filemode.Dir, "tree", tree)
	}
	tree = mktree(fmt.Sprintf("040000 tree %s\tbomb\n040000 tree %s\trpm\n", tree,
		mktree(fmt.Sprintf("100644 blob %s\thello.spec\n", blob))))
	w.Git("reset", "--quiet", "--soft", w.Git("commit-tree", "-m", "x", tree))
	started := time.Now()
	s, req := newStore(t), request(w, w.Git("rev-parse", "HEAD"))
	_, err := s.Prepare(t.Context(), req, t.TempDir())
	failtest.Want(t, err, rpmflow.FailureSource, "too large to be searched")
	req.Spec = "rpm/hello.spec"
	p := prepare(t, s, req)
	err = finish(t.Context(), p, []byte("Name: hello\nVersion: 1\nSource0: x.tar\n"))
	failtest.Want(t, err, rpmflow.FailureSource, "more than 1000000 files")
	t.Logf("took %s", time.Since(started))
}
