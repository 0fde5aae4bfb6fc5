package worktree_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// names lists what is at the top of a directory's tree.
func names(t *testing.T, dir string) string {
	t.Helper()
	tree := testkit.Value(worktree.Open(t.Context(), dir, filepath.Join(t.TempDir(), "scratch")))(t)
	var all []string
	for _, f := range testkit.Value(git.Files(tree, ""))(t) {
		all = append(all, f.Name())
	}
	return strings.Join(all, " ")
}

// A tree has what is on disk, committed or not, without what git ignores and what builds have left.
func TestTree(t *testing.T) {
	t.Parallel()
	repo := gittest.New(t)
	repo.Commit(map[string]string{".gitignore": "*.o\n", "a.spec": "Name: a\n", "gone": "x"})
	testkit.Must(t, os.Remove(filepath.Join(repo.Dir, "gone")))
	for _, name := range []string{"new", "a.o", "result.rpm"} {
		testkit.Write(t, filepath.Join(repo.Dir, name), "")
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	testkit.Must(t, worktree.NoteResult(repo.Dir, "result.rpm", empty))
	if got := names(t, repo.Dir); got != ".gitignore a.spec new" {
		t.Errorf("in a repository: %s", got)
	}
	if !worktree.IsResult(repo.Dir, "result.rpm") {
		t.Error("a result is not known as one")
	}
	testkit.Write(t, filepath.Join(repo.Dir, "result.rpm"), "changed since")
	if worktree.IsResult(repo.Dir, "result.rpm") {
		t.Error("a file that was changed since is a result")
	}
	if status := repo.Git("status", "--porcelain", "--ignored"); strings.Contains(status, "scratch") {
		t.Errorf("something was written to the directory: %s", status)
	}
	plain := t.TempDir()
	testkit.Write(t, filepath.Join(plain, "a.o"), "")
	if got := names(t, plain); got != "a.o" {
		t.Errorf("without a repository: %s", got)
	}
}

func TestUnusable(t *testing.T) {
	t.Parallel()
	var f *rpmflow.Failure
	if _, err := worktree.Open(t.Context(), filepath.Join(t.TempDir(), "no\x1bne"), t.TempDir()); !errors.As(err, &f) ||
		strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a directory that is not there: %q", err)
	}
	dir := t.TempDir()
	testkit.Must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	if _, _, err := worktree.OpenRegular(dir); err == nil {
		t.Error("a directory was opened as a file")
	}
}
