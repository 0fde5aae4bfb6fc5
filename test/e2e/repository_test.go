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

// dnf runs dnf with nothing of this machine, and returns its output.
func dnf(t *testing.T, root string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("dnf"); err != nil {
		t.Skipf("needs dnf: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "dnf", append([]string{
		"--assumeyes", "--installroot", root, "--releasever=1", "--setopt=reposdir=" + filepath.Join(root, "repos.d"),
		"--setopt=cachedir=" + filepath.Join(root, "cache"), "--setopt=tsflags=noscripts", "--nodocs",
	}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("dnf %v: %v: %s", args, err, out)
	}
	return string(out)
}

// TestPackagesCanBeInstalled pushes a package and installs it with dnf, which checks the signatures of the package and
// of the repository.
func TestPackagesCanBeInstalled(t *testing.T) {
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
	root := t.TempDir()
	repos := filepath.Join(root, "repos.d")
	if err := os.Mkdir(repos, 0o755); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, func() error {
		out, err := exec.Command("curl", "-fsS", "-o", filepath.Join(repos, "greet.repo"), url).CombinedOutput()
		if err != nil {
			return errText(string(out))
		}
		return nil
	})
	t.Logf("published %s after the build %s", time.Since(finished), e.Build.ID)
	raw, err := io.ReadAll(system.Get(t, url).Body)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", raw)
	out := dnf(t, root, "install", "greet")
	if _, err := os.Stat(filepath.Join(root, "usr/share/greet")); err != nil || !strings.Contains(out, "greet") {
		t.Errorf("not installed: %v\n%s", err, out)
	}
}

type errText string

func (e errText) Error() string { return string(e) }
