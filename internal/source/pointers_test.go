package source

import (
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

func TestArchiveOfPointers(t *testing.T) {
	t.Parallel()
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("4d", 32) + "\nsize 12345\n"
	w := gittest.New(t)
	files := inTree("Name: hello\n")
	files["data/a.bin"], files["data/b.bin"], files["tests/c.bin"] = pointer, pointer, pointer
	plain := w.Commit(files) // without attributes it is text for git, too
	files[".gitattributes"] = "*.bin filter=lfs diff=lfs merge=lfs -text\ntests export-ignore\n"
	lfs := w.Commit(files)
	ignored := w.Commit(map[string]string{"data/a.bin": "real", "data/b.bin": "real"})
	s := newStore(t)
	for _, suffix := range []string{".tar.gz", ".zip"} {
		text := []byte("Name: hello\nVersion: 1\nSource0: x" + suffix + "\n")
		p := prepare(t, s, request(w, lfs))
		err := finish(t.Context(), p, text)
		failtest.Want(t, err, rpmflow.FailureSource, "Git LFS pointers", "data/a.bin, data/b.bin", "export-ignore")
		if strings.Contains(err.Error(), "tests/c.bin") || names(t, p.Sources) != "a.patch" {
			t.Errorf("%v, left %q", err, names(t, p.Sources))
		}
		for _, commit := range []string{plain, ignored} {
			testkit.Must(t, finish(t.Context(), prepare(t, s, request(w, commit)), text))
		}
	}
}
