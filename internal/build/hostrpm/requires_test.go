package hostrpm_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

const payload = "%install\nmkdir -p %{buildroot}/usr/share/hello; cp %{SOURCE0} %{buildroot}/usr/share/hello/x\n\n" +
	"%files\n/usr/share/hello\n"

// database makes this a host that keeps its packages in rpm, and has this one: rpm and rpmbuild are called with a
// database of the test's own.
func database(t *testing.T, pkg string) {
	t.Helper()
	dir := t.TempDir()
	db := filepath.Join(dir, "db")
	if out, err := exec.CommandContext(t.Context(), "rpm", "--dbpath", db, "-i", "--justdb", "--nodeps",
		pkg).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, tool := range []string{"rpm", "rpmbuild"} {
		path, err := exec.LookPath(tool)
		testkit.Must(t, err)
		script := fmt.Sprintf("#!/bin/sh\nexec %s --define '_dbpath %s' \"$@\"\n", path, db)
		testkit.Must(t, os.WriteFile(filepath.Join(dir, tool), []byte(script), 0o700))
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// BuildRequires are checked if the host keeps its packages in rpm; else the outcome says that they were not.
func TestBuildRequires(t *testing.T) {
	plain := newFixture(t, t.TempDir(), "BuildArch: noarch\nBuildRequires: no-such-devel >= 3", payload)
	if got := plain.engine.Unchecked(); !slices.Equal(got, []string{"BuildRequires"}) {
		t.Skipf("this host keeps its packages in rpm: %q", got)
	}
	files, err := plain.build(t.Context())
	testkit.Must(plain.t, err)
	database(t, files[1])

	missing := newFixture(t, t.TempDir(), "BuildRequires: no-such-devel >= 3, hello = 1.0\n"+
		"BuildRequires: pkgconfig(absent), hello > 7", payload)
	if got := missing.engine.Unchecked(); len(got) > 0 || slices.ContainsFunc(missing.engine.Caveats(),
		func(c string) bool { return strings.Contains(c, "not checked") }) {
		t.Errorf("not checked: %q, %q", got, missing.engine.Caveats())
	}
	_, err = missing.build(t.Context())
	var f *rpmflow.Failure
	if !errors.As(err, &f) || f.Kind != rpmflow.FailureDependencies {
		t.Fatalf("%v\n%s", err, &missing.log)
	}
	for _, name := range []string{"no-such-devel >= 3", "pkgconfig(absent)", "hello > 7"} {
		if !strings.Contains(f.Message+strings.Join(f.Excerpt, "\n"), name) {
			t.Errorf("%q, %q do not name %s", f.Message, f.Excerpt, name)
		}
	}
	there := newFixture(t, t.TempDir(), "BuildRequires: hello = 1.0", payload)
	files, err = there.build(t.Context())
	testkit.Must(there.t, err)
	if len(files) != 2 {
		t.Errorf("%v", files)
	}
	there.open(time.Unix(1e9, 0), &there.log) // sources and specs alone need none of them
	if _, err := there.session.SRPM(t.Context(), missing.spec, missing.sources); err != nil {
		t.Error(err)
	}
}
