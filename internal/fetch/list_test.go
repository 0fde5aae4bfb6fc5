package fetch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/lookaside"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestLists reads the lists of package source: each file is a list and, after a line of dashes, what is read of it.
func TestLists(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../source/testdata/lists/*")
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			testkit.Must(t, err)
			list, want, _ := strings.Cut(string(text), "-----\n")
			name := "sources"
			if strings.HasSuffix(file, ".metadata") {
				name = ".hello.metadata"
			}
			_, found, err := ReadLists(func(string, int64) ([]byte, error) { return []byte(list), nil }, []string{name},
				"hello.spec")
			var got strings.Builder
			for _, l := range found {
				fmt.Fprintf(&got, "%s %s\n", l.Name, l.Checksum)
			}
			if err != nil {
				wantFailure(t, err, name)
				fmt.Fprintf(&got, "error: %v\n", err)
			}
			if got.String() != want {
				t.Errorf("got\n%swant\n%s", got.String(), want)
			}
		})
	}
}

func TestLooksLikeList(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": true, "\n\n": true, "# nothing\n": true, "SHA512 (a) = ab\n": true,
		"d41d8cd98f00b204e9800998ecf8427e  a.tar.gz\n": true,
		"main.c util.c\n": false, "https://example.org/a.tar.gz\n": false, "[sources]\n": false,
	} {
		if looksLikeList([]byte(text)) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}

func FuzzLists(f *testing.F) {
	files, err := filepath.Glob("../source/testdata/lists/*")
	testkit.Must(f, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		testkit.Must(f, err)
		list, _, _ := strings.Cut(string(text), "-----\n")
		f.Add([]byte(list))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		looksLikeList(text)
		for _, parse := range []func(string, []byte) ([]Listed, error){parseSources, parseMetadata} {
			found, err := parse("sources", text)
			var failure *rpmflow.Failure
			if err != nil && !errors.As(err, &failure) {
				t.Fatalf("%v is not the packager's", err)
			}
			for _, l := range found {
				if err := checksum.CheckFileName(l.Name); err != nil || !filepath.IsLocal(l.Name) {
					t.Errorf("%q: %v", l.Name, err)
				}
				if sum, err := checksum.New(l.Checksum.Algorithm, l.Checksum.Hex); err != nil || sum != l.Checksum {
					t.Errorf("%v: %v", l.Checksum, err)
				}
				u, err := lookaside.URL("fedora", lookaside.Fields{Name: "hello", File: l.Name,
					Checksum: l.Checksum})
				if err != nil || !strings.HasPrefix(u, "https://src.fedoraproject.org/repo/pkgs/rpms/hello/") ||
					strings.ContainsAny(u, "?#\n ") {
					t.Errorf("%s: %v", u, err)
				}
			}
		}
	})
}
