package hostrpm_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

const optional = `BuildArch: noarch
%bcond_without docs
%bcond_with extra-tests
Provides: docs(%{with docs}) tests(%{with extra_tests}) vendor(%{?vendor_word})
`

const optionalRest = good + `
%if %{with docs}
%package docs
Summary: x
%description docs
x
%files docs
%endif

%check
exit 1
`

// TestOptions: what a build asks for has effect in every step, and what this engine cannot do is reported.
func TestOptions(t *testing.T) {
	b := newFixture(t, t.TempDir(), strings.ReplaceAll(optional, "extra-tests", "extra_tests"), optionalRest)
	var notes []string
	open := func(o rpmflow.Options) {
		var err error
		b.session, err = b.engine.Open(t.Context(), build.Job{
			Build: rpmflow.Build{BuildRequest: rpmflow.BuildRequest{Options: o}}, Dir: filepath.Join(t.TempDir()),
			Epoch: time.Unix(1_700_000_000, 0), Log: &b.log,
			OnContainer: func(string) {}, Note: func(n string) { notes = append(notes, n) },
		})
		testkit.Must(b.t, err)
	}
	open(rpmflow.Options{
		Macros: []rpmflow.Macro{{Name: "vendor_word",
			Value: `it's"so"`}}, With: []string{"extra-tests"}, Without: []string{"docs"}, NoCheck: true,
	})
	out, err := b.session.Query(t.Context(), b.spec, b.sources, "-q", "--provides")
	testkit.Must(b.t, err)
	if want := `vendor(it's"so")`; !bytes.Contains(out, []byte(want)) || !bytes.Contains(out, []byte("docs(0)")) ||
		!bytes.Contains(out, []byte("tests(1)")) {
		t.Errorf("provides %s", out)
	}
	files, err := b.build(t.Context())
	testkit.Must(b.t, err)
	if len(files) != 2 {
		t.Errorf("made %q, without docs", files)
	}
	for _, file := range files[1:] {
		provides, err := exec.Command("rpm", "-qp", "--provides", file).Output()
		testkit.Must(b.t, err)
		if lines := strings.Split(string(provides), "\n"); !slices.Contains(lines, `vendor(it's"so")`) ||
			!slices.Contains(lines, "tests(1)") {
			t.Errorf("%s provides %q", file, lines)
		}
	}
	if len(notes) != 0 {
		t.Errorf("notes %q", notes)
	}

	open(rpmflow.Options{Repositories: []rpmflow.Repo{{URL: "https://r"}}})
	if len(notes) != 1 || !strings.Contains(notes[0], "repositories") {
		t.Errorf("notes %q", notes)
	}
	_, err = b.build(t.Context())
	b.wantFailure(err, rpmflow.FailureBuild, "%check")
}
