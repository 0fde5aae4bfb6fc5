package source

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// userClone is a working tree with one commit of a spec with its sources.
func userClone(t *testing.T) (dir string, git func(args ...string) string) {
	t.Helper()
	dir = t.TempDir()
	git = gitIn(t, dir)
	git("init", "--quiet", "--initial-branch=work")
	put(t, dir, "hello.spec", "Name: hello\nVersion: 1\nSource0: hello-1.tar.gz\nSource1: data.txt\n%description\n")
	put(t, dir, "data.txt", "one\n")
	put(t, dir, ".gitignore", "*.tar.gz\n*.log\n")
	git("add", "--all")
	git("commit", "--quiet", "-m", "one")
	git("tag", "v1")
	return dir, git
}

func gitIn(t *testing.T, dir string) func(args ...string) string {
	return func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=u", "-c",
			"user.email=u@example.com", "-c", "protocol.file.allow=always"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	testkit.Write(t, filepath.Join(dir, name), text)
}

// local is what a local build makes of a directory or a spec, whose expansion is the text; empty: that of treeSpec.
func local(t *testing.T, named, expanded string) (*Draft, error) {
	t.Helper()
	w, err := worktree.Open(t.Context(), named, filepath.Join(t.TempDir(), "views"))
	if err != nil {
		return nil, err
	}
	p, err := newStore(t).Prepare(t.Context(), Request{Project: "p", WorkTree: w, Ref: w.Ref(),
		Layout: rpmflow.LayoutAuto}, t.TempDir())
	if err != nil {
		return nil, err
	}
	if !p.needsExpansion() {
		t.Error("what is on disk is taken without rpm's word")
	}
	if expanded == "" {
		expanded = treeSpec
	}
	return p, finish(t.Context(), p, []byte(expanded))
}

// treeSpec is a spec whose Source0 is made of the tree.
const treeSpec = "Name: hello\nVersion: 1\nSource0: hello-1.tar\n%prep\n%setup -q\n"

func mustLocal(t *testing.T, named, expanded string) *Draft {
	t.Helper()
	p, err := local(t, named, expanded)
	testkit.Must(t, err)
	return p
}

// sourcesOf lists the sources with their content.
func sourcesOf(t *testing.T, p *Draft) string {
	t.Helper()
	entries, err := os.ReadDir(p.Sources)
	testkit.Must(t, err)
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%s=%s ", e.Name(), strings.TrimSpace(content(t, filepath.Join(p.Sources, e.Name()))))
	}
	return strings.TrimSpace(b.String())
}

// archived lists what is in the archive that was made of a tree.
func archived(t *testing.T, p *Draft) string {
	t.Helper()
	return strings.Join(entriesOf(t, content(t, filepath.Join(p.Sources, "hello-1.tar"))), "\n")
}

func TestDistGitTreeOnDisk(t *testing.T) {
	t.Parallel()
	dir, git := userClone(t)
	put(t, dir, "hello-1.tar.gz", "ignored, and a source")
	put(t, dir, "build.log", "ignored, and none")
	const expanded = "Name: hello\nVersion: 1\nSource0: hello-1.tar.gz\nSource1: data.txt\n"
	for _, named := range []string{dir, filepath.Join(dir, "hello.spec")} {
		p := mustLocal(t, named, expanded)
		if got := sourcesOf(t, p); got != "data.txt=one hello-1.tar.gz=ignored, and a source" {
			t.Errorf("%s: %s", named, got)
		}
		if head := git("rev-parse", "HEAD"); p.Commit != head || !strings.Contains(p.Explanation,
			"is checked out and unchanged, with hello-1.tar.gz, which git ignores") {
			t.Errorf("commit %s of %s: %s", p.Commit, head, p.Explanation)
		}
		if want := git("log", "-1", "--format=%ct"); fmt.Sprint(p.CommitTime.Unix()) != want {
			t.Errorf("time %d, the commit's is %s", p.CommitTime.Unix(), want)
		}
	}
	before := git("status", "--porcelain") + git("count-objects")
	later := time.Now().Add(time.Hour).Truncate(time.Second)
	put(t, dir, "data.txt", "two\n")
	testkit.Must(t, os.Chtimes(filepath.Join(dir, "data.txt"), later, later))
	p := mustLocal(t, dir, expanded)
	if got := sourcesOf(t, p); !strings.HasPrefix(got, "data.txt=two ") || !strings.Contains(p.Explanation,
		"differs from commit "+short(p.Commit)+" in data.txt") || !p.CommitTime.Equal(later) {
		t.Errorf("%s at %s: %s", got, p.CommitTime, p.Explanation)
	}
	put(t, dir, "data.txt", "one\n")
	if after := git("status", "--porcelain") + git("count-objects"); after != before {
		t.Errorf("the repository was %q, and is %q", before, after)
	}
}

