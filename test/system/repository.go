package system

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Repository is a bare repository and a work tree that pushes to it.
type Repository struct{ Bare, Tree, Secret string }

// NewRepository makes both, empty.
func NewRepository(t testing.TB) *Repository {
	t.Helper()
	dir := t.TempDir()
	r := &Repository{Bare: filepath.Join(dir, "package.git"), Tree: filepath.Join(dir, "tree"), Secret: "s3cr3t-" +
		filepath.Base(dir)}
	Git(t, "", "init", "--quiet", "--bare", "--initial-branch=main", r.Bare)
	Git(t, "", "clone", "--quiet", r.Bare, r.Tree)
	Git(t, r.Tree, "checkout", "--quiet", "-b", "main")
	return r
}

// Project is the repository's entry in the configuration.
func (r *Repository) Project(name, more string) string {
	return fmt.Sprintf("- name: %s\n  url: %s\n  secret: %s\n%s", name,
		(&url.URL{Scheme: "file", Path: r.Bare}).String(),
		r.Secret, more)
}

// Announce installs the post-receive hook that users get.
func (r *Repository) Announce(t testing.TB, s *System, name string) {
	t.Helper()
	InstallHook(t, r.Bare, s.URL("/hooks/generic/"+name), r.Secret)
}

// Push makes the tree hold exactly these files, and pushes; what the hook was answered is returned.
func (r *Repository) Push(t testing.TB, files map[string]string, refs ...string) string {
	t.Helper()
	if len(refs) == 0 {
		refs = []string{"main"}
	}
	Git(t, r.Tree, "rm", "-r", "-q", "--ignore-unmatch", ".")
	for name, content := range files {
		testkit.Write(t, filepath.Join(r.Tree, name), content)
	}
	Git(t, r.Tree, "add", "--all")
	Git(t, r.Tree, "commit", "--quiet", "--allow-empty", "--message", "Change")
	return Git(t, r.Tree, append([]string{"push", "origin"}, refs...)...)
}

// Head is the commit that was pushed last.
func (r *Repository) Head(t testing.TB) string {
	t.Helper()
	return Git(t, r.Tree, "rev-parse", "HEAD")
}

// Git runs git with a neutral configuration, and returns its output.
func Git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C.UTF-8",
		"GIT_AUTHOR_NAME=e2e", "GIT_AUTHOR_EMAIL=e2e@example.com", "GIT_COMMITTER_NAME=e2e",
		"GIT_COMMITTER_EMAIL=e2e@example.com"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}
