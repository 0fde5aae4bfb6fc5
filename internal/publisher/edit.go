package publisher

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow/internal/hint"
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
		path, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, storage.RepositoriesPrefix), "/"+stateName)
		parts := strings.Split(path, "/")
		if !ok || len(parts) < 2 || target != "" && parts[1] != target {
			continue
		}
		place := Place{Project: parts[0], Target: parts[1]}
		if len(parts) == 3 {
			place.Kind = Kind(parts[2])
		}
		places = append(places, place)
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
func (p *Publisher) set(ctx context.Context, place Place, alter func(*repo.State) error) (*repo.State, error) {
	had, err := p.versions(ctx, place)
	if err != nil {
		return nil, err
	}
	state, version, err := p.load(ctx, place)
	if err != nil {
		return nil, err
	}
	if err := p.checkKey(ctx, place, state.Newest()); err != nil {
		return nil, err
	}
	if err := alter(state); err != nil {
		return nil, fmt.Errorf("repository %s: %w", place.Path(), err)
	}
	if err := p.checkKey(ctx, place, state.Shown()); err != nil {
		return nil, err
	}
	if err := p.replaceState(ctx, place, state, version); err != nil {
		return nil, err
	}
	return state, p.show(ctx, []*change{{place: place, state: state, had: had}})
}

// Remove takes packages out of a repository. Their files stay for those who have older metadata.
func (p *Publisher) Remove(ctx context.Context, place Place, names ...string) (removed []string, err error) {
	_, err = p.change(ctx, place, p.existing(place), func(s *repo.State, d *repo.Draft, _ string) error {
		removed = nil
		missing := slices.Clone(names)
		for _, e := range s.Entries() {
			nevra := e.NEVRA.String()
			for _, name := range names {
				if (name == nevra || name == e.Name || name == e.Build) && d.Remove(e.NEVRA) {
					removed = append(removed, nevra)
					missing = slices.DeleteFunc(missing, func(m string) bool { return m == name })
				}
			}
		}
		if len(missing) > 0 {
			return hint.Add(fmt.Errorf("repository %s has no %s", place.Path(), strings.Join(missing, ", ")),
				"rpmflow repo show lists what it has: use a name, name-version-release.arch or the id of a build")
		}
		return nil
	})
	return removed, err
}
