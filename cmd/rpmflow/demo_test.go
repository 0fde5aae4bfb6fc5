package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// The package may be in a working tree of the user, whose .git is a file that names the user's repository.
func TestDemonstrationLeavesTheUsersRepositoryAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mine, tree := filepath.Join(dir, "mine"), filepath.Join(dir, "tree")
	d := &demonstration{dir: tree, repo: filepath.Join(dir, "demo.git")}
	git := func(args ...string) string {
		t.Helper()
		return testkit.Value(d.git(t.Context(), dir, args...))(t)
	}
	git("init", "--quiet", "--initial-branch=main", mine)
	testkit.Write(t, filepath.Join(mine, "hello.spec"), "Name: hello\n")
	git("-C", mine, "add", "--all")
	git("-C", mine, "commit", "--quiet", "--message", "mine")
	git("-C", mine, "worktree", "add", "--quiet", "-b", "other", tree)
	if info := testkit.Value(os.Lstat(filepath.Join(tree, ".git")))(t); !info.Mode().IsRegular() {
		t.Fatal("the .git of a working tree is not a file")
	}
	testkit.Write(t, filepath.Join(tree, "new"), "not committed")
	before := git("-C", mine, "log", "--all", "--format=%H")
	git("init", "--quiet", "--bare", "--initial-branch=main", d.repo)
	for range 2 { // the second push is behind the first one
		testkit.Value(d.push(t.Context()))(t)
	}
	if got := git("-C", mine, "log", "--all", "--format=%H"); got != before {
		t.Errorf("the user's repository has %s, had %s", got, before)
	}
	if got := git("-C", tree, "status", "--porcelain"); got != "?? new" {
		t.Errorf("the user's working tree: %q", got)
	}
	if got := git("-C", d.repo, "ls-tree", "--name-only", "main"); got != "hello.spec\nnew" {
		t.Errorf("pushed %q", got)
	}
	if got := git("-C", d.repo, "rev-list", "--count", "main"); got != "2" {
		t.Errorf("%s commits", got)
	}
}
