package source

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
)

// userRepository is a working tree with one commit of a spec with its sources.
func userRepository(t *testing.T) (dir string, git func(args ...string) string) {
	t.Helper()
	dir = t.TempDir()
	git = func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=u", "-c", "user.email=u@example.com"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "--initial-branch=work")
	put(t, dir, "hello.spec", "Name: hello\nVersion: 1\nSource0: hello-1.tar.gz\nSource1: data.txt\n%description\n")
	put(t, dir, "data.txt", "one\n")
	put(t, dir, ".gitignore", "*.tar.gz\n*.log\n")
	git("add", "--all")
	git("commit", "--quiet", "-m", "one")
	git("tag", "v1")
	return dir, git
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// prepareTree takes a directory as a local build does.
func prepareTree(t *testing.T, dir string) (*WorkTree, *Prepared) {
	t.Helper()
	w, err := Snap(t.Context(), dir, filepath.Join(t.TempDir(), "snap.git"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := store.Prepare(t.Context(), Request{Project: "p", URL: w.Repository, InPlace: true, Commit: w.Commit, Layout: rpmflow.LayoutAuto, Tree: w.Top}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return w, p
}

func source(t *testing.T, p *Prepared, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.Sources, name))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestSnapOfACleanTree(t *testing.T) {
	dir, git := userRepository(t)
	put(t, dir, "hello-1.tar.gz", "ignored, and a source")
	put(t, dir, "build.log", "ignored, and none")
	w, p := prepareTree(t, filepath.Join(dir, "."))
	if head := git("rev-parse", "HEAD"); w.Commit != head || w.Ref != "refs/heads/work" || p.Commit != head {
		t.Errorf("%+v, HEAD is %s", w, head)
	}
	if got := source(t, p, "hello-1.tar.gz"); got != "ignored, and a source" {
		t.Errorf("the tarball that nobody commits: %q", got)
	}
	if _, err := os.Stat(filepath.Join(p.Sources, "build.log")); err == nil {
		t.Error("what no spec names is there, too")
	}
	if tags, err := runGit(t.Context(), "--git-dir="+w.Repository, "describe", "--tags", w.Commit); err != nil || string(tags) != "v1\n" {
		t.Errorf("tags: %s, %v", tags, err)
	}
}

func TestSnapOfAChangedTree(t *testing.T) {
	dir, git := userRepository(t)
	before := git("status", "--porcelain") + git("rev-parse", "HEAD") + git("count-objects")
	put(t, dir, "data.txt", "two\n")
	put(t, dir, "new file", "new")
	w, p := prepareTree(t, dir)
	if w.Commit == git("rev-parse", "HEAD") || !strings.Contains(w.Explanation, "data.txt, new file") {
		t.Errorf("%+v", w)
	}
	if got := source(t, p, "data.txt"); got != "two\n" {
		t.Errorf("the changed file: %q", got)
	}
	if again, _ := prepareTree(t, dir); again.Commit != w.Commit {
		t.Errorf("the same tree gives the commits %s and %s", w.Commit, again.Commit)
	}
	// Nothing has happened to the user's own.
	put(t, dir, "data.txt", "one\n")
	if err := os.Remove(filepath.Join(dir, "new file")); err != nil {
		t.Fatal(err)
	}
	if after := git("status", "--porcelain") + git("rev-parse", "HEAD") + git("count-objects"); after != before {
		t.Errorf("the repository was %q, and is %q", before, after)
	}
}

func TestSnapOfOtherDirectories(t *testing.T) {
	plain := t.TempDir()
	put(t, plain, "SPECS/hello.spec", "Name: hello\nVersion: 1\nSource0: a.txt\n")
	put(t, plain, "SOURCES/a.txt", "a")
	put(t, plain, "BUILD/huge", "not a source")
	w, p := prepareTree(t, plain)
	if w.Ref != "" || !strings.Contains(w.Explanation, "nothing of it is committed") || source(t, p, "a.txt") != "a" || p.SpecPath != "SPECS/hello.spec" {
		t.Errorf("%+v, %+v", w, p)
	}
	if list, err := runGit(t.Context(), "--git-dir="+w.Repository, "ls-tree", "-r", "--name-only", w.Commit); err != nil || strings.Contains(string(list), "BUILD") {
		t.Errorf("%s, %v", list, err)
	}
	// A linked working tree, of a repository without a commit of its own branch, with a subdirectory as the start.
	dir, git := userRepository(t)
	linked := filepath.Join(t.TempDir(), "linked")
	git("worktree", "add", "--quiet", "-b", "other", linked)
	put(t, linked, "data.txt", "linked\n")
	put(t, linked, "sub/x", "x")
	w, err := Snap(t.Context(), filepath.Join(linked, "sub"), filepath.Join(t.TempDir(), "s.git"))
	if err != nil || w.Ref != "refs/heads/other" || filepath.Base(w.Top) != "linked" {
		t.Errorf("%+v, %v", w, err)
	}
	_ = dir
	if _, err := Snap(t.Context(), filepath.Join(plain, "none"), filepath.Join(t.TempDir(), "n.git")); err == nil {
		t.Error("a directory that is not there")
	}
}
