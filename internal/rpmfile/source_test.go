package rpmfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// A FIFO is refused at once: no process would ever write into it.
func TestCheckSourceNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "x.src.rpm")
	testkit.Must(t, unix.Mkfifo(fifo, 0o600))
	for _, file := range []string{fifo, dir} {
		_, err := rpmfile.CheckSource(file)
		var not *rpmfile.NotSource
		if !errors.As(err, &not) || !strings.Contains(not.Why, "special file") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestCheckSource(t *testing.T) {
	t.Parallel()
	dir := rpmbuild(t, "Name: x\nVersion: 1\nRelease: 2\nSummary: x\nLicense: MIT\nBuildArch: noarch\nSource0: "+
		"s\n\n%description\nx\n\n%files\n", "s")
	raw, err := os.ReadFile(filepath.Join(dir, "SRPMS/x-1-2.src.rpm"))
	testkit.Must(t, err)
	binary, err := os.ReadFile(filepath.Join(dir, "RPMS/noarch/x-1-2.noarch.rpm"))
	testkit.Must(t, err)
	damaged := append([]byte{}, raw...)
	damaged[len(damaged)-1] ^= 1
	for _, test := range []struct {
		name    string
		content []byte
		want    string // in the error; empty: it is one
	}{
		{"whole", raw, ""},
		{"cut", raw[:len(raw)-7], "x-1-2.src is truncated"},
		{"cut within the header", raw[:400], "not a valid RPM"},
		{"longer", append(append([]byte{}, raw...), 'x'), "x-1-2.src is followed by something else"},
		{"damaged", damaged, "x-1-2.src is damaged or truncated"},
		{"binary", binary, "a binary package (x-1-2.noarch)"},
		{"text", []byte(strings.Repeat("text\n", 1000)), "not a valid RPM"},
		{"empty", nil, "not a valid RPM"},
		{"without sources", enginetest.Package("hello", "nosrc"), "lacks sources"},
		{"without checksum", enginetest.Package("hello", "src"), "no checksum of its content"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.rpm")
			testkit.Must(t, os.WriteFile(file, test.content, 0o600))
			p, err := rpmfile.CheckSource(file)
			if test.want == "" {
				if err != nil || p.String() != "x-1-2.src" {
					t.Errorf("%s, %v", p.String(), err)
				}
				return
			}
			var not *rpmfile.NotSource
			if !errors.As(err, &not) || !strings.Contains(not.Why, test.want) || not.Hint == "" {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	if _, err := rpmfile.CheckSource(filepath.Join(dir, "nosuch")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
