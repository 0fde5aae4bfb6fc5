package e2e_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

const optionalSpec = `Name: optional
Version: 1
Release: 1%{?dist}
Summary: What it is depends
License: MIT
BuildArch: noarch
%bcond_without docs
BuildRequires: acme-devel
Provides: word(%{?word})
%description
What it is depends on what is asked for.
%if %{with docs}
%package docs
Summary: Words
%description docs
Words.
%files docs
%endif
%build
%install
%check
exit 1
%files
`

// TestOptions: a project's macros, conditions and repositories are in its package and in its record; a repository
// without trust is not used.
func TestOptions(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"rpmbuild", "createrepo_c"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	url := extraRepository(t)
	trusting, other := system.NewRepository(t), system.NewRepository(t)
	asked := "  macros: ['dist .acme', 'word it''s{\"so\"}']\n  without: [docs]\n  nocheck: true\n  repositories: ['" +
		url + "']\n"
	s := system.Start(t, "mock", trusting.Project("trusting", asked+"  trust: true\n"), other.Project("other", asked))
	trusting.Announce(t, s, "trusting")
	other.Announce(t, s, "other")

	trusting.Push(t, map[string]string{"optional.spec": optionalSpec})
	b := s.Finished(t).Build
	if b.Outcome.Result != rpmflow.Succeeded {
		t.Fatalf("%+v\n%s", *b.Outcome, system.FetchLog(t, s, b))
	}
	if !b.Options.NoCheck || !slices.Equal(b.Options.Without, []string{"docs"}) || len(b.Options.Macros) != 2 ||
		len(b.Options.Repositories) != 1 {
		t.Errorf("recorded %+v", b.Options)
	}
	var binary []string
	for _, a := range b.Artifacts {
		if a.Kind != rpmflow.KindRPM || strings.HasSuffix(a.NEVRA, ".src") {
			continue
		}
		binary = append(binary, a.Name)
		file := filepath.Join(t.TempDir(), a.Name)
		testkit.Write(t, file, string(system.Object(t, s, a.Key)))
		provides, err := exec.Command("rpm", "-qp", "--provides", file).Output()
		if err != nil || !slices.Contains(strings.Split(string(provides), "\n"), `word(it's{"so"})`) {
			t.Errorf("provides %q: %v", provides, err)
		}
	}
	if !slices.Equal(binary, []string{"optional-1-1.acme.noarch.rpm"}) {
		t.Errorf("packages %q", binary)
	}

	other.Push(t, map[string]string{"optional.spec": optionalSpec})
	b = s.Finished(t).Build
	if o := b.Outcome; o.Kind != rpmflow.FailureDependencies || !strings.Contains(o.Message, "repositories") ||
		!strings.Contains(o.Hint, "trust") {
		t.Errorf("without trust: %+v", *o)
	}
}

// extraRepository serves a repository of one package, acme-devel, where containers can reach it.
func extraRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	spec := filepath.Join(dir, "acme.spec")
	testkit.Write(t, spec, "Name: acme-devel\nVersion: 1\nRelease: 1\nSummary: For tests\nLicense: MIT\nBuildArch: "+
		"noarch\n%description\nFor tests.\n%files\n")
	for _, c := range [][]string{
		{"rpmbuild", "-bb", "--quiet", "--define", "_rpmdir " + dir + "/repo", "--define", "_topdir " + dir, spec},
		{"createrepo_c", "--quiet", "--general-compress-type=gz", dir + "/repo"}, // gz: the stand-in reads no other
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", c, err, out)
		}
	}
	l, err := net.Listen("tcp", net.JoinHostPort(system.Bridge(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.FileServer(http.Dir(filepath.Join(dir, "repo"))))
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return server.URL + "/"
}
