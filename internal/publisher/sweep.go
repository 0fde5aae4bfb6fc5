package publisher

import (
	"context"
	"errors"
	"strings"
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
	left := state.Swept(now, sweepAfter, sweepLeast)
	unnamed, err := p.unnamed(ctx, place, left, now)
	if err != nil {
		return err
	}
	left.Leaving = map[string]time.Time{}
	for name, at := range state.Leaving {
		if now.Sub(at) < leavingTime { // another one does it at this moment
			left.Leaving[name] = at
		}
	}
	var objects []string
	for _, name := range unnamed {
		if _, ok := left.Leaving[name]; !ok {
			objects = append(objects, name)
		}
	}
	if len(objects) == 0 && len(left.Leaving) == len(state.Leaving) &&
		len(left.Revisions) == len(state.Revisions) && len(left.Removed) == len(state.Removed) {
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
		"revisions", len(state.Revisions)-len(left.Revisions), "objects", len(objects))
	if _, err = p.replaceState(ctx, place, left, version); errors.Is(err, storage.ErrChanged) {
		return nil // a later sweep removes them once more
	}
	return err
}

// unnamed are the objects below a repository's directory that a state does not name, and that are so old that no
// publication is about to name them: what revisions and packages have left that the state no longer has, and what was
// stored by publications that ended, or were overtaken. What somebody has put elsewhere stays.
func (p *Publisher) unnamed(
	ctx context.Context, place Place, state *repo.State, now time.Time,
) (all []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	named := place.names(state)
	for _, dir := range []string{"r/", "Packages/", "repodata/"} {
		for o, err := range p.repos.List(ctx, place.key(dir)) {
			if err != nil {
				return nil, err
			}
			name := strings.TrimPrefix(o.Key, place.key(""))
			if !named[name] && now.Sub(o.Modified) >= sweepAfter {
				all = append(all, name)
			}
		}
	}
	return all, nil
}

// names are the objects that a repository needs, below its directory.
func (p Place) names(state *repo.State) map[string]bool {
	all := map[string]bool{}
	add := func(names ...string) {
		for _, n := range names {
			all[n] = true
		}
	}
	add(stateName, removedName, mirrorlist, p.Project+".repo", "RPM-GPG-KEY-"+p.Project)
	add("repodata/repomd.xml", "repodata/repomd.xml.asc", "repodata/repomd.xml.key")
	for _, r := range state.Revisions {
		for _, dir := range []string{"/repodata/", "/" + flat + "/"} {
			add(p.revision(r)+dir+"repomd.xml", p.revision(r)+dir+"repomd.xml.asc")
		}
		for _, f := range r.Files {
			add(p.revision(r)+"/repodata/"+f.Name, "repodata/"+f.Name)
		}
	}
	for _, e := range state.Entries() {
		add(e.Object())
	}
	for _, r := range state.Removed { // for those who have older metadata
		add(r.Object())
	}
	return all
}
