package publisher

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
)

// news is what an event says about a target.
type news struct {
	states  map[Kind]*repo.State // of the repositories that builds had packages for
	refused []*refusedError
	held    []events.HeldBack
}

// announce publishes an event about what has changed since the last one, also if that was changed by a run that ended
// before its event.
func (p *Publisher) announce(ctx context.Context, project, target string, n *news) error {
	const rounds = 20
	for range rounds {
		last, seq, err := p.events.Last(ctx, project, target)
		if err != nil {
			return err
		}
		pub := events.Publication{Project: project, Target: target, Published: p.o.now().UTC(),
			Repositories: []events.PublishedRepository{}, HeldBack: n.held}
		known := map[Kind]int64{}
		for _, r := range last.Repositories {
			known[Kind(r.Kind)] = r.Revision
		}
		changed := false
		for _, kind := range kinds() {
			state := n.states[kind]
			if state == nil { // as it was
				for _, r := range last.Repositories {
					if Kind(r.Kind) == kind {
						r.Added, r.Removed = []events.PublishedPackage{}, []events.PublishedPackage{}
						pub.Repositories = append(pub.Repositories, r)
					}
				}
				continue
			}
			difference := p.difference(Place{project, target, kind}, state, known[kind])
			pub.Repositories = append(pub.Repositories, difference)
			changed = changed || state.Revision > known[kind]
		}
		for _, err := range n.refused {
			why, do := hint.Split(err.err)
			pub.Refused = append(pub.Refused,
				events.RefusedPackage{Build: err.build, Name: err.name, Reason: why, Hint: do})
		}
		told := reflect.DeepEqual(pub.Refused, last.Refused) && reflect.DeepEqual(pub.HeldBack, last.HeldBack)
		if !changed && (told || len(pub.Refused)+len(pub.HeldBack) == 0) {
			return nil
		}
		if err := p.o.step("event"); err != nil {
			return err
		}
		if err = p.events.Add(ctx, pub, seq); err == nil {
			p.metrics.announced(pub)
		}
		if !errors.Is(err, events.ErrLost) {
			return err
		}
	}
	return fmt.Errorf("announce the publication of %s/%s: other publishers were first %d times",
		project, target, rounds)
}

// difference is the newest revision and what has changed since another.
func (p *Publisher) difference(place Place, state *repo.State, since int64) events.PublishedRepository {
	r := events.PublishedRepository{
		Kind: string(place.Kind), Revision: state.Revision,
		URL:   p.RevisionURL(place, state.Newest()),
		Added: []events.PublishedPackage{}, Removed: []events.PublishedPackage{},
	}
	published := func(e repo.Entry) events.PublishedPackage {
		return events.PublishedPackage{NEVRA: e.NEVRA.String(), Build: e.Build, SHA256: e.Checksum}
	}
	for _, f := range state.Frames { // a list of all entries would be megabytes
		for _, e := range f.Entries {
			if e.Since > since {
				r.Added = append(r.Added, published(e))
			}
		}
	}
	for _, e := range state.Removed {
		if e.Revision > since {
			r.Removed = append(r.Removed, published(e.Entry))
		}
	}
	return r
}
