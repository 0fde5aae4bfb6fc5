// Package gittest makes git repositories for tests, and serves them.
// A *testing.T comes in; repositories with working trees, and URLs under which git's own server has them, go out.
// Tests may import it, programs may not; it imports packages gitcmd and testkit.
package gittest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Repository is a repository with a working tree, as a packager has it.
type Repository struct {
	t   *testing.T
	Dir string
}

// New makes a repository in a directory of its own.
func New(t *testing.T) *Repository {
	t.Helper()
	return At(t, filepath.Join(t.TempDir(), "hello"))
}

// At makes a repository in this directory.
func At(t *testing.T, dir string) *Repository {
	t.Helper()
	r := &Repository{t, dir}
	r.Git("init", "--quiet", "--initial-branch=main", dir)
	return r
}

// Sibling is another repository in the same directory.
func (r *Repository) Sibling(name string) *Repository {
	r.t.Helper()
	return At(r.t, filepath.Join(filepath.Dir(r.Dir), name))
}

// Env is the environment of a git without configuration.
func Env() []string {
	return gitcmd.Command(context.Background()).Env
}

// Git runs git in the repository, at a fixed time and with no configuration but the repository's.
func (r *Repository) Git(args ...string) string { r.t.Helper(); return r.GitIn("", args...) }

// GitIn is Git with something on its standard input.
func (r *Repository) GitIn(stdin string, args ...string) string {
	r.t.Helper()
	if args[0] != "init" {
		args = append([]string{"-C", r.Dir}, args...)
	}
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(Env(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a",
		"GIT_COMMITTER_EMAIL=a@b",
		"GIT_AUTHOR_DATE=2024-02-03T04:05:06Z", "GIT_COMMITTER_DATE=2024-02-03T04:05:06Z")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Commit writes files (symlinks if the content is "-> target"), deletes those that are "" and returns the commit.
func (r *Repository) Commit(files map[string]string) string {
	r.t.Helper()
	// Deletions come first: a directory may replace a file of its name.
	order := slices.SortedFunc(maps.Keys(files), func(a, b string) int {
		return cmp.Or(cmp.Compare(min(len(files[a]), 1), min(len(files[b]), 1)), strings.Compare(a, b))
	})
	for _, name := range order {
		full, text := filepath.Join(r.Dir, name), files[name]
		testkit.Must(r.t, os.MkdirAll(filepath.Dir(full), 0o755))
		if err := os.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			testkit.Must(r.t, os.Symlink(target, full))
		} else if text != "" {
			testkit.Must(r.t, os.WriteFile(full, []byte(text), 0o644))
		}
	}
	r.Git("add", "--all", "--force")
	r.Git("commit", "--quiet", "--allow-empty", "-m", "x")
	return r.Git("rev-parse", "HEAD")
}

// CommitSubmodules makes commits of other repositories submodules, by path, with what .gitmodules says of them among
// the files.
func (r *Repository) CommitSubmodules(files map[string]string, commits map[string]string) string {
	r.t.Helper()
	for path, commit := range commits {
		testkit.Must(r.t, os.MkdirAll(filepath.Join(r.Dir, path), 0o755)) // or git would take it for removed
		r.Git("update-index", "--add", "--cacheinfo", "160000,"+commit+","+path)
	}
	return r.Commit(files)
}

// Archive is what the git command makes of a commit, in a directory of the working tree.
func (r *Repository) Archive(commit, prefix string) string {
	r.t.Helper()
	return r.ArchiveIn("", commit, prefix)
}

// ArchiveIn is Archive of one directory.
func (r *Repository) ArchiveIn(dir, commit, prefix string) string {
	r.t.Helper()
	name := filepath.Join(r.t.TempDir(), "want.tar")
	r.Git("-C", "./"+dir, "archive", "--format=tar", "--prefix="+prefix, "--output="+name, commit)
	text, err := os.ReadFile(name)
	testkit.Must(r.t, err)
	return string(text)
}

// Damage makes the packs of the mirrors in a directory unreadable, but for the commits, which come first.
func Damage(t *testing.T, mirrors string) {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(mirrors, "*.git/objects/pack/*.pack"))
	testkit.Must(t, err)
	for _, pack := range packs {
		testkit.Must(t, os.Chmod(pack, 0o600))
		data, err := os.ReadFile(pack)
		testkit.Must(t, err)
		copy(data[len(data)-40:], bytes.Repeat([]byte{0xff}, 20))
		testkit.Must(t, os.WriteFile(pack, data, 0o600))
	}
}

// Backend is git's own server for the repositories in a directory.
func Backend(t *testing.T, dir string) http.Handler {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	return &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env: append(Env(), "GIT_PROJECT_ROOT="+dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1",
			"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"),
		Stderr: io.Discard,
	}
}

// Serve serves the repositories in a directory over http, to those who have the password.
func Serve(t *testing.T, dir, password string) (url string) {
	t.Helper()
	backend := Backend(t, dir)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, got, _ := r.BasicAuth(); got != password {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// Transports runs a test with one repository over each way to read it.
func Transports(t *testing.T, run func(t *testing.T, r *Repository, url string)) {
	t.Run("path", func(t *testing.T) { r := New(t); run(t, r, r.Dir) })
	t.Run("file", func(t *testing.T) { r := New(t); run(t, r, "file://"+r.Dir) })
	t.Run("http", func(t *testing.T) {
		r := New(t)
		url := Serve(t, filepath.Dir(r.Dir), "se/cr@t")
		run(t, r, strings.Replace(url, "://", "://me:se%2Fcr%40t@", 1)+"/hello/.git")
	})
}
