package source

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// A spec that is named is taken as it is, with what is next to it as it is named, then next to what it leads to.
func TestNamedSpec(t *testing.T) {
	t.Parallel()
	dir, _ := userClone(t)
	const expanded = "Name: hello\nVersion: 1\nSource0: a.txt\nSource1: b.txt\n"
	spec := "Name: hello\nVersion: 1\nSource0: a.txt\nSource1: %{nil}b.txt\n"
	put(t, dir, "build.log/hello.spec", spec)
	put(t, dir, "build.log/a.txt", "third")
	put(t, dir, "build.log/b.txt", "third")
	put(t, dir, "second/b.txt", "second")
	put(t, dir, "rpmbuild/SOURCES/c.txt", "c")
	testkit.Must(t, os.Mkdir(filepath.Join(dir, "rpmbuild/SPECS"), 0o755))
	testkit.Must(t, os.Symlink("../build.log/hello.spec", filepath.Join(dir, "second/two.spec")))
	testkit.Must(t, os.Symlink("../../second/two.spec", filepath.Join(dir, "rpmbuild/SPECS/one.spec")))
	for named, want := range map[string]string{"build.log/hello.spec": "a.txt=third b.txt=third",
		"second/two.spec": "a.txt=third b.txt=second", "rpmbuild/SPECS/one.spec": "a.txt=third b.txt=second"} {
		p := mustLocal(t, filepath.Join(dir, named), expanded)
		if got := sourcesOf(t, p); got != want || filepath.Base(p.Spec) != filepath.Base(named) || p.SpecPath != named {
			t.Errorf("%s: %s, spec %s, %s", named, got, p.Spec, p.SpecPath)
		}
	}
	put(t, dir, "rpmbuild/SOURCES/b.txt", "SOURCES")
	if got := sourcesOf(t, mustLocal(t, filepath.Join(dir, "rpmbuild/SPECS/one.spec"),
		expanded)); got != "a.txt=third b.txt=SOURCES" {
		t.Error(got)
	}
}

// An archive next to the spec that is not the one rpm names does not stand for the tree.
func TestAnotherArchiveNextToTheSpec(t *testing.T) {
	t.Parallel()
	dir, _ := userTree(t)
	put(t, dir, "rpm/hello.spec", "Name: hello\n%global v 1\nVersion: %v\nSource0: hello-%{version}.tar\n")
	put(t, dir, "rpm/hello-0.9.tar", "old")
	p := mustLocal(t, filepath.Join(dir, "rpm/hello.spec"), "")
	if got := archived(t, p); p.Layout != rpmflow.LayoutInTree || !strings.Contains(got, "hello-1/src/a ") {
		t.Errorf("%s: %s", p.Layout, got)
	}
}

