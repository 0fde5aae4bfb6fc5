package docker

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestResultsStayInTheirDirectory reads archives as a hostile container could give them.
func TestResultsStayInTheirDirectory(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "rpms")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(top, "outside")
	if err := os.WriteFile(outside, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "rpms/", Typeflag: tar.TypeDir, Mode: 0o777},
		{Name: "rpms/good.rpm"}, {Name: "rpms/../outside"}, {Name: "../outside"}, {Name: "/outside"}, {Name: outside},
		{Name: "rpms/.."}, {Name: "rpms/."},
		{Name: "rpms/link.rpm", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "rpms/link.rpm"},
		{Name: "rpms/hard.rpm", Typeflag: tar.TypeLink, Linkname: outside}, {Name: "rpms/null", Typeflag: tar.TypeChar,
			Devmajor: 1, Devminor: 3},
		{Name: "rpms/pipe", Typeflag: tar.TypeFifo}, {Name: "rpms/deep/er.rpm"},
		{Name: "rpms/setuid.rpm", Mode: 0o6777},
	} {
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, 6
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("theirs")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	all := func(_ string, size int64) (int64, error) { return size, nil }
	if err := readTar(&b, dir, all); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", e.Name(), info.Mode(), err)
		}
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"good.rpm", "link.rpm", "outside", "rpms", "setuid.rpm"}) {
		t.Errorf("%q", names)
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "mine" {
		t.Errorf("outside: %q, %v", text, err)
	}
	if left, err := os.ReadDir(top); err != nil || len(left) != 2 {
		t.Errorf("%v %v", left, err)
	}
}

func FuzzReadTar(f *testing.F) {
	f.Add("rpms/../../x", byte(tar.TypeReg), "y")
	f.Fuzz(func(t *testing.T, name string, kind byte, content string) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if w.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Size: int64(len(content)),
			Linkname: "/etc/passwd"}) != nil {
			return
		}
		_, _ = w.Write([]byte(content))
		_ = w.Flush()
		top := t.TempDir()
		dir := filepath.Join(top, "d")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_ = readTar(&b, dir, func(_ string, size int64) (int64, error) { return size, nil })
		if left, err := os.ReadDir(top); err != nil || len(left) != 1 {
			t.Fatalf("%q: %v %v", name, left, err)
		}
	})
}
