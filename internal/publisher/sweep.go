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
)

// sweep removes what no client needs any more. What it has begun and not ended, the next one does not see: verify
// finds it.
func (p *Publisher) sweep(ctx context.Context, place Place) error {
	state, version, err := p.load(ctx, place)
	if err != nil {
		return err
	}
	left, numbers, objects := state.Swept(p.o.now(), sweepAfter, sweepLeast)
	if len(numbers)+len(objects) == 0 {
		return nil
	}
	err = p.replaceState(ctx, place, left, version)
	if errors.Is(err, storage.ErrChanged) {
		return nil // the next time
	}
	if err != nil {
		return err
	}
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
	for _, name := range objects {
		if err := p.repos.Remove(ctx, place.key(name)); err != nil {
			return err
		}
	}
	p.o.Log.Info("old revisions removed", "project", place.Project, "target", place.Target, "kind", place.Kind,
		"revisions", len(numbers), "objects", len(objects))
	return nil
}

func gone(r repo.Revision, left *repo.State) bool {
	for _, l := range left.Revisions {
		if l.Number == r.Number {
			return false
		}
	}
	return true
}
