package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

const noarchSpec = `Name: %NAME%
Version: %VERSION%
Release: 1
Summary: s
License: MIT
BuildArch: noarch
%description
d
%prep
%build
%install
mkdir -p %{buildroot}/opt
echo %{version} >%{buildroot}/opt/%{name}
%files
/opt/%{name}
`

func noarch(name, version string) string {
	return strings.NewReplacer("%NAME%", name, "%VERSION%", version).Replace(noarchSpec)
}

// built are the NEVRAs of the binary packages of the next builds that finish, which must have succeeded.
func built(t *testing.T, s *system.System, count int) (names []string, builds []rpmflow.Build) {
	t.Helper()
	for range count {
		b := s.Finished(t).Build
		if b.Outcome.Result != rpmflow.Succeeded {
			t.Fatalf("%s %s: %+v\n%s", b.Project, b.Package, *b.Outcome, system.FetchLog(t, s, b))
		}
		for _, p := range b.Packages {
			if p.Arch != "src" {
				names = append(names, p.NEVRA())
			}
		}
		builds = append(builds, b)
	}
	slices.Sort(names)
	return names, builds
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("built %q, want %q", got, want)
	}
}

// TestSourcePackagesInARepository: each that a commit adds is a build of its own.
func TestSourcePackagesInARepository(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	repo := system.NewRepository(t)
	s := system.Start(t, "rpmbuild", repo.Project("vendor", "  layout: srpm\n"))
	repo.Announce(t, s, "vendor")
	files := map[string]string{"alpha-1-1.src.rpm": srpm(t, "alpha", "1"), "beta-2-1.src.rpm": srpm(t, "beta", "2")}
	repo.Push(t, files)
	names, builds := built(t, s, 2)
	want(t, names, "alpha-1-1.noarch", "beta-2-1.noarch")
	if builds[0].Push != builds[1].Push || builds[0].Layout != rpmflow.LayoutSRPM {
		t.Errorf("records: pushes %s and %s, layout %s", builds[0].Push, builds[1].Push, builds[0].Layout)
	}
	files["beta-3-1.src.rpm"] = srpm(t, "beta", "3")
	repo.Push(t, files)
	names, _ = built(t, s, 1)
	want(t, names, "beta-3-1.noarch")
}