// A file whose content is the same is not changed by its time.
func TestTouchedIsNotChanged(t *testing.T) {
	t.Parallel()
	dir, _ := userTree(t)
	now := time.Now().Add(time.Minute)
	testkit.Must(t, os.Chtimes(filepath.Join(dir, "data.txt"), now, now))
	if p := mustLocal(t, dir, ""); !strings.Contains(p.Explanation, "unchanged") {
		t.Error(p.Explanation)
	}
}

// userTree is a source tree whose Source0 is made of it.
func userTree(t *testing.T) (dir string, git func(args ...string) string) {
	dir, git = userClone(t)
	put(t, dir, "hello.spec", treeSpec)
	put(t, dir, "src/a", "a\n")
	put(t, dir, "src/run", "#!/bin/sh\n")
	testkit.Must(t, os.Chmod(filepath.Join(dir, "src/run"), 0o755))
	testkit.Must(t, os.Symlink("a", filepath.Join(dir, "src/link")))
	git("add", "--all")
	git("commit", "--quiet", "-m", "tree")
	return dir, git
}

// The archive of a tree that is as it is committed is git's own, byte for byte.
func TestArchiveOfACleanTreeIsGits(t *testing.T) {
	t.Parallel()
	dir, git := userTree(t)
	deep := strings.Repeat("directory/", 12) + "a.file"
	put(t, dir, deep, "deep")
	git("add", "--all")
	git("commit", "--quiet", "-m", "deep")
	want, err := exec.CommandContext(t.Context(), "git", "-C", dir, "archive", "--prefix=hello-1/", "HEAD").Output()
	testkit.Must(t, err)
	if p := mustLocal(t, dir, ""); content(t, filepath.Join(p.Sources, "hello-1.tar")) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", archived(t, p), strings.Join(entriesOf(t, string(want)), "\n"))
	}
}

func TestArchiveHasWhatIsOnDisk(t *testing.T) {
	t.Parallel()
	dir, _ := userTree(t)
	put(t, dir, "src/new", "new")
	put(t, dir, "src/x.log", "ignored")
	testkit.Must(t, os.Remove(filepath.Join(dir, "src/a")))
	testkit.Must(t, unix.Mkfifo(filepath.Join(dir, "src/pipe"), 0o600))
	testkit.Must(t, os.Remove(filepath.Join(dir, "data.txt")))
	testkit.Must(t, unix.Mkfifo(filepath.Join(dir, "data.txt"), 0o600))
	got := archived(t, mustLocal(t, dir, ""))
	for name, want := range map[string]bool{"src/new": true, "src/run": true, "src/link": true, "src/a ": false,
		"x.log": false, "pipe": false, "data.txt": false} {
		if strings.Contains(got, name) != want {
			t.Errorf("%s: want %v\n%s", name, want, got)
		}
	}
	// A directory below the top is the tree if it is named, and what git ignores is taken if that is named.
	put(t, dir, "lib/hello.spec", treeSpec)
	put(t, dir, "lib/out.log/b", "b")
	put(t, dir, "lib/code/b", "b")
	put(t, dir, "lib/code/b.c", "b")
	if got := archived(t, mustLocal(t, filepath.Join(dir, "lib"), "")); !strings.Contains(got, "hello-1/code/b ") ||
		strings.Contains(got, "out.log") || strings.Contains(got, "src") {
		t.Error(got)
	}
	put(t, dir, "gen.log/hello.spec", treeSpec)
	put(t, dir, "gen.log/code/c.log", "c")
	put(t, dir, "gen.log/code/c.c", "c")
	if got := archived(t, mustLocal(t, filepath.Join(dir, "gen.log"), "")); !strings.Contains(got, "c.log") {
		t.Error(got)
	}
}

