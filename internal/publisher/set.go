package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
)

// set is what becomes of a push whose builds are published together: each of its builds, or the retry that counts in
// its place.
type set struct {
	push   string
	builds []rpmflow.Build // in the order of the push, which is that of every publisher
	place  map[string]int  // of builds and their retries, by id: where in builds
	last   string          // the retry whose end is looked at; empty: that is a build of the push
}

func newSet(push string, builds ...rpmflow.Build) *set {
	s := &set{push: push, place: map[string]int{}}
	for _, b := range builds {
		s.add(b)
	}
	return s
}

func (s *set) add(b rpmflow.Build) {
	if i, ok := s.place[b.ID]; ok { // an earlier attempt has left a record, too
		s.builds[i] = b
		return
	}
	s.place[b.ID] = len(s.builds)
	s.builds = append(s.builds, b)
}

// retried notes the next retry in the order in which they ended. The newest counts, but one that has failed does not
// take back what has succeeded.
func (s *set) retried(b rpmflow.Build) {
	i, ok := s.place[b.RetryOf]
	if !ok {
		return // of another push
	}
	s.place[b.ID] = i
	if blocks(s.builds[i]) || !blocks(b) {
		s.builds[i] = b
	}
}

// blocks reports whether a finished build keeps its push from being published. One that was skipped does not: its
// package is not meant for its target.
func blocks(b rpmflow.Build) bool { return b.Outcome.Result == rpmflow.Failed }

// held says which builds keep the push from being published.
func (s *set) held() (all []events.HeldBack) {
	for _, b := range s.builds {
		if !blocks(b) {
			continue
		}
		why := fmt.Sprintf("the build of %s for %s has not succeeded: %s", b.Package, b.Target, b.Outcome.Message)
		do := fmt.Sprintf("if the commit is right: rpmflow retry %s; else push a fix, and build the packages that it "+
			"does not touch with rpmflow submit %s --package NAME", b.ID, b.Project)
		all = append(all, events.HeldBack{Push: s.push, Build: b.ID, Reason: why, Hint: do})
	}
	return all
}

// succeeded are the builds that have packages.
func (s *set) succeeded() []rpmflow.Build {
	return slices.DeleteFunc(slices.Clone(s.builds), func(b rpmflow.Build) bool {
		return b.Outcome.Result != rpmflow.Succeeded
	})
}

