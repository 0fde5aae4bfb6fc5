package publisher

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
)

// news is what an event says about a target.
type news struct {
	kinds   []Kind // of the repositories that may have changed
	refused []*refusedError
	held    []events.HeldBack
}

// Announce publishes an event about what has changed in a repository since the last one; if nothing has, there is none.
func (p *Publisher) Announce(ctx context.Context, place Place) error {
	if p.o.JS == nil {
		return errors.New("NATS is not connected")
	}
	return p.announce(ctx, place.Project, place.Target, &news{kinds: []Kind{place.Kind}})
}

// announce publishes an event about what has changed since the last one, also if that was changed by a run that ended
// before its event. States are read after that event: of two programs that announce at the same time the one with the
// older states is refused.
func (p *Publisher) announce(ctx context.Context, project, target string, n *news) error {
	const rounds = 20
	for range rounds {
		last, seq, err := p.events.Last(ctx, project, target)
		if err != nil {
			return err
		}
		pub := events.Publication{Project: project, Target: target, Published: p.o.now().UTC(),
			Repositories: []events.PublishedRepository{}, HeldBack: n.held}
		changed := false
		for _, kind := range kinds() {
			var known events.PublishedRepository
			i := slices.IndexFunc(last.Repositories, func(r events.PublishedRepository) bool {
				return Kind(r.Kind) == kind
			})
			if i >= 0 {
				known = last.Repositories[i]
			}
			if !slices.Contains(n.kinds, kind) {
				if i >= 0 { // as it was
					known.Added, known.Removed = []events.PublishedPackage{}, []events.PublishedPackage{}
					known.Truncated = false
					pub.Repositories = append(pub.Repositories, known)
				}
				continue
			}
			place := Place{project, target, kind}
			state, err := p.State(ctx, place)
			if err != nil {
				return err
			}
			r := p.difference(place, state, known.Revision)
			pub.Repositories = append(pub.Repositories, r)
			changed = changed || r.Revision != known.Revision || r.Shown != known.Shown ||
				!slices.Equal(r.Pinned, known.Pinned)
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
	if since > state.Revision { // the repository was lost, and begins again
		since = 0
	}
	if shown := state.Shown(); shown.Number != state.Revision {
		r.Shown, r.ShownURL = shown.Number, p.RevisionURL(place, shown)
	}
	for _, v := range state.Revisions {
		if v.Pinned {
			r.Pinned = append(r.Pinned, v.Number)
		}
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
