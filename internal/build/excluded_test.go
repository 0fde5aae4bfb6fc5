package build

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// srpmOf makes a source package whose spec has these tags.
func srpmOf(t *testing.T, tags string) string {
	t.Helper()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skipf("needs rpmbuild: %v", err)
	}
	dir := t.TempDir()
	spec := filepath.Join(dir, "hello.spec")
	text := "Name: hello\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\n" + tags +
		"\n\n%description\nx\n\n%files\n"
	testkit.Must(t, os.WriteFile(spec, []byte(text), 0o600))
	if out, err := exec.CommandContext(t.Context(), "rpmbuild", "-bs", "--nodeps", "--define", "_topdir "+dir,
		spec).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "SRPMS", "hello-1.0-1.src.rpm")
}

func TestExcluded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tags, arch string
		options    rpmflow.Options
		want       string // empty: it is built
	}{
		{tags: "", arch: "x86_64"},
		{tags: "ExclusiveArch: x86_64 aarch64", arch: "x86_64"},
		{tags: "ExclusiveArch: X86_64", arch: "x86_64"},
		{tags: "ExclusiveArch: ppc64le", arch: "x86_64",
			want: "the spec is for ppc64le only (ExclusiveArch), the target " +
				"is x86_64"},
		{tags: "ExclusiveArch: ppc64le\nExclusiveArch: s390x", arch: "x86_64",
			want: "the spec is for ppc64le, s390x only (ExclusiveArch), the target is x86_64"},
		{tags: "ExclusiveArch: a1 a2 a3 a4 a5 a6 a7 a8 a9", arch: "x86_64",
			want: "the spec is for a1, a2, a3, a4, a5, a6, a7, a8 and 1 more only (ExclusiveArch), the target is " +
				"x86_64"},
		{tags: "ExcludeArch: s390x", arch: "x86_64"},
		{tags: "ExcludeArch: s390x x86_64", arch: "x86_64", want: "the spec is not for x86_64 (ExcludeArch)"},
		{tags: "ExcludeOS: linux", arch: "x86_64", want: "the spec is not for linux (ExcludeOS)"},
		{tags: "ExclusiveOS: Linux", arch: "x86_64"},
		{tags: "ExclusiveOS: aix", arch: "x86_64", want: "the spec is for aix only (ExclusiveOS), the target is linux"},
		// noarch packages are built on an architecture: the tag is about that.
		{tags: "BuildArch: noarch\nExclusiveArch: x86_64 noarch", arch: "x86_64"},
		{tags: "BuildArch: noarch\nExclusiveArch: ppc64le noarch", arch: "x86_64",
			want: "the spec is for ppc64le, noarch only (ExclusiveArch), the target is x86_64"},
		// mock's configurations of i386 have i686, those of armhfp armv7hl: rpm decides where only one of the names is
		// there.
		{tags: "ExclusiveArch: i686", arch: "i386"},
		{tags: "ExcludeArch: i386 i486 i586 i686", arch: "i386", want: "the spec is not for i386 (ExcludeArch)"},
		{tags: "ExcludeArch: i686", arch: "i386"},
		{tags: "ExclusiveArch: armv7hl", arch: "armhfp"},
		{tags: "ExclusiveArch: x86_64", arch: "x86_64_v2"},
		{tags: "ExclusiveArch: i686", arch: "x86_64",
			options: rpmflow.Options{MockOptions: []rpmflow.MockOption{{Key: "rpmbuild_arch", Value: "i686"}}}},
	} {
		err := excluded(srpmOf(t, c.tags), rpmflow.Build{BuildRequest: rpmflow.BuildRequest{Options: c.options}},
			c.arch)
		var skip *rpmflow.Skip
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q for %s: %v", c.tags, c.arch, err)
		case c.want != "" && (!errors.As(err, &skip) || skip.Message != c.want || skip.Hint == ""):
			t.Errorf("%q for %s: %v, want %s", c.tags, c.arch, err, c.want)
		}
	}
}

// TestExcludedByAMacro: where rpm does not know a macro, leaving the target out is not the only thing to do.
func TestExcludedByAMacro(t *testing.T) {
	t.Parallel()
	var skip *rpmflow.Skip
	err := excluded(srpmOf(t, "ExclusiveArch: %{no_such_arches} noarch"), rpmflow.Build{}, "x86_64")
	if !errors.As(err, &skip) || !strings.HasPrefix(skip.Hint,
		"%{no_such_arches} is a macro that is not defined here") {
		t.Errorf("%v", err)
	}
}

func TestNotFor(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]string{
		"ExclusiveArch": "the spec is not for x86_64 (ExclusiveArch)", "ExcludeArch": "the spec is not for x86_64 " +
			"(ExcludeArch)",
		"ExclusiveOS": "the spec is not for linux (ExclusiveOS)", "ExcludeOS": "the spec is not for linux (ExcludeOS)",
	} {
		if skip := NotFor(tag, "x86_64"); skip.Message != want || skip.Hint == "" {
			t.Errorf("%s: %+v", tag, skip)
		}
	}
}

func TestSkippedOutcome(t *testing.T) {
	t.Parallel()
	o := rpmflow.OutcomeOf(rpmflow.PhaseSRPM, &rpmflow.Skip{Message: "m", Hint: "h"})
	if o.Result != rpmflow.Skipped || o.Kind != "" || o.Phase != rpmflow.PhaseSRPM || o.Message != "m" ||
		o.Hint != "h" ||
		strings.Contains(o.Hint, "operator") {
		t.Errorf("%+v", o)
	}
}
