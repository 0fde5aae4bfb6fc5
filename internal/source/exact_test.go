package source

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// An archive is, byte for byte, what the git command makes of the commit in the packager's own repository.
func TestArchiveIsExact(t *testing.T) {
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		long := strings.Repeat("d", 60) + "/" + strings.Repeat("e", 60)
		files := map[string]string{
			"rpm/hello.spec":     specText("Source0: x.tar", "%setup -q"),
			".gitattributes":     "secret export-ignore\n*.subst export-subst\ncrlf.txt text eol=crlf\nid.txt ident\n/sub/ignored/** export-ignore\n",
			"sub/.gitattributes": "*.tmp export-ignore\n",
			"sub/a.tmp":          "no", "sub/b.c": "b\n", "sub/ignored/x": "no", "secret/x": "no",
			"v.subst":  "$Format:%H %h %T %an <%ae> %cI %s %(describe)$\nno $Format$\n",
			"crlf.txt": "a\nb\n", "id.txt": "$Id$\n", "empty.subst": "$Format:%b$",
			long + "/" + strings.Repeat("f", 100): "a path of more than 100 bytes",
			strings.Repeat("g", 250):              "a name of more than 100 bytes",
			long + "/" + long + "/" + long + "/h": "a path of more than 255 bytes",
			"caf\u00e9/\u6f22\u5b57.txt":          "UTF-8", "latin\xe9/\xff\xfe": "not UTF-8", "new\nline": "n", "back\\slash": "b", " blank ": "x", "-dash": "-",
			"link": "-> sub/b.c", "dangling": "-> nowhere", "farlink": "-> " + strings.Repeat("../x/", 60), "run.sh": "#!/bin/sh\n",
			"rpm/own.patch": "P",
		}
		w.Commit(files)
		testkit.Must(t, os.Chmod(filepath.Join(w.Dir, "run.sh"), 0o755))
		commit := w.Commit(nil)
		w.Git("tag", "-a", "-m", "x", "v1.0")
		commit2 := w.Commit(map[string]string{"later": "x"})
		s := newStore(t)
		for _, tt := range []struct{ prep, prefix, commit string }{
			{"%setup -q", "hello-1.0/", commit}, {"%setup -q -n a/b/c", "a/b/c/", commit2}, {"%setup -q -c", "", commit},
		} {
			p := prepare(t, s, Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: tt.commit})
			testkit.Must(t, finish(t.Context(), p, []byte("Name: hello\nVersion: 1.0\nSource0: x.tar\n%prep\n"+tt.prep+"\n")))
			got, want := content(t, filepath.Join(p.Sources, "x.tar")), w.Archive(tt.commit, tt.prefix)
			if got != want {
				t.Errorf("prefix %q: the archive differs from git's: %d bytes, %d are right", tt.prefix, len(got), len(want))
			}
			if strings.Contains(got, "secret/x") || !strings.Contains(got, tt.commit+" ") || !strings.Contains(got, "a\r\nb\r\n") {
				t.Error("attributes are not honoured")
			}
			// The compressed one is the same, with no name and no time in its header.
			testkit.Must(t, finish(t.Context(), p, []byte("Name: hello\nVersion: 1.0\nSource0: y.tar.gz\n%prep\n"+tt.prep+"\n")))
			z, err := gzip.NewReader(strings.NewReader(content(t, filepath.Join(p.Sources, "y.tar.gz"))))
			testkit.Must(t, err)
			var plain bytes.Buffer
			if _, err := plain.ReadFrom(z); err != nil || plain.String() != want || z.Name != "" || z.ModTime.Unix() != 0 {
				t.Errorf("compressed: %v, name %q, time %s, same %v", err, z.Name, z.ModTime, plain.String() == want)
			}
		}
	})
}

// Other programs give the same compressed bytes back, whatever made them.
func TestCompressionsAreReadByOthers(t *testing.T) {
	w := gittest.New(t)
	p := prepare(t, newStore(t), request(w, w.Commit(inTree("Name: hello\n"))))
	want := w.Archive(p.Commit, "hello-1/")
	for suffix, program := range map[string]string{".tar.gz": "gzip", ".tar.xz": "xz", ".tar.bz2": "bzip2", ".tar.zst": "zstd", ".tgz": "gzip", ".crate": "gzip",
		".tbz": "bzip2", ".tb2": "bzip2", ".tbz2": "bzip2", ".txz": "xz", ".tzst": "zstd", ".tar.lzma": "xz", ".tar.lz": "xz", ".tlz": "xz", ".TAR.GZ": "gzip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Logf("%s is not installed: what it makes of our archives goes untested", program)
			continue
		}
		testkit.Must(t, finish(t.Context(), p, []byte("Name: hello\nVersion: 1\nSource0: h"+suffix+"\n")))
		args := []string{"-dc"}
		switch suffix {
		case ".tar.lzma":
			args = append(args, "--format=lzma")
		case ".tar.lz", ".tlz":
			args = append(args, "--format=lzip")
		}
		cmd := exec.Command(program, append(args, filepath.Join(p.Sources, "h"+suffix))...)
		if out, err := cmd.Output(); err != nil || string(out) != want {
			t.Errorf("%s: %v, same %v", program, err, string(out) == want)
		}
	}
}

func TestArchiveOfPointers(t *testing.T) {
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
		wantFailure(t, err, rpmflow.FailureSource, "Git LFS pointers", "data/a.bin, data/b.bin", "export-ignore")
		if strings.Contains(err.Error(), "tests/c.bin") || names(t, p.Sources) != "a.patch" {
			t.Errorf("%v, left %q", err, names(t, p.Sources))
		}
		for _, commit := range []string{plain, ignored} {
			testkit.Must(t, finish(t.Context(), prepare(t, s, request(w, commit)), text))
		}
	}
}
