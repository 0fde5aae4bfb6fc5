package e2e_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// TestPackagesCanBeInstalled pushes a package and installs it with dnf and zypper, which check the signatures of the
// package and of the repository. Then it copies the repository.
func TestPackagesCanBeInstalled(t *testing.T) {
	t.Parallel()
	r := system.NewRepository(t)
	s := system.Start(t, "rpmbuild", r.Project("greet", "  layout: in-tree\n"))
	r.Announce(t, s, "greet")
	r.Push(t, map[string]string{"greet.spec": `Name: greet
Version: 1
Release: 1
Summary: Greets
License: MIT
BuildArch: noarch

%description
Greets.

%install
install -D -m 644 /dev/null %{buildroot}%{_datadir}/greet

%files
%{_datadir}/greet
`})
	e := s.Finished(t)
	url := s.URL("/repos/greet/host/greet.repo")
	finished := time.Now()
	testkit.Until(t, func() error {
		out, err := exec.Command("curl", "-fsS", "-o", "/dev/null", url).CombinedOutput()
		if err != nil {
			return errText(string(out))
		}
		return nil
	})
	t.Logf("published %s after the build %s", time.Since(finished), e.Build.ID)
	raw := testkit.Value(io.ReadAll(system.Get(t, url).Body))(t)
	t.Logf("%s", raw)

	root := t.TempDir()
	dnf := func(t *testing.T, command string, args ...string) string {
		t.Helper()
		out, err := testkit.DNF(t, root, command, args...)
		if err != nil {
			t.Fatalf("dnf %s %v: %v: %s", command, args, err, out)
		}
		return out
	}
	testkit.Must(t, os.Mkdir(filepath.Join(root, "repos.d"), 0o755))
	t.Run("config-manager", func(t *testing.T) {
		dnf(t, "config-manager", "--add-repo", url)
		out := dnf(t, "install", "greet")
		if _, err := os.Stat(filepath.Join(root, "usr/share/greet")); err != nil {
			t.Errorf("not installed: %v\n%s", err, out)
		}
	})
	t.Run("reposync", func(t *testing.T) {
		to := t.TempDir()
		out := dnf(t, "reposync", "--repofrompath=copy,"+strings.TrimSuffix(url, "greet.repo"), "--repoid=copy",
			"--download-path="+to, "--download-metadata")
		for _, name := range []string{"copy/repodata/repomd.xml", "copy/Packages/*/greet-1-1.noarch.rpm"} {
			if found, _ := filepath.Glob(filepath.Join(to, name)); len(found) != 1 {
				t.Errorf("no %s is copied: %s", name, out)
			}
		}
	})
	for _, program := range testkit.Installers() {
		t.Run(program, func(t *testing.T) {
			if out, err := testkit.Install(t, program, string(raw), "greet"); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

type errText string

func (e errText) Error() string { return string(e) }