// What is not needed is not looked at; what is needed and cannot be read is named.
func TestUnusableFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "hello.spec", "Name: hello\nVersion: 1\nSource0: a.txt\n")
	put(t, dir, "a.txt", "a")
	testkit.Must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	testkit.Must(t, unix.Mknod(filepath.Join(dir, "socket"), unix.S_IFSOCK|0o600, 0))
	testkit.Must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	testkit.Must(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	testkit.Must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o755))
	spec := filepath.Join(dir, "hello.spec")
	if got := sourcesOf(t, mustLocal(t, spec, "Name: hello\nVersion: 1\nSource0: a.txt\n")); got != "a.txt=a" {
		t.Error(got)
	}
	for name, word := range map[string]string{"pipe": "a named pipe", "socket": "a socket", "loop": "in a circle",
		"dangling": "leads to nowhere", "dir": "is a directory", "none": "it is not in"} {
		_, err := local(t, spec, "Name: hello\nVersion: 1\nSource0: a.txt\nSource1: "+name+"\n")
		f := failureOf(err)
		if f == nil || f.Kind != rpmflow.FailureSource || f.Hint == "" || !strings.Contains(err.Error(), "Source1") ||
			!strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBrokenRepository(t *testing.T) {
	t.Parallel()
	dir, _ := userTree(t)
	put(t, dir, ".git/config", "[core\n")
	_, err := local(t, dir, "")
	if f := failureOf(err); f == nil || f.Kind != rpmflow.FailureSource || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	put(t, dir, "beside/hello.spec", "Name: hello\nVersion: 1\nSource0: a.txt\n")
	put(t, dir, "beside/a.txt", "a")
	if got := sourcesOf(t, mustLocal(t, filepath.Join(dir, "beside/hello.spec"),
		"Name: hello\nVersion: 1\nSource0: a.txt\n")); got != "a.txt=a" {
		t.Error(got)
	}
}

func TestResultsAreNotSources(t *testing.T) {
	t.Parallel()
	dir, _ := userTree(t)
	plain := t.TempDir()
	put(t, plain, "hello.spec", treeSpec)
	put(t, plain, "src/a", "a")
	for _, dir := range []string{dir, plain} {
		for name, text := range map[string]string{"out/hello.rpm": "rpm", "out/mine": "mine", "src/build.json": "{}",
			"src/again": "result"} {
			put(t, dir, name, text)
			if name != "out/mine" {
				sum, err := checksum.New("sha256", fmt.Sprintf("%x", sha256.Sum256([]byte(text))))
				testkit.Must(t, err)
				file := filepath.Join(dir, name)
				testkit.Must(t, worktree.NoteResult(filepath.Dir(file), filepath.Base(file), sum.Hex))
			}
		}
		put(t, dir, "src/again", "a source again")
		testkit.Must(t, os.Mkdir(filepath.Join(dir, "first"), 0o755))
		testkit.Must(t, worktree.MarkResults(filepath.Join(dir, "first")))
		got := archived(t, mustLocal(t, dir, ""))
		for name, want := range map[string]bool{"hello.rpm": false, "mine": true, "build.json": false, "again": true,
			"first": false, worktree.ResultsList: false} {
			if strings.Contains(got, name) != want {
				t.Errorf("%s: want %v\n%s", name, want, got)
			}
		}
	}
}

// What rpm reads while it expands the spec is there before.
func TestFilesForTheExpansion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "hello.spec", "Name: hello\nVersion: 1\nSource0: a.txt\nSource1: large\n%{lua:-- x}\n")
	put(t, dir, "a.txt", "a")
	put(t, dir, "other.inc", "included")
	put(t, dir, "large", strings.Repeat("x", maxBeside+1))
	names := func(p *Draft) string {
		entries, err := os.ReadDir(p.Sources)
		testkit.Must(t, err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	}
	prepare := func() *Draft {
		w, err := worktree.Open(t.Context(), filepath.Join(dir, "hello.spec"), filepath.Join(t.TempDir(), "views"))
		testkit.Must(t, err)
		p, err := newStore(t).Prepare(t.Context(), Request{Project: "p", WorkTree: w}, t.TempDir())
		testkit.Must(t, err)
		return p
	}
	p := prepare()
	if got := names(p); got != "a.txt large" {
		t.Error(got)
	}
	// What rpm cannot expand may include any of the small files.
	rpm := &fakeRPM{text: []byte("Name: hello\nSource0: a.txt\n"),
		err: rpmflow.Fail(rpmflow.FailureSpec, "correct it", "cannot open other.inc")}
	if _, err := p.Complete(t.Context(), rpm); err != nil || strings.Join(rpm.calls,
		" ") != "expand restart expand srpm" ||
		!slices.Contains(strings.Fields(names(p)), "other.inc") {
		t.Errorf("%v, %v: %s", rpm.calls, err, names(p))
	}
	put(t, dir, "hello.spec",
		"Name: hello\nVersion: 1\nSource0: a.txt\nSource1: large\n%include %{_sourcedir}/other.inc\n")
	if got := names(prepare()); got != "a.txt hello.spec other.inc" {
		t.Error(got)
	}
}

// A spec of a commit that is a link has its sources next to the link, then next to what it leads to.
func TestLinkedSpecOfACommit(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	commit := w.Commit(map[string]string{
		"shared/demo.spec": "Name: demo\nVersion: 1\nSource0: a.txt\nSource1: b.txt\n", "shared/a.txt": "shared",
		"shared/b.txt":  "shared",
		"pkg/demo.spec": "-> ../shared/demo.spec", "pkg/a.txt": "pkg",
	})
	p := prepare(t, newStore(t), Request{Project: "demo", URL: w.Dir, Ref: "refs/heads/main", Commit: commit,
		Sources: rpmflow.Sources{Directory: "pkg"}})
	if got := sourcesOf(t, p); got != "a.txt=pkg b.txt=shared" || p.SpecPath != "pkg/demo.spec" ||
		p.Layout != rpmflow.LayoutStandard {
		t.Errorf("%s of %s: %s", got, p.SpecPath, p.Explanation)
	}
}
