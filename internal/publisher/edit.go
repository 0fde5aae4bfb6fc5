package publisher

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/printable"
	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Places are the repositories that there are, of a project and a target; of all if these are empty.
func (p *Publisher) Places(ctx context.Context, project, target string) (places []Place, err error) {
	prefix := storage.RepositoriesPrefix
	if project != "" {
		prefix += project + "/"
	}
	for o, err := range p.repos.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		dir, name := path.Split(strings.TrimPrefix(o.Key, storage.RepositoriesPrefix))
		parts := strings.Split(strings.TrimSuffix(dir, "/"), "/")
		// One whose state is lost still has the mirrorlist.
		if name != stateName && name != mirrorlist || len(parts) < 2 || len(parts) > 3 ||
			target != "" && parts[1] != target {
			continue
		}
		place := Place{Project: parts[0], Target: parts[1]}
		if len(parts) == 3 {
			place.Kind = Kind(parts[2])
		}
		if !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	return places, nil
}

// State is what a repository has.
func (p *Publisher) State(ctx context.Context, place Place) (*repo.State, error) {
	state, _, err := p.load(ctx, place)
	return state, err
}

// Rollback makes clients see an older revision until the next publication; 0: the newest again.
func (p *Publisher) Rollback(ctx context.Context, place Place, number int64) (*repo.State, error) {
	return p.set(ctx, place, func(s *repo.State) error {
		if _, err := revision(s, number); err != nil && number != 0 {
			return err
		}
		s.Back = number
		return nil
	})
}

// Pin keeps a revision for ever, or no longer.
func (p *Publisher) Pin(ctx context.Context, place Place, number int64, pinned bool) (*repo.State, error) {
	return p.set(ctx, place, func(s *repo.State) error {
		i, err := revision(s, number)
		if err != nil {
			return err
		}
		s.Revisions = slices.Clone(s.Revisions)
		s.Revisions[i].Pinned = pinned
		return nil
	})
}

func revision(s *repo.State, number int64) (int, error) {
	var numbers []string
	for i, r := range s.Revisions {
		if r.Number == number {
			return i, nil
		}
		numbers = append(numbers, fmt.Sprint(r.Number))
	}
	return 0, hint.Add(fmt.Errorf("there is no revision %d", number), "use one of "+strings.Join(numbers, ", "))
}

// set changes the state without a new revision.
func (p *Publisher) set(
	ctx context.Context, place Place, alter func(*repo.State) error,
) (state *repo.State, err error) {
	err = p.exclusively(ctx, []Place{place}, func(ctx context.Context) error {
		had, err := p.versions(ctx, place)
		if err != nil {
			return err
		}
		var version string
		if state, version, err = p.load(ctx, place); err != nil {
			return err
		}
		if err := p.checkKey(ctx, place, state.Newest()); err != nil {
			return err
		}
		if err := alter(state); err != nil {
			return fmt.Errorf("repository %s: %w", place.Path(), err)
		}
		if err := p.checkKey(ctx, place, state.Shown()); err != nil {
			return err
		}
		if _, err := p.replaceState(ctx, place, state, version); err != nil {
			return err
		}
		return p.show(ctx, []*change{{place: place, state: state, had: had}})
	})
	return state, err
}

// shortestID is how much of a build's id is enough: what is shown of it has more.
const shortestID = 4

// wholeID is the id of the build of a repository that begins with what was written; that itself if there is none.
func wholeID(s *repo.State, written string) (string, error) {
	var found []string
	for _, e := range s.Entries() {
		if len(written) >= shortestID && strings.HasPrefix(e.Build, written) && !slices.Contains(found, e.Build) {
			found = append(found, e.Build)
		}
	}
	switch {
	case slices.Contains(found, written), len(found) == 0:
		return written, nil
	case len(found) == 1:
		return found[0], nil
	}
	return "", hint.Add(fmt.Errorf("%s matches the ids of %d builds", written, len(found)),
		"use more characters of the one that you mean: "+printable.List(found, 10))
}

// Remove takes packages out of a repository. They do not come back, also when the repository is made again. Their files
// stay for those who have older metadata.
func (p *Publisher) Remove(ctx context.Context, place Place, names ...string) (removed []string, err error) {
	names = slices.Clone(names)
	missing := slices.Clone(names) // in no try: one whose state was stored may have to write the pointers again
	_, err = p.change(ctx, place, p.existing(place), func(
		ctx context.Context, s *repo.State, d *repo.Draft, _ string,
	) error {
		var entries []repo.Entry
		for i, name := range names {
			isPackage := func(e repo.Entry) bool { return name == e.NEVRA.String() || name == e.Name }
			j := slices.Index(missing, name)
			if j < 0 || slices.ContainsFunc(s.Entries(), isPackage) {
				continue
			}
			id, err := wholeID(s, name)
			if err != nil {
				return fmt.Errorf("repository %s: %w", place.Path(), err)
			}
			names[i], missing[j] = id, id
		}
		for _, e := range s.Entries() {
			nevra := e.NEVRA.String()
			for _, name := range names {
				if (name == nevra || name == e.Name || name == e.Build) && d.Remove(e.NEVRA) {
					entries = append(entries, e)
					missing = slices.DeleteFunc(missing, func(m string) bool { return m == name })
					if !slices.Contains(removed, nevra) {
						removed = append(removed, nevra)
					}
				}
			}
		}
		if len(missing) > 0 {
			return hint.Add(fmt.Errorf("repository %s has no %s", place.Path(), strings.Join(missing, ", ")),
				"rpmflow repo show lists what it has: use a name, name-version-release.arch or the id of a build")
		}
		return p.noteRemovals(ctx, place, entries)
	})
	return removed, err
}
