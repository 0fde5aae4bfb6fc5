package rpmfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func write(t *testing.T, name, content string) {
	t.Helper()
	testkit.Must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	testkit.Must(t, os.WriteFile(name, []byte(content), 0o600))
}

// rpmbuild makes the packages of a spec with these sources, and returns the directory with SRPMS and RPMS.
func rpmbuild(t *testing.T, spec string, sources ...string) string {
	t.Helper()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skipf("needs rpmbuild: %v", err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "x.spec"), spec)
	for _, s := range sources {
		write(t, filepath.Join(dir, "SOURCES", s), "the source "+s+"\n")
	}
	cmd := exec.CommandContext(t.Context(), "rpmbuild", "-ba", "--nodeps", "--define", "_topdir "+dir,
		filepath.Join(dir, "x.spec"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func TestPackageOfRPMBuild(t *testing.T) {
	t.Parallel()
	dir := rpmbuild(t, "Name: x\nEpoch: 2\nVersion: 1.0~rc1\nRelease: 3\nSummary: x\nLicense: MIT\nBuildArch: "+
		"noarch\nBuildRequires: nosuch-devel >= 1\n\n%description\nx\n\n%files\n")
	for file, want := range map[string]string{"SRPMS/x-1.0~rc1-3.src.rpm": "x-2:1.0~rc1-3.src",
		"RPMS/noarch/x-1.0~rc1-3.noarch.rpm": "x-2:1.0~rc1-3.noarch"} {
		p, err := rpmfile.Package(filepath.Join(dir, file))
		if err != nil || p.String() != want {
			t.Errorf("%s: %s, %v", file, p.String(), err)
		}
	}
	srpm, err := os.Open(filepath.Join(dir, "SRPMS/x-1.0~rc1-3.src.rpm"))
	testkit.Must(t, err)
	defer srpm.Close()
	if name := rpmfile.Name(srpm); name != "x" {
		t.Errorf("the name is %q", name)
	}
	requires, err := rpmfile.Requires(filepath.Join(dir, "SRPMS/x-1.0~rc1-3.src.rpm"))
	if err != nil || !slices.Contains(requires, "nosuch-devel >= 1") {
		t.Errorf("requires %q, %v", requires, err)
	}
}

func TestPackageRefuses(t *testing.T) {
	t.Parallel()
	if _, err := rpmfile.Package(filepath.Join(t.TempDir(), "nosuch.rpm")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	good := enginetest.Package("hello", "x86_64")
	// lead, a signature with its region alone, the header's intro and region, tag and type of an entry; then its offset
	offset := bytes.Clone(good)
	copy(offset[96+48+16+16+8:], []byte{0, 0xff, 0xff, 0xff})
	for name, content := range map[string][]byte{
		"empty": nil, "text": []byte("this is not a package"), "cut": good[:len(good)-30], "lead alone": good[:96],
		"wild offset": offset, "long header": append(append([]byte{}, good[:104]...), 0xff, 0xff, 0xff, 0xff, 0xff,
			0xff,
			0xff, 0xff),
	} {
		file := filepath.Join(t.TempDir(), "x.rpm")
		write(t, file, string(content))
		if p, err := rpmfile.Package(file); err == nil || p != (rpmfile.NEVRA{}) {
			t.Errorf("%s: %+v", name, p)
		}
		if name := rpmfile.Name(bytes.NewReader(content)); name != "" {
			t.Errorf("%s: the name is %q", name, name)
		}
		if requires, err := rpmfile.Requires(file); err == nil {
			t.Errorf("%s: requires %q", name, requires)
		}
	}
}

// A package is what a foreign build has made: with anything in it, the builder goes on.
func FuzzPackage(f *testing.F) {
	f.Add(enginetest.Package("hello", "x86_64"))
	f.Add(enginetest.Package("hello", "src"))
	f.Add(enginetest.Package("hello", "src")[:150])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		file := filepath.Join(t.TempDir(), "x.rpm")
		testkit.Must(t, os.WriteFile(file, content, 0o600))
		_, _ = rpmfile.Package(file) // must return
		if name := rpmfile.Name(bytes.NewReader(content)); len(name) > 128 || !bytes.Contains(content, []byte(name)) {
			t.Errorf("the name is %q", name)
		}
		_, _ = rpmfile.Requires(file)
	})
}
