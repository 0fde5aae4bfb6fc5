package source

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

// A package of several in a repository is made of its own directory.
func TestArchiveOfDirectory(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		w.Commit(nil)
		commit := w.Commit(map[string]string{
			"packages/hello/rpm/hello.spec": specText("Source0: x.tar", "%setup -q"), "packages/hello/main.c": "m",
			"packages/hello/src/b.c": "b", "packages/hello/secret": "s", "packages/hello/v": "$Format:%H %D$\n",
			"packages/hello/.gitattributes": "secret export-ignore\nv export-subst\n", "packages/other/x.c": "x",
			"README": "r",
			"alias":  "-> packages/hello",
		})
		s := newStore(t)
		for _, directory := range []string{"packages/hello", "alias"} {
			req := Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: commit,
				Sources: rpmflow.Sources{Directory: directory}}
			for prep, prefix := range map[string]string{"%setup -q": "hello-1.0/",
				"%setup -q -n hello-1.0/src":      "hello-1.0/",
				"%setup -q -n hello-1.0/packages": "hello-1.0/packages/", "%setup -q -c": ""} {
				p := prepare(t, s, req)
				if p.Layout != rpmflow.LayoutInTree ||
					!strings.Contains(p.Explanation, "made of packages/hello alone") {
					t.Errorf("%s: %s", p.Layout, p.Explanation)
				}
				testkit.Must(t, finish(t.Context(), p,
					[]byte("Name: hello\nVersion: 1.0\nSource0: x.tar\n%prep\n"+prep+"\n")))
				got, want := content(t, filepath.Join(p.Sources, "x.tar")), w.ArchiveIn("packages/hello", commit,
					prefix)
				if got != want || !strings.Contains(got, commit+" HEAD -> main\n") || strings.Contains(got, "secret") &&
					!strings.Contains(got, "export-ignore") {
					t.Errorf("%s: got\n%s\nwant\n%s", prep, strings.Join(entriesOf(t, got), "\n"),
						strings.Join(entriesOf(t, want),
							"\n"))
				}
				if id := w.GitIn(got, "get-tar-commit-id"); id != commit {
					t.Errorf("the archive is of commit %s", id)
				}
			}
		}
		// Without a directory it is all of the tree, wherever the spec is in it.
		p := prepare(t, s, Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: commit,
			Spec: "packages/hello/rpm/hello.spec"})
		testkit.Must(t, finish(t.Context(), p, []byte(archiveSpec)))
		if got := content(t, filepath.Join(p.Sources, "x.tar")); !strings.Contains(got,
			"hello-1.0/packages/other/x.c") {
			t.Error("the archive is not of the whole tree")
		}
	})
}

// Submodules and files of Git LFS are found from the repository's top on, and only those of the directory.
func TestArchiveOfDirectoryInParts(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	h := newLFSHost(t, filepath.Dir(w.Dir), "tok-en")
	lib := w.Sibling("lib")
	theirs := lib.Commit(map[string]string{"l.c": "l"})
	files := map[string]string{"p/rpm/hello.spec": specText("Source0: x.tar", "%setup -q"), "p/a.bin": h.keep("a"),
		"q/b.bin":        pointerTo("not on the server"),
		".gitattributes": "*.bin filter=lfs\n", ".gitmodules": gitmodules("p/lib", "../../lib/.git", "q/gone",
			"../gone")}
	req := Request{Project: "hello", URL: h.url + "/hello/.git", Ref: "refs/heads/main",
		Commit: w.CommitSubmodules(files,
			map[string]string{"p/lib": theirs, "q/gone": theirs}),
		Sources: rpmflow.Sources{LFS: true, Submodules: true, Directory: "p"}}
	p := prepare(t, lfsStore(t, h), req)
	testkit.Must(t, finish(t.Context(), p, []byte(archiveSpec)))
	entries := entriesOf(t, content(t, filepath.Join(p.Sources, "x.tar")))
	var got []string
	for _, e := range entries {
		got = append(got, strings.Fields(e)[0])
	}
	if want := []string{"hello-1.0/", "hello-1.0/a.bin", "hello-1.0/lib/", "hello-1.0/lib/l.c", "hello-1.0/rpm/",
		"hello-1.0/rpm/hello.spec"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if !strings.HasSuffix(entries[1], ` "a"`) || !strings.HasSuffix(entries[3], ` "l"`) {
		t.Errorf("got %q", entries)
	}
	req.Sources.LFS = false
	err := finish(t.Context(), prepare(t, lfsStore(t, h), req), []byte(archiveSpec))
	failtest.Want(t, err, rpmflow.FailureSource, "a.bin", "lfs: true")
	if strings.Contains(err.Error(), "b.bin") {
		t.Errorf("a file of another directory is refused: %v", err)
	}
}
