package publisher

import (
	"context"
	"errors"
	"time"

	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/storage"
)

const (
	// sweepAfter is how long what is not in the newest revision can still be fetched: clients with older metadata ask
	// for it, and dnf's default is to look for new ones after 48 hours.
	sweepAfter = 50 * time.Hour
	// sweepLeast is how many revisions stay in any case.
	sweepLeast = 3
	sweepEvery = 6 * time.Hour
	// sweepTime is how long one sweep may remove objects after it has noted them.
	sweepTime = time.Minute
	// leavingTime is after how long nobody removes a noted object any more, also by another machine's clock.
	leavingTime = 2 * sweepTime
)

// sweep removes what no client needs any more, in three steps: the state notes what leaves, the objects are removed,
// the state forgets them. A publication that needs such an object meanwhile, with the same content, does not begin
// before the removal is over. What one sweep has not ended, a later one ends.
func (p *Publisher) sweep(ctx context.Context, place Place) error {
	return p.exclusively(ctx, []Place{place}, func(ctx context.Context) error { return p.sweepOnce(ctx, place) })
}

func (p *Publisher) sweepOnce(ctx context.Context, place Place) error {
	state, version, err := p.load(ctx, place)
	if err != nil {
		return err
	}
	now := p.o.now()
	left, numbers, objects := state.Swept(now, sweepAfter, sweepLeast)
	objects = append(objects, metadata(place, state, left)...)
	left.Leaving = map[string]time.Time{}
	for name, at := range state.Leaving {
		if now.Sub(at) < leavingTime { // another one does it at this moment
			left.Leaving[name] = at
		} else {
			objects = append(objects, name)
		}
	}
	if len(objects) == 0 {
		return nil
	}
	for _, name := range objects {
		left.Leaving[name] = now
	}
	limited, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	version, err = p.replaceState(limited, place, left, version)
	if errors.Is(err, storage.ErrChanged) {
		return nil // the next time
	}
	if err != nil {
		return err
	}
	for _, name := range objects {
		if err := p.o.step("removal"); err != nil {
			return err
		}
		if err := p.repos.Remove(limited, place.key(name)); err != nil {
			return err
		}
		delete(left.Leaving, name)
	}
	p.o.Log.Info("old revisions removed", "project", place.Project, "target", place.Target, "kind", place.Kind,
		"revisions", len(numbers), "objects", len(objects))
	if _, err = p.replaceState(ctx, place, left, version); errors.Is(err, storage.ErrChanged) {
		return nil // a later sweep removes them once more
	}
	return err
}

// metadata are the objects of the revisions that one state has, and what is left of it has not.
func metadata(place Place, state, left *repo.State) (objects []string) {
	keep := map[string]bool{}
	for _, r := range left.Revisions {
		for _, f := range r.Files {
			keep[f.Name] = true
		}
	}
	for _, r := range state.Revisions {
		if !gone(r, left) {
			continue
		}
		for _, f := range r.Files {
			objects = append(objects, place.revision(r)+"/repodata/"+f.Name)
			if !keep[f.Name] {
				objects = append(objects, "repodata/"+f.Name)
			}
		}
		for _, dir := range []string{"/repodata/", "/" + flat + "/"} {
			objects = append(objects, place.revision(r)+dir+"repomd.xml", place.revision(r)+dir+"repomd.xml.asc")
		}
	}
	return objects
}

func gone(r repo.Revision, left *repo.State) bool {
	for _, l := range left.Revisions {
		if l.Number == r.Number {
			return false
		}
	}
	return true
}
