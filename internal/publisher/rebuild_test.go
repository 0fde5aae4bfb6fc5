package publisher_test

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// overwrite makes an object of a repository have this content.
func (s *system) overwrite(t *testing.T, place publisher.Place, name, content string) {
	t.Helper()
	key := "repos/" + place.Path() + "/" + name
	_, version, err := s.store.Repositories().Read(t.Context(), key, 1<<20)
	testkit.Must(t, err)
	testkit.Value(s.store.Repositories().Replace(t.Context(), key, []byte(content), version, storage.Headers{}))(t)
}

func (s *system) drop(t *testing.T, place publisher.Place, names ...string) {
	t.Helper()
	for _, name := range names {
		testkit.Must(t, s.store.Repositories().Remove(t.Context(), "repos/"+place.Path()+"/"+name))
	}
}

func numbers(s *repo.State) (all []int64) {
	for _, r := range s.Revisions {
		all = append(all, r.Number)
	}
	return all
}

func nevras(s *repo.State) (all []string) {
	for _, e := range s.Entries() {
		all = append(all, strings.TrimSuffix(e.NEVRA.String(), "-1-1.noarch"))
	}
	slices.Sort(all)
	return all
}

// three is a repository with a revision for each of three packages.
func (s *system) three(t *testing.T, o publisher.Options, files []string) *publisher.Publisher {
	t.Helper()
	p, stop := run(t, o)
	for n, file := range files[:3] {
		s.finish(t, file, file)
		s.published(t, int64(n)+1)
	}
	stop()
	return p
}

// TestRebuildKeepsRevisions makes a repository again that is as it should be: pins and the files of older revisions
// outlive the next sweep, clients see the new revision.
func TestRebuildKeepsRevisions(t *testing.T) {
	t.Parallel()
	s := start(t)
	o := s.options(t)
	now := time.Now()
	o.Now = func() time.Time { return now }
	files := many(t, 4)
	p := s.three(t, o, files)
	testkit.Value(p.Remove(t.Context(), binary, "p00"))(t)
	testkit.Value(p.Pin(t.Context(), binary, 1, true))(t)
	testkit.Value(p.Rollback(t.Context(), binary, 2))(t)
	now = now.Add(time.Minute)
	made := testkit.Value(p.Rebuild(t.Context(), binary, false))(t)
	if made.Found || made.Shown().Number != 5 || !slices.Equal(numbers(made.State), []int64{1, 2, 3, 4, 5}) ||
		!made.Revisions[0].Pinned || !slices.Equal(nevras(made.State), []string{"p01", "p02"}) {
		t.Errorf("made again: %v of %v, %+v", nevras(made.State), numbers(made.State), made.Revisions[0])
	}
	valid(t, p, publisher.Binary)
	now = now.Add(72 * time.Hour)
	_, stop := run(t, o)
	s.finish(t, files[3], files[3])
	testkit.Until(t, func() error {
		if got := numbers(testkit.Value(p.State(t.Context(), binary))(t)); !slices.Equal(got, []int64{1, 4, 5, 6}) {
			return fmt.Errorf("revisions: %v", got)
		}
		return nil
	})
	stop()
	valid(t, p, publisher.Binary)
	testkit.Value(p.Rollback(t.Context(), binary, 1))(t)
	valid(t, p, publisher.Binary)
}

// TestLostState removes or damages the state of a repository: nothing is published until it is made again, with the
// revisions that are found.
func TestLostState(t *testing.T) {
	t.Parallel()
	for _, damaged := range []bool{false, true} {
		t.Run(fmt.Sprintf("damaged %v", damaged), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			files := many(t, 4)
			var log testkit.Log
			o := s.options(t)
			o.Log = log.Logger()
			p := s.three(t, o, files)
			testkit.Value(p.Remove(t.Context(), binary, "p00"))(t)
			testkit.Value(p.Pin(t.Context(), binary, 1, true))(t)
			if damaged {
				s.overwrite(t, binary, "state.zst", "garbage")
			} else {
				s.drop(t, binary, "state.zst")
			}
			refused := map[string]error{
				"show":     second(p.State(t.Context(), binary)),
				"rollback": second(p.Rollback(t.Context(), binary, 1)),
				"remove":   second(p.Remove(t.Context(), binary, "p01")),
				"verify":   second(p.Verify(t.Context(), binary)),
				"promote": second(p.Promote(t.Context(), binary,
					publisher.Place{Project: "other", Target: binary.Target}, nil)),
			}
			for what, err := range refused {
				if err == nil || !strings.Contains(err.Error(), "rpmflow repo rebuild demo fedora-43-x86_64") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if places := testkit.Value(p.Places(t.Context(), "demo", ""))(t); !slices.Contains(places, binary) {
				t.Errorf("repositories: %v", places)
			}
			_, stop := run(t, o)
			build := s.finish(t, files[3], files[3])
			log.Until(t, "not published, trying again")
			stop()
			status := testkit.Value(p.Status(t.Context(), "demo", "", time.Time{}))(t)
			i := slices.IndexFunc(status.Waiting, func(w publisher.Waiting) bool { return w.Build == build.ID })
			if i < 0 || !strings.Contains(status.Waiting[i].Error+status.Waiting[i].Do, "repo rebuild") {
				t.Errorf("status: %+v", status.Waiting)
			}
			s.drop(t, binary, "repodata/repomd.xml") // and what else can be made again

			made := testkit.Value(p.Rebuild(t.Context(), binary, false))(t)
			if !made.Found || len(made.Lost)+len(made.Refused) > 0 ||
				!slices.Equal(numbers(made.State), []int64{1, 2, 3, 4, 5}) ||
				!slices.Equal(nevras(made.State), []string{"p01", "p02", "p03"}) {
				t.Errorf("made again: %v of %v, lost: %v", nevras(made.State), numbers(made.State), made.Lost)
			}
			if !slices.ContainsFunc(made.Removed, func(r repo.Removed) bool {
				return r.Name == "p00" && r.Since == 1 && r.Revision == 4
			}) {
				t.Errorf("removed: %+v", made.Removed)
			}
			valid(t, p, publisher.Binary)
			testkit.Value(p.Rollback(t.Context(), binary, 1))(t)
			valid(t, p, publisher.Binary)
		})
	}
}