// Nothing of the user's configuration changes bytes or is run.
func TestConfigurationOfTheUserDoesNotCount(t *testing.T) {
	t.Parallel()
	dir, git := userTree(t)
	ran := filepath.Join(t.TempDir(), "ran")
	put(t, dir, ".gitattributes", "*.c filter=evil\nsrc/crlf eol=crlf\n")
	put(t, dir, "src/x.c", "int x;\n")
	put(t, dir, "src/crlf", "one\n")
	git("add", "--all")
	git("commit", "--quiet", "-m", "attributes")
	for _, c := range [][2]string{{"filter.evil.clean", "touch " + ran + "; cat"}, {"filter.evil.smudge",
		"touch " + ran + "; cat"}, {"core.autocrlf", "true"},
		{"core.fsmonitor", "touch " + ran}, {"core.hooksPath", dir}, {"core.excludesFile", filepath.Join(dir, "src/a")},
		{"filter.evil.required", "true"}} {
		git("config", c[0], c[1])
	}
	put(t, dir, ".git/info/exclude", "*\n")
	put(t, dir, ".git/info/attributes", "* export-ignore\n")
	put(t, dir, "src/x.c", "int y;\n")
	put(t, dir, "src/new.c", "int z;\n")
	got := content(t, filepath.Join(mustLocal(t, dir, "").Sources, "hello-1.tar"))
	for _, want := range []string{"int y;\n", "int z;\n", "one\n", "src/run"} {
		if !strings.Contains(got, want) {
			t.Errorf("the archive does not have %q", want)
		}
	}
	if strings.Contains(got, "\r") {
		t.Error("lines end otherwise than on disk")
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a command of the configuration was run")
	}
}

func TestAttributesOfArchivesOnDisk(t *testing.T) {
	t.Parallel()
	dir, git := userTree(t)
	put(t, dir, ".gitattributes", "/tests export-ignore\n*.secret export-ignore\nversion export-subst\n")
	put(t, dir, "tests/t", "t")
	put(t, dir, "a.secret", "s")
	put(t, dir, "version", "$Format:%H$ $Format:%D$\n")
	git("add", "--all")
	git("commit", "--quiet", "-m", "attributes")
	put(t, dir, "tests/new", "t")
	p := mustLocal(t, dir, "")
	if got := archived(t, p); strings.Contains(got, "hello-1/tests") || strings.Contains(got, "hello-1/a.secret") {
		t.Error(got)
	}
	if got := content(t, filepath.Join(p.Sources, "hello-1.tar")); !strings.Contains(got, p.Commit+" HEAD -> work\n") {
		t.Errorf("the placeholders are not filled in")
	}
}

func TestDirectoryWithoutRepository(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "SPECS/hello.spec", treeSpec)
	put(t, dir, ".gitignore", "configure\nvendor/\n")
	put(t, dir, ".gitattributes", "configure export-ignore\n")
	put(t, dir, "configure", "c")
	put(t, dir, "vendor/v", "v")
	put(t, dir, "BUILD/huge", "not a source")
	testkit.Must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	got := archived(t, mustLocal(t, dir, ""))
	for name, want := range map[string]bool{"configure": true, "vendor/v": true, "empty/": true, "BUILD": false} {
		if strings.Contains(got, name) != want {
			t.Errorf("%s: want %v\n%s", name, want, got)
		}
	}
	testkit.Must(t, os.Rename(filepath.Join(dir, "SPECS/hello.spec"), filepath.Join(dir, "hello.spec")))
	testkit.Must(t, os.Remove(filepath.Join(dir, "SPECS")))
	if got := archived(t, mustLocal(t, dir, "")); !strings.Contains(got, "BUILD/huge") {
		t.Errorf("BUILD of a tree that is not rpmbuild's is left out:\n%s", got)
	}
}

