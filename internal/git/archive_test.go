package git

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/archive"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

func packed(suffix, prefix string) Archive {
	return Archive{Options: archive.Options{Suffix: suffix, Prefix: prefix, MaxSize: 1 << 30}}
}

// plainTar is an archive as %setup wants it.
func plainTar() Archive { return packed(".tar", "hello-1.0") }

// archiveOf makes an archive, and says how many temporary files it has left.
func archiveOf(t *testing.T, m *Mirrors, req Request, a Archive) (content string, left int, err error) {
	t.Helper()
	a.Scratch = t.TempDir()
	out, err := os.Create(filepath.Join(t.TempDir(), "archive"))
	testkit.Must(t, err)
	defer out.Close()
	err = m.Archive(t.Context(), req, a, out)
	text, rerr := os.ReadFile(out.Name())
	testkit.Must(t, rerr)
	entries, rerr := os.ReadDir(a.Scratch)
	testkit.Must(t, rerr)
	return string(text), len(entries), err
}

// An archive is, byte for byte, what the git command makes of the commit in the packager's own repository.
func TestArchiveIsExact(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		long := strings.Repeat("d", 60) + "/" + strings.Repeat("e", 60)
		files := map[string]string{
			".gitattributes": "secret export-ignore\n*.subst export-subst\ncrlf.txt text eol=crlf\nid.txt ident\n" +
				"/sub/ignored/** export-ignore\n",
			"sub/.gitattributes": "*.tmp export-ignore\n",
			"sub/a.tmp":          "no", "sub/b.c": "b\n", "sub/ignored/x": "no", "secret/x": "no",
			"v.subst":  "$Format:%H %h %T %an <%ae> %cI %s %(describe)$\nno $Format$\n",
			"crlf.txt": "a\nb\n", "id.txt": "$Id$\n", "empty.subst": "$Format:%b$",
			long + "/" + strings.Repeat("f", 100): "a path of more than 100 bytes",
			strings.Repeat("g", 250):              "a name of more than 100 bytes",
			long + "/" + long + "/" + long + "/h": "a path of more than 255 bytes",
			"caf\u00e9/\u6f22\u5b57.txt":          "UTF-8", "latin\xe9/\xff\xfe": "not UTF-8",
			"new\nline": "n", "back\\slash": "b", " blank ": "x", "-dash": "-",
			"link": "-> sub/b.c", "dangling": "-> nowhere", "farlink": "-> " + strings.Repeat("../x/", 60),
			"run.sh":        "#!/bin/sh\n",
			"rpm/own.patch": "P",
		}
		w.Commit(files)
		testkit.Must(t, os.Chmod(filepath.Join(w.Dir, "run.sh"), 0o755))
		commit := w.Commit(nil)
		w.Git("tag", "-a", "-m", "x", "v1.0")
		commit2 := w.Commit(map[string]string{"later": "x"})
		m := newMirrors(t)
		for prefix, commit := range map[string]string{"hello-1.0": commit, "a/b/c": commit2, "": commit} {
			req := Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: commit}
			made := packed(".tar", prefix)
			got, _, err := archiveOf(t, m, req, made)
			testkit.Must(t, err)
			want := w.Archive(commit, made.Dir())
			if got != want {
				t.Errorf("prefix %q: the archive differs from git's: %d bytes, %d are right", prefix, len(got),
					len(want))
			}
			if strings.Contains(got, "secret/x") || !strings.Contains(got, commit+" ") ||
				!strings.Contains(got, "a\r\nb\r\n") {
				t.Error("attributes do not count")
			}
			// The compressed one is the same, with no name and no time in its header.
			made.Suffix = ".tar.gz"
			small, _, err := archiveOf(t, m, req, made)
			testkit.Must(t, err)
			z, err := gzip.NewReader(strings.NewReader(small))
			testkit.Must(t, err)
			var plain bytes.Buffer
			if _, err := plain.ReadFrom(z); err != nil || plain.String() != want || z.Name != "" ||
				z.ModTime.Unix() != 0 {
				t.Errorf("compressed: %v, name %q, time %s, same %v", err, z.Name, z.ModTime, plain.String() == want)
			}
		}
	})
}

// Other programs return the same compressed bytes.
func TestCompressionsAreReadByOthers(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	req := request(w, w.Commit(map[string]string{"main.c": "int main;\n", "src/b.c": "b\n"}))
	m, want := newMirrors(t), w.Archive(req.Commit, "hello-1.0/")
	for suffix, program := range map[string]string{
		".tar.gz": "gzip", ".tar.xz": "xz", ".tar.bz2": "bzip2", ".tar.zst": "zstd", ".tgz": "gzip", ".crate": "gzip",
		".tbz": "bzip2", ".tb2": "bzip2", ".tbz2": "bzip2", ".txz": "xz", ".tzst": "zstd", ".tar.lzma": "xz",
		".tar.lz": "xz", ".tlz": "xz", ".TAR.GZ": "gzip",
	} {
		if _, err := exec.LookPath(program); err != nil {
			t.Logf("%s is not installed: what it makes of our archives goes untested", program)
			continue
		}
		small, _, err := archiveOf(t, m, req, packed(archive.SuffixOf("h"+suffix), "hello-1.0"))
		testkit.Must(t, err)
		args := []string{"-dc"}
		switch suffix {
		case ".tar.lzma":
			args = append(args, "--format=lzma")
		case ".tar.lz", ".tlz":
			args = append(args, "--format=lzip")
		}
		cmd := exec.Command(program, args...)
		cmd.Stdin = strings.NewReader(small)
		if out, err := cmd.Output(); err != nil || string(out) != want {
			t.Errorf("%s: %v, same %v", program, err, string(out) == want)
		}
	}
}

// The file has nothing of an attempt before, with a damaged mirror.
func TestArchiveOfADamagedMirror(t *testing.T) {
	t.Parallel()
	w, m := gittest.New(t), newMirrors(t)
	req := request(w, w.Commit(map[string]string{"data": "T"}))
	mustRead(t, m, req)
	gittest.Damage(t, m.Dir)
	got, _, err := archiveOf(t, m, req, plainTar())
	testkit.Must(t, err)
	if got != w.Archive(req.Commit, "hello-1.0/") {
		t.Error("the archive is not git's")
	}
}

// Every compression ends when the limit is passed, and when the context ends.
func TestArchiveLimits(t *testing.T) {
	t.Parallel()
	w, m := gittest.New(t), newMirrors(t)
	req := request(w, w.Commit(map[string]string{"data": strings.Repeat(rpmflow.Digest([]byte("x")), 2000)}))
	for _, suffix := range archive.Suffixes() {
		_, _, err := archiveOf(t, m, req, Archive{Options: archive.Options{Suffix: suffix, MaxSize: 30}})
		failtest.Want(t, err, rpmflow.FailureSource, "larger than", "export-ignore")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, err := os.Create(filepath.Join(t.TempDir(), "archive"))
	testkit.Must(t, err)
	defer out.Close()
	a := packed(".tar.bz2", "")
	a.Scratch = t.TempDir()
	err = m.Archive(ctx, req, a, out)
	failtest.WantOther(t, err)
}