// TestLostStateOfOldRevisions loses pins: what a sweep would remove at once was perhaps pinned.
func TestLostStateOfOldRevisions(t *testing.T) {
	t.Parallel()
	s := start(t)
	o := s.options(t)
	now := time.Now()
	o.Now = func() time.Time { return now }
	files := many(t, 4)
	p := s.three(t, o, files)
	testkit.Value(p.Remove(t.Context(), binary, "p00"))(t)
	testkit.Value(p.Pin(t.Context(), binary, 1, true))(t)
	now = now.Add(72 * time.Hour)
	s.drop(t, binary, "state.zst")
	made := testkit.Value(p.Rebuild(t.Context(), binary, false))(t)
	for i, pinned := range []bool{true, true, false, false, false} {
		if made.Revisions[i].Pinned != pinned {
			t.Errorf("%+v", made.Revisions[i])
		}
	}
	testkit.Value(p.Pin(t.Context(), binary, 2, false))(t)
	_, stop := run(t, o)
	s.finish(t, files[3], files[3])
	testkit.Until(t, func() error {
		if got := numbers(testkit.Value(p.State(t.Context(), binary))(t)); !slices.Equal(got, []int64{1, 4, 5, 6}) {
			return fmt.Errorf("revisions: %v", got)
		}
		return nil
	})
	stop()
	testkit.Value(p.Rollback(t.Context(), binary, 1))(t)
	valid(t, p, publisher.Binary)
}

// TestFirstPublicationEnds ends the very first one before its state is written: that repository was not lost.
func TestFirstPublicationEnds(t *testing.T) {
	t.Parallel()
	s := start(t)
	file := many(t, 1)[0]
	o := s.options(t)
	var log testkit.Log
	o.Log = log.Logger()
	o.Step = func(what string) error {
		if what == "state" {
			return errors.New("killed")
		}
		return nil
	}
	_, stop := run(t, o)
	s.finish(t, "first", file)
	log.Until(t, "killed")
	stop()
	p, _ := run(t, s.options(t))
	s.published(t, 1)
	valid(t, p, publisher.Binary)
}

// TestLostStateDamagedRevisions has revisions that cannot be found: they are named, and their numbers are not used.
func TestLostStateDamagedRevisions(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.three(t, s.options(t), many(t, 3))
	all := testkit.Value(p.State(t.Context(), binary))(t).Revisions
	s.drop(t, binary, "state.zst", "r/"+all[0].Name()+"/flat/repomd.xml")
	s.overwrite(t, binary, "r/"+all[1].Name()+"/repodata/"+all[1].Files[0].Name, "garbage")
	s.overwrite(t, binary, "r/"+all[2].Name()+"/repodata/repomd.xml", "<repomd")
	made := testkit.Value(p.Rebuild(t.Context(), binary, false))(t)
	if !slices.Equal(numbers(made.State), []int64{4}) || len(made.Lost) != 3 || len(nevras(made.State)) != 3 {
		t.Errorf("made again: %v of %v, lost: %v", nevras(made.State), numbers(made.State), made.Lost)
	}
	valid(t, p, publisher.Binary)
}