func TestRepositoriesOfAllKinds(t *testing.T) {
	t.Parallel()
	dir, git := userTree(t)
	at := func(name string) string { return filepath.Join(t.TempDir(), name) }
	for kind, make := range map[string]func(to string){
		"linked":    func(to string) { git("worktree", "add", "--quiet", "-b", filepath.Base(to), to) },
		"shared":    func(to string) { git("clone", "--quiet", "--shared", dir, to) },
		"reference": func(to string) { git("clone", "--quiet", "--reference", dir, "file://"+dir, to) },
		"shallow":   func(to string) { git("clone", "--quiet", "--depth=1", "file://"+dir, to) },
		"partial": func(to string) {
			git("config", "uploadpack.allowFilter", "true")
			git("clone", "--quiet", "--filter=blob:none", "file://"+dir, to)
			gitIn(t, to)("remote", "set-url", "origin", "/nonexistent")
		},
		"split index": func(to string) {
			git("clone", "--quiet", dir, to)
			gitIn(t, to)("update-index", "--split-index")
		},
		"sparse": func(to string) {
			git("clone", "--quiet", dir, to)
			gitIn(t, to)("sparse-checkout", "set", "--sparse-index", "src")
		},
		"sha256": func(to string) {
			testkit.Must(t, os.CopyFS(to, os.DirFS(dir)))
			testkit.Must(t, os.RemoveAll(filepath.Join(to, ".git")))
			for _, args := range []string{"init --quiet --object-format=sha256", "add --all", "commit --quiet -m one"} {
				gitIn(t, to)(strings.Fields(args)...)
			}
		},
		"no commit": func(to string) {
			testkit.Must(t, os.CopyFS(to, os.DirFS(dir)))
			testkit.Must(t, os.RemoveAll(filepath.Join(to, ".git")))
			gitIn(t, to)("init", "--quiet")
		},
	} {
		to := at(strings.ReplaceAll(kind, " ", "-"))
		make(to)
		p, err := local(t, to, "")
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		got := archived(t, p)
		if !strings.Contains(got, "src/a ") || kind != "no commit" && !strings.Contains(p.Explanation,
			"is checked out and unchanged") {
			t.Errorf("%s: %s\n%s", kind, p.Explanation, got)
		}
		put(t, to, "src/a", "changed\n")
		if p, err := local(t, to, ""); err != nil || kind != "no commit" && !strings.Contains(p.Explanation,
			"in src/a") {
			t.Errorf("%s, changed: %v", kind, err)
		}
	}
}

func TestRepositoriesWithinOthers(t *testing.T) {
	t.Parallel()
	dir, git := userTree(t)
	library, _ := userTree(t)
	git("submodule", "--quiet", "add", library, "lib")
	git("commit", "--quiet", "-m", "library")
	p := mustLocal(t, dir, "")
	if got := archived(t, p); !strings.Contains(got, "lib/src/a ") || strings.Contains(got, ".git/") ||
		!strings.Contains(p.Explanation, "unchanged") {
		t.Errorf("%s\n%s", p.Explanation, got)
	}
	// A submodule is a working tree as well.
	if p := mustLocal(t, filepath.Join(dir, "lib"), ""); !strings.Contains(p.Explanation, "unchanged") ||
		strings.Contains(archived(t, p), "lib") {
		t.Error(p.Explanation)
	}
	put(t, dir, "lib/src/a", "changed")
	gitIn(t, dir)("init", "--quiet", "own")
	put(t, dir, "own/b", "b")
	p = mustLocal(t, dir, "")
	if got := archived(t, p); !strings.Contains(got, "own/b ") || !strings.Contains(p.Explanation,
		"in lib/src/a, own/b") {
		t.Errorf("%s\n%s", p.Explanation, got)
	}
	// One that is not checked out is an empty directory, as in git's own archive.
	git("submodule", "--quiet", "deinit", "--force", "lib")
	if got := archived(t, mustLocal(t, dir, "")); !strings.Contains(got, "hello-1/lib/") || strings.Contains(got,
		"lib/src") {
		t.Error(got)
	}
}