func srpm(t *testing.T, name, version string) string {
	t.Helper()
	dir := t.TempDir()
	spec := filepath.Join(dir, name+".spec")
	testkit.Write(t, spec, noarch(name, version))
	if out, err := exec.Command("rpmbuild", "-bs", "--quiet", "--define", "_srcrpmdir "+dir, "--define", "_topdir "+dir,
		spec).CombinedOutput(); err != nil {
		t.Fatalf("rpmbuild -bs: %v: %s", err, out)
	}
	content, err := os.ReadFile(filepath.Join(dir, name+"-"+version+"-1.src.rpm"))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestPackagesOfOneRepository: a push builds those whose files it has changed.
func TestPackagesOfOneRepository(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	repo := system.NewRepository(t)
	s := system.Start(t, "rpmbuild", repo.Project("mono", `  packages:
    - {name: liba, directory: packages/liba}
    - {name: tools, directory: packages/tools, paths: ['packages/tools/**', 'macros/**', '!**/*.md']}
`))
	repo.Announce(t, s, "mono")
	files := map[string]string{"packages/liba/liba.spec": noarch("liba", "1"),
		"packages/tools/SPECS/tools.spec": noarch("tools", "1"), "README.md": "Words.\n"}
	repo.Push(t, files)
	names, _ := built(t, s, 2)
	want(t, names, "liba-1-1.noarch", "tools-1-1.noarch")

	files["packages/liba/liba.spec"] = noarch("liba", "2")
	files["packages/tools/notes.md"] = "Words.\n"
	repo.Push(t, files)
	names, _ = built(t, s, 1)
	want(t, names, "liba-2-1.noarch")

	files["macros/common"] = "%a b\n"
	repo.Push(t, files)
	names, _ = built(t, s, 1)
	want(t, names, "tools-1-1.noarch")

	files["README.md"] = "Other words.\n"
	before := len(system.List(t, s, ""))
	if answer := repo.Push(t, files); len(system.List(t, s, "")) != before ||
		!strings.Contains(answer, "packages/liba") {
		t.Errorf("a push that changes no package was answered:\n%s", answer)
	}
}

// TestTwoRepositories: a push to the source tree or to its packaging builds what both have on that branch.
func TestTwoRepositories(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	source, packaging := system.NewRepository(t), system.NewRepository(t)
	s := system.Start(t, "rpmbuild",
		source.Project("greet", "  packaging_url: file://"+packaging.Bare+"\n  packaging_directories: ['*=centos7']\n"))
	source.Announce(t, s, "greet?repository=source")
	// says nothing to anybody
	packaging.Push(t, map[string]string{"centos7/rpm/SPECS/greet.spec": greetSpec,
		"centos7/rpm/SOURCES/notes.txt": notes})
	// one project, one secret
	packaging.Secret = source.Secret
	packaging.Announce(t, s, "greet?repository=packaging")

	source.Push(t, map[string]string{"greet.c": greetC, "Makefile": greetMakefile})
	check := func() {
		t.Helper()
		_, builds := built(t, s, 1)
		b := builds[0]
		if b.Layout != rpmflow.LayoutSplit || b.Split == nil || b.Split.Source.Commit != source.Head(t) ||
			b.Split.Packaging.Commit != packaging.Head(t) {
			t.Errorf("layout %s, made of %+v; the heads are %s and %s", b.Layout, b.Split, source.Head(t),
				packaging.Head(t))
		}
	}
	check()
	packaging.Push(t, map[string]string{"centos7/rpm/SPECS/greet.spec": greetSpec,
		"centos7/rpm/SOURCES/notes.txt": notes +
			"More.\n"})
	check()
}

// TestVersionsFromGit: tags and commits decide on version and release, also in a template.
func TestVersionsFromGit(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	repo := system.NewRepository(t)
	s := system.Start(t, "rpmbuild", repo.Project("tool", "  version: from-git\n  substitute: ['VERSION={version}']\n"))
	repo.Announce(t, s, "tool")
	files := map[string]string{"rpm/tool.spec.in": strings.Replace(noarch("tool", "@VERSION@"), "BuildArch",
		"Source0: %{name}-%{version}.tar.gz\nBuildArch", 1), "Makefile": "all:\n"}
	answer := repo.Push(t, files)
	if b := s.Finished(t).Build; b.Outcome.Kind != rpmflow.FailureSource && b.Outcome.Kind != rpmflow.FailureSpec ||
		!strings.Contains(b.Outcome.Message, "tag") {
		t.Errorf("without a tag: %+v\n%s", *b.Outcome, answer)
	}
	system.Git(t, repo.Tree, "tag", "-a", "-m", "Release", "v1.2-rc1")
	system.Git(t, repo.Tree, "push", "origin", "v1.2-rc1")
	files["Makefile"] = "all: tool\n"
	repo.Push(t, files)
	names, builds := built(t, s, 1)
	if len(names) != 1 || !strings.HasPrefix(names[0], "tool-1.2~rc1-1.1.g"+builds[0].Commit[:7]) {
		t.Errorf("built %q of %s", names, builds[0].Commit)
	}
	changelog := changes(t, s, builds[0])
	if !strings.Contains(changelog, "Change") {
		t.Errorf("changelog %q", changelog)
	}
}

func changes(t *testing.T, s *system.System, b rpmflow.Build) string {
	t.Helper()
	for _, a := range b.Artifacts {
		if a.Kind == rpmflow.KindRPM && strings.HasSuffix(a.NEVRA, ".noarch") {
			file := filepath.Join(t.TempDir(), a.Name)
			testkit.Write(t, file, string(system.Object(t, s, a.Key)))
			out, err := exec.Command("rpm", "-qp", "--changelog", file).CombinedOutput()
			if err != nil {
				t.Fatalf("rpm -qp --changelog: %v: %s", err, out)
			}
			return string(out)
		}
	}
	t.Fatalf("no package among %+v", b.Artifacts)
	return ""
}