// TestRebuildPromoted makes repositories again that have packages of another project, alone or among their own.
func TestRebuildPromoted(t *testing.T) {
	t.Parallel()
	s := start(t)
	files := many(t, 4)
	p := s.three(t, s.options(t), files)
	stable := publisher.Place{Project: "stable", Target: binary.Target}
	testkit.Value(p.Promote(t.Context(), binary, stable, nil))(t)
	before := testkit.Value(p.State(t.Context(), stable))(t).Entries()
	again := func(builds bool) publisher.Rebuilt {
		t.Helper()
		made := testkit.Value(p.Rebuild(t.Context(), stable, false))(t)
		want := []string{"p00", "p01", "p02"}
		if builds {
			want = append(want, "p03")
		}
		if len(made.Lost)+len(made.Refused) > 0 || !slices.Equal(nevras(made.State), want) {
			t.Fatalf("made again: %v, lost: %v", nevras(made.State), made.Lost)
		}
		if v := testkit.Value(p.Verify(t.Context(), stable))(t); len(v.Findings) > 0 {
			t.Errorf("made again: %+v", v.Findings)
		}
		return made
	}
	if got := again(false).Entries(); !slices.EqualFunc(got, before, func(a, b repo.Entry) bool {
		return a.ID == b.ID && a.Build == b.Build && a.Built.Equal(b.Built)
	}) {
		t.Errorf("made again: %+v, before: %+v", got, before)
	}
	_, stop := run(t, s.options(t))
	s.finishAs(t, "own", func(b *rpmflow.Build) { b.Project = "stable" }, files[3])
	testkit.Until(t, func() error {
		if got := nevras(testkit.Value(p.State(t.Context(), stable))(t)); len(got) != 4 {
			return fmt.Errorf("the repository has %v", got)
		}
		return nil
	})
	stop()
	again(true)
	s.drop(t, stable, "state.zst")
	made := again(true)
	if !made.Found || made.Revision != 5 {
		t.Errorf("made again: revision %d", made.Revision)
	}

	// The package of a build that is not in the storage any more is here; a promoted one that is gone is lost.
	e := made.Entries()
	own := slices.IndexFunc(e, func(e repo.Entry) bool { return e.Name == "p03" })
	record := fmt.Sprintf("builds/stable/%s/", e[own].Build)
	for o, err := range s.store.Repositories().List(t.Context(), record) {
		testkit.Must(t, err)
		if strings.HasSuffix(o.Key, ".rpm") {
			testkit.Must(t, s.store.Repositories().Remove(t.Context(), o.Key))
		}
	}
	again(true)
	s.drop(t, stable, e[slices.IndexFunc(e, func(e repo.Entry) bool { return e.Name == "p00" })].Object())
	s.overwrite(t, stable, e[slices.IndexFunc(e, func(e repo.Entry) bool { return e.Name == "p01" })].Object(), "x")
	made = testkit.Value(p.Rebuild(t.Context(), stable, false))(t)
	if len(made.Lost) != 2 || !slices.Equal(nevras(made.State), []string{"p02", "p03"}) {
		t.Errorf("made again: %v, lost: %v", nevras(made.State), made.Lost)
	}
	for _, f := range testkit.Value(p.Verify(t.Context(), stable))(t).Findings {
		if !strings.Contains(f.Key, "p01") { // altered: older revisions have it
			t.Errorf("%s: %s", f.Key, f.Wrong)
		}
	}
}

// TestVerifySaysWhatToDo damages a repository in one way after another.
func TestVerifySaysWhatToDo(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.three(t, s.options(t), many(t, 3))
	state := testkit.Value(p.State(t.Context(), binary))(t)
	if v := testkit.Value(p.Verify(t.Context(), binary))(t); len(v.Findings) > 0 || v.Objects != 3*(2*4+4)+3+3 {
		t.Errorf("%d objects, %v", v.Objects, v.Findings)
	}
	faults := []struct {
		name, do string
		missing  bool
	}{
		{state.Entries()[0].Object(), "rpmflow repo rebuild demo fedora-43-x86_64", true},
		{state.Entries()[1].Object(), "rpmflow repo rebuild demo fedora-43-x86_64", false},
		{"repodata/" + state.Files()[1].Name, "rpmflow repo rebuild demo fedora-43-x86_64", true},
		{"mirrorlist", "rpmflow repo rollback demo fedora-43-x86_64 0", false},
	}
	for _, f := range faults {
		if f.missing {
			s.drop(t, binary, f.name)
		} else {
			s.overwrite(t, binary, f.name, "x")
		}
	}
	found := testkit.Value(p.Verify(t.Context(), binary))(t).Findings
	for _, f := range faults {
		of := slices.DeleteFunc(slices.Clone(found), func(g publisher.Finding) bool {
			return path.Base(g.Key) != path.Base(f.name)
		})
		if len(of) != 1 || !strings.Contains(of[0].Do, f.do) {
			t.Errorf("%s: %+v", f.name, of)
		}
	}
	if len(found) != len(faults) {
		t.Errorf("found: %+v", found)
	}
	testkit.Value(p.Rollback(t.Context(), binary, 0))(t)
	made := testkit.Value(p.Rebuild(t.Context(), binary, false))(t)
	if len(made.Lost)+len(made.Refused) > 0 {
		t.Errorf("lost: %v, refused: %v", made.Lost, made.Refused)
	}
}
