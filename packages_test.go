package rpmflow_test

import (
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
)

func TestTouched(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		source  rpmflow.PackageSource
		changed string // separated by blanks
		want    bool
	}{
		{"a file of it", rpmflow.PackageSource{Directory: "pkgs/a"}, "README pkgs/a/x", true},
		{"a file deep in it", rpmflow.PackageSource{Directory: "pkgs/a"}, "pkgs/a/b/c/d", true},
		{"what stands for its directory", rpmflow.PackageSource{Directory: "pkgs/a"}, "pkgs/a", true},
		{"a neighbour's", rpmflow.PackageSource{Directory: "pkgs/a"}, "pkgs/ab/x pkgs/b/a/x pkgs a/x", false},
		{"a directory that looks like a pattern", rpmflow.PackageSource{Directory: "pkgs/[a]"}, "pkgs/[a]/x", true},
		{"what that would match as a pattern", rpmflow.PackageSource{Directory: "pkgs/[a]"}, "pkgs/a/x", false},
		{"nothing", rpmflow.PackageSource{Directory: "pkgs/a"}, "", false},
		{"of the top", rpmflow.PackageSource{}, "anything", true},
		{"of the top, nothing", rpmflow.PackageSource{}, "", true},
		{"patterns instead of the directory", rpmflow.PackageSource{Directory: "pkgs/a", Paths: []string{"lib/**"}},
			"pkgs/a/x", false},
		{"patterns", rpmflow.PackageSource{Directory: "pkgs/a", Paths: []string{"lib/**"}}, "lib/x", true},
		{"only what is taken away", rpmflow.PackageSource{Paths: []string{"**", "!**/*.md"}}, "README.md docs/x.md",
			false},
		{"also what is taken away", rpmflow.PackageSource{Paths: []string{"**", "!**/*.md"}}, "README.md x.c", true},
	} {
		if got := tt.source.Touched(strings.Fields(tt.changed)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestPackageSources(t *testing.T) {
	t.Parallel()
	one := rpmflow.Project{Name: "hello", Spec: "hello.spec", Sources: rpmflow.Sources{Directory: "rpm"}}
	if s, ok := one.PackageSource("hello"); !ok || s.SpecPath() != "rpm/hello.spec" ||
		strings.Join(s.Filter(), " ") != "rpm/**" {
		t.Errorf("%+v", s)
	}
	several := rpmflow.Project{Name: "mono", Packages: []rpmflow.PackageSource{{Name: "a", Directory: "a"},
		{Name: "b"}}}
	if s, ok := several.PackageSource("b"); !ok || s.SpecPath() != "" || len(s.Filter()) != 0 {
		t.Errorf("%+v", s)
	}
	if _, ok := several.PackageSource("mono"); ok || len(several.PackageSources()) != 2 {
		t.Error("the project itself is not a package of its own")
	}
}
