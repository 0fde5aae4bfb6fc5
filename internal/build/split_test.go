package build_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// The half that was not pushed to is decided once: another attempt takes the same commit, though its branch has moved
// on.
func TestSplitDecidesOnce(t *testing.T) {
	t.Parallel()
	for _, pushed := range []rpmflow.Half{rpmflow.HalfSource, rpmflow.HalfPackaging} {
		t.Run(string(pushed), func(t *testing.T) {
			b := newFixture(t, nil)
			pack, packCommit := repository(t, map[string]string{"rpm/SPECS/hello.spec": strings.Replace(spec, "hello.c",
				"hello.tar.gz", 1), "rpm/SOURCES/a.patch": "x\n"})
			split := &rpmflow.Split{Pushed: pushed, Source: rpmflow.Revision{Repository: b.attempt.Build.Repository},
				Packaging: rpmflow.Revision{Repository: pack}}
			mine, other := split.Halves()
			b.attempt.Build.Layout, b.attempt.Build.Split = rpmflow.LayoutSplit, split
			mine.Ref, mine.Commit = "refs/heads/main", b.attempt.Build.Commit
			want := rpmflow.Revision{Repository: pack, Ref: "refs/heads/main", Commit: packCommit}
			if pushed == rpmflow.HalfPackaging {
				want = rpmflow.Revision{Repository: b.attempt.Build.Repository, Ref: "refs/heads/main",
					Commit: b.attempt.Build.Commit}
				*mine = rpmflow.Revision{Repository: pack, Ref: "refs/heads/main", Commit: packCommit}
				b.attempt.Build.Repository, b.attempt.Build.Commit = pack, packCommit
			}

			// The first attempt fails after the decision: its directory cannot be used.
			testkit.Must(t, os.WriteFile(filepath.Join(b.attempt.Dir, "sources"), nil, 0o600))
			got, err := b.run()
			if err != nil || got.Outcome.Kind != rpmflow.FailureInfrastructure ||
				got.Outcome.Phase != rpmflow.PhaseSources {
				t.Fatalf("%v, %+v", err, got.Outcome)
			}
			if _, o := got.Split.Halves(); *o != want {
				t.Fatalf("the failed attempt has %+v, want %+v", *o, want)
			}
			if other.Commit != "" {
				t.Error("the request was changed")
			}

			gittest.At(t, want.Repository).Commit(nil) // the branch moves on
			b.attempt.Build.Split, b.attempt.Build.Notes, b.attempt.Dir = got.Split, got.Notes, t.TempDir()
			got, err = b.run()
			if err != nil || got.Outcome.Result != rpmflow.Succeeded {
				t.Fatalf("%v, %+v", err, got.Outcome)
			}
			if m, o := got.Split.Halves(); *o != want || m.Commit != got.Commit || m.Repository != got.Repository ||
				got.Spec != "rpm/SPECS/hello.spec" || got.Layout != rpmflow.LayoutSplit {
				t.Errorf("record %+v, %+v", got, *got.Split)
			}
			if !slices.ContainsFunc(got.Notes, func(n string) bool {
				return strings.HasPrefix(n, "the push to the "+string(pushed)+" repository is built with "+
					"refs/heads/main of "+
					""+want.Repository)
			}) {
				t.Errorf("notes %q", got.Notes)
			}
		})
	}
}

func TestSplitWithoutTheOtherRepository(t *testing.T) {
	t.Parallel()
	b := newFixture(t, nil)
	gone := filepath.Join(t.TempDir(), "gone")
	b.attempt.Build.Layout = rpmflow.LayoutSplit
	b.attempt.Build.Split = &rpmflow.Split{Pushed: rpmflow.HalfSource, Packaging: rpmflow.Revision{Repository: gone},
		Source: rpmflow.Revision{Repository: b.attempt.Build.Repository, Ref: "refs/heads/main",
			Commit: b.attempt.Build.Commit}}
	got, err := b.run()
	if err != nil || got.Outcome.Kind != rpmflow.FailureSource || !strings.Contains(got.Outcome.Message,
		"repository "+gone+" not found") {
		t.Fatalf("%v, %+v", err, got.Outcome)
	}
}