// withdraw takes a set out of the repositories whose states have it already, when another program has changed a later
// one meanwhile so that it refuses a package. No client has seen it.
func (p *Publisher) withdraw(ctx context.Context, changes []*change) error {
	for _, c := range changes {
		if c.wrote == 0 {
			continue
		}
		_, err := p.change(ctx, c.place, p.existing(c.place), func(
			_ context.Context, s *repo.State, d *repo.Draft, _ string,
		) error {
			for _, e := range s.Entries() {
				if e.Since == c.wrote {
					d.Remove(e.NEVRA)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// missing are those of the builds that a repository does not have. If it has the push already, that is the retry at
// most: what was removed from the repository since stays out.
func (s *set) missing(state *repo.State, builds []rpmflow.Build) []rpmflow.Build {
	got := s.last != "" && slices.ContainsFunc(state.Entries(), func(e repo.Entry) bool {
		_, ours := s.place[e.Build]
		return ours && e.Build != s.last
	})
	if !got {
		return builds
	}
	return slices.DeleteFunc(slices.Clone(builds), func(b rpmflow.Build) bool { return b.ID != s.last })
}

// heldBack finds the pushes that are held back, of all finished builds of a project in the order in which they ended.
func heldBack(builds []rpmflow.Build) func(rpmflow.Build) bool {
	sets, of := map[string]*set{}, map[string]*set{} // by push, by build
	for _, b := range builds {
		s := of[b.RetryOf]
		switch {
		case s != nil:
			s.retried(b)
		case sets[b.Push] != nil:
			s = sets[b.Push]
			s.add(b)
		default:
			s = newSet(b.Push, b)
			sets[b.Push] = s
		}
		of[b.ID] = s
	}
	return func(b rpmflow.Build) bool { return slices.ContainsFunc(of[b.ID].builds, blocks) }
}

// errForgotten means that a push is not in the streams any more.
var errForgotten = errors.New("which builds belong to it is not known any more")

// publishSet publishes the push of a finished build if this was the last one that it waited for.
func (p *Publisher) publishSet(ctx context.Context, f events.Finish) ([]Place, error) {
	b := f.Build
	log := p.o.Log.With("project", b.Project, "build", b.ID)
	all, err := p.gather(ctx, f)
	if errors.Is(err, errForgotten) {
		if b.Outcome.Result != rpmflow.Succeeded {
			return nil, nil
		}
		held := []events.HeldBack{{Push: b.Push, Build: b.ID, Reason: err.Error(),
			Hint: "build the commit again: rpmflow submit " + b.Project}}
		log.Warn("a push is not published", "push", b.Push, "error", err)
		return nil, p.announce(ctx, b.Project, b.Target, &news{held: held})
	}
	if all == nil || err != nil {
		return nil, err
	}
	log = log.With("push", all.push)
	held := all.held()
	told := map[string]*news{}
	var places []Place
	if len(held) == 0 {
		if told, places, err = p.publish(ctx, all.succeeded(), all); err != nil {
			return nil, err
		}
		held = refusedOf(all.push, told)
	}
	for _, h := range held {
		log.Warn("a push is not published", "because", h.Build, "error", h.Reason, "hint", h.Hint)
	}
	for _, target := range targets(all.builds) {
		n := told[target]
		if n == nil {
			n = &news{}
		}
		n.held = held
		if err := p.announce(ctx, b.Project, target, n); err != nil {
			return nil, err
		}
	}
	return places, nil
}

// refusedOf says which packages keep a push from being published.
func refusedOf(push string, told map[string]*news) (held []events.HeldBack) {
	for target, n := range told {
		for _, r := range n.refused {
			why, do := hint.Split(r.err)
			held = append(held, events.HeldBack{
				Push: push, Build: r.build, Hint: do,
				Reason: fmt.Sprintf("%s for %s cannot be published: %s", r.name, target, why),
			})
		}
	}
	slices.SortFunc(held, func(a, b events.HeldBack) int { return strings.Compare(a.Reason, b.Reason) })
	return held
}

// gather finds the builds of a finished build's push, as they were when it was finished; nil: another one was not
// finished then. So of the builds of a push exactly the last one, and each retry after it, sees all of them,
// whoever looks and when.
func (p *Publisher) gather(ctx context.Context, f events.Finish) (*set, error) {
	ledger, err := events.NewLedger(ctx, p.o.JS)
	if err != nil {
		return nil, err
	}
	pushes, err := events.NewPushes(ctx, p.o.JS)
	if err != nil {
		return nil, fmt.Errorf("%w: has the NATS user the right? `rpmflow config nats` makes accounts", err)
	}
	first := f.Build
	for seen := map[string]bool{}; first.RetryOf != "" && !seen[first.ID]; {
		seen[first.ID] = true
		was := first
		was.ID = first.RetryOf
		ended, err := p.ended(ctx, ledger, was, f.Sequence)
		if err != nil {
			return nil, err
		}
		if ended == nil {
			return nil, fmt.Errorf("build %s: %w", was.ID, errForgotten)
		}
		first = ended.Build
	}
	push, err := pushes.Last(ctx, first.Project, first.Push)
	has := slices.ContainsFunc(push.Builds, func(b rpmflow.Build) bool { return b.ID == first.ID })
	if errors.Is(err, events.ErrNoPush) || err == nil && !has {
		return nil, fmt.Errorf("push %s: %w", first.Push, errForgotten)
	}
	if err != nil {
		return nil, err
	}
	all := newSet(push.ID)
	if f.Build.RetryOf != "" {
		all.last = f.Build.ID
	}
	from := f.Sequence
	builds := slices.Clone(push.Builds)
	for i, b := range slices.Backward(builds) { // the last one ends last
		ended, err := p.ended(ctx, ledger, b, f.Sequence)
		if err != nil {
			return nil, err
		}
		if ended == nil {
			p.o.Log.Debug("a finished build waits for others of its push", "project", b.Project, "build", f.Build.ID,
				"push", push.ID, "for", b.ID)
			return nil, nil
		}
		builds[i], from = ended.Build, min(from, ended.Sequence)
	}
	for _, b := range builds {
		all.add(b)
	}
	for ev, err := range ledger.Finished(ctx, push.Project, from, f.Sequence) {
		if err != nil {
			return nil, err
		}
		all.retried(ev.Build)
	}
	return all, nil
}

// ended is the finished event of a build if it is not behind a sequence of EVENTS; else nil. What EVENTS does not have
// any more is read from the storage, with the sequence 0.
func (p *Publisher) ended(
	ctx context.Context, ledger *events.Ledger, b rpmflow.Build, until uint64,
) (*events.Event, error) {
	last, err := ledger.Last(ctx, b)
	switch {
	case errors.Is(err, events.ErrNone):
		return p.stored(ctx, b)
	case err != nil:
		return nil, err
	case last.Type != events.TypeFinished || last.Build.Outcome == nil || last.Sequence > until:
		return nil, nil
	}
	return &last, nil
}

// stored is a build as its record in the storage has it; nil: it has none.
func (p *Publisher) stored(ctx context.Context, b rpmflow.Build) (found *events.Event, err error) {
	for b, err := range p.records(ctx, b.Project+"/"+b.ID) {
		if err != nil {
			return nil, err
		}
		if b.Outcome != nil && (found == nil || b.Attempt > found.Build.Attempt) {
			found = &events.Event{Type: events.TypeFinished, Build: b}
		}
	}
	return found, nil
}

// records are what builders have stored of the builds of a project, or of one build, attempt by attempt.
func (p *Publisher) records(ctx context.Context, below string) iter.Seq2[rpmflow.Build, error] {
	return func(yield func(rpmflow.Build, error) bool) {
		for o, err := range p.repos.List(ctx, "builds/"+below+"/") {
			if err == nil && !strings.HasSuffix(o.Key, "/build.json") {
				continue
			}
			var b rpmflow.Build
			if err == nil {
				b, err = p.record(ctx, o.Key)
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// record reads what a builder has stored of a build.
func (p *Publisher) record(ctx context.Context, key string) (b rpmflow.Build, err error) {
	raw, _, err := p.repos.Read(ctx, key, 16<<20)
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(raw, &b); err != nil {
		return b, fmt.Errorf("read %s: %w", key, err)
	}
	return b, nil
}
