package source

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/lookaside"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestLists reads testdata/lists: each file is a list of sources and, after a line of dashes, what is read of it. -update rewrites that.
func TestLists(t *testing.T) {
	files, err := filepath.Glob("testdata/lists/*")
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			list, want, _ := strings.Cut(content(t, file), "-----\n")
			parse, name := parseSources, "sources"
			if strings.HasSuffix(file, ".metadata") {
				parse, name = parseMetadata, ".hello.metadata"
			}
			found, err := parse(name, []byte(list))
			var got strings.Builder
			for _, l := range found {
				fmt.Fprintf(&got, "%s %s\n", l.name, l.sum)
			}
			if err != nil {
				wantFailure(t, err, rpmflow.FailureSource, name)
				fmt.Fprintf(&got, "error: %v\n", err)
			}
			if *update {
				must(t, os.WriteFile(file, []byte(list+"-----\n"+got.String()), 0o644))
			} else if got.String() != want {
				t.Errorf("got\n%swant\n%s", got.String(), want)
			}
		})
	}
}

func TestLooksLikeList(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "\n\n": true, "# nothing\n": true, "SHA512 (a) = ab\n": true, "d41d8cd98f00b204e9800998ecf8427e  a.tar.gz\n": true,
		"main.c util.c\n": false, "https://example.org/a.tar.gz\n": false, "[sources]\n": false,
	} {
		if looksLikeList([]byte(text)) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}

func FuzzLists(f *testing.F) {
	files, err := filepath.Glob("testdata/lists/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		list, _, _ := strings.Cut(string(text), "-----\n")
		f.Add([]byte(list))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		looksLikeList(text)
		for _, parse := range []func(string, []byte) ([]listed, error){parseSources, parseMetadata} {
			found, err := parse("sources", text)
			var failure *rpmflow.Failure
			if err != nil && !errors.As(err, &failure) {
				t.Fatalf("%v is not the packager's", err)
			}
			for _, l := range found {
				if err := checksum.CheckFileName(l.name); err != nil || !filepath.IsLocal(l.name) {
					t.Errorf("%q: %v", l.name, err)
				}
				if sum, err := checksum.New(l.sum.Algorithm, l.sum.Hex); err != nil || sum != l.sum {
					t.Errorf("%v: %v", l.sum, err)
				}
				u, err := lookaside.URL("fedora", lookaside.Fields{Name: "hello", File: l.name, Checksum: l.sum})
				if err != nil || !strings.HasPrefix(u, "https://src.fedoraproject.org/repo/pkgs/rpms/hello/") || strings.ContainsAny(u, "?#\n ") {
					t.Errorf("%s: %v", u, err)
				}
			}
		}
	})
}
