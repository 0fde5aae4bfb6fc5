package build_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
)

// A source package of the repository goes into the engine as it is, under the name that rpmbuild would have given it,
// and is stored with the results.
func TestRunOfASourcePackage(t *testing.T) {
	t.Parallel()
	s3 := storagetest.Start(t)
	srpm := string(enginetest.Package("hello", "src"))
	for _, test := range []struct {
		name, file, content string
		want                string // in the failure; empty: it succeeds
	}{
		{"as rpmbuild names it", "hello-1.0-1.src.rpm", srpm, ""},
		{"under a name of its own", "It's $(mine).srpm", srpm, ""},
		{"a binary package", "a.src.rpm", string(enginetest.Package("hello", "x86_64")),
			`"a.src.rpm" is a binary package (hello-1.0-1.x86_64)`},
		{"without its sources", "a.src.rpm", string(enginetest.Package("hello", "nosrc")), `"a.src.rpm" lacks sources`},
		{"not an RPM", "a.src.rpm", strings.Repeat("x", 4096), `"a.src.rpm" is not a valid RPM`},
		{"a name that is none", "a.src.rpm", string(enginetest.Package("../hello", "src")), `"../hello-1.0-1.src.rpm"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newFixtureAt(t, s3, nil)
			b.attempt.Build.Repository, b.attempt.Build.Commit = repository(t,
				map[string]string{test.file: test.content})
			b.attempt.Build.Layout, b.attempt.Build.Sources = rpmflow.LayoutSRPM, rpmflow.Sources{SRPM: test.file}
			got, err := b.run()
			if err != nil || got.Outcome == nil || got.Layout != rpmflow.LayoutSRPM || got.Sources.SRPM != test.file ||
				got.Spec != "" {
				t.Fatalf("%v, %+v", err, got)
			}
			if test.want != "" {
				if got.Outcome.Kind != rpmflow.FailureSource || got.Outcome.Phase != rpmflow.PhaseSRPM ||
					got.Outcome.Hint == "" ||
					!strings.Contains(got.Outcome.Message, test.want) {
					t.Errorf("%+v", got.Outcome)
				}
				return
			}
			var nevras []string
			for _, p := range got.Packages {
				nevras = append(nevras, p.NEVRA())
			}
			if got.Outcome.Result != rpmflow.Succeeded ||
				fmt.Sprint(nevras) != "[hello-1.0-1.src hello-1.0-1.x86_64]" ||
				!slices.Equal(b.phases, allPhases) {
				t.Errorf("%+v: %v after %v", got.Outcome, nevras, b.phases)
			}
			if b.stored("hello-1.0-1.src.rpm") != srpm {
				t.Error("the source package is not stored as it was")
			}
		})
	}
}
