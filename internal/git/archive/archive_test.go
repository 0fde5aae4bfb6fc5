package archive_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/archive"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// What git archive has written is the same after it was read and written.
func TestEntriesAreCopiedByteForByte(t *testing.T) {
	t.Parallel()
	repo := gittest.New(t)
	repo.Commit(map[string]string{"a/b": "text", "link": "-> a/b", "empty-not": "x",
		strings.Repeat("d/", 80) + strings.Repeat("n", 120): "a long name", "latin-ü": strings.Repeat("y", 512)})
	name := t.TempDir() + "/a.tar"
	repo.Git("archive", "--prefix=p/", "--output="+name, "HEAD")
	want := testkit.Value(os.ReadFile(name))(t)
	var out bytes.Buffer
	w := archive.NewTarWriter(&out)
	testkit.Must(t, archive.ReadTar(bytes.NewReader(want), w.Put))
	testkit.Must(t, w.End())
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%d bytes differ from git's %d", out.Len(), len(want))
	}
}

func TestSameBytesWithEverySuffix(t *testing.T) {
	t.Parallel()
	for _, suffix := range archive.Suffixes() {
		compress := func(size int64) ([]byte, error) {
			var out bytes.Buffer
			o := archive.Options{Suffix: suffix, MaxSize: size}
			err := o.Compress(t.Context(), "this", &out, func(w io.Writer) error {
				_, err := io.WriteString(w, strings.Repeat("text", 5_000))
				return err
			})
			return out.Bytes(), err
		}
		first, err := compress(1 << 20)
		testkit.Must(t, err)
		if again, err := compress(1 << 20); err != nil || !bytes.Equal(first, again) {
			t.Errorf("%s: %d and %d bytes, %v", suffix, len(first), len(again), err)
		}
		var f *rpmflow.Failure
		if _, err := compress(10); !errors.As(err, &f) || f.Kind != rpmflow.FailureSource {
			t.Errorf("%s: more than ten bytes: %v", suffix, err)
		}
	}
}

func TestSuffixOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"a-1.tar.gz": ".tar.gz", "A.TGZ": ".tgz", ".zip": "", "a.gem": "",
		"a.tar.lz": ".tar.lz"} {
		if got := archive.SuffixOf(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
