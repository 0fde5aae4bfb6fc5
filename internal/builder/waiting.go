package builder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
)

const (
	// postponeFor is after how long a build is looked at again that could not be begun.
	postponeFor = time.Second
	// postponeEach is how much longer that is for each such build, so that many of them keep neither NATS nor the builder busy.
	postponeEach = 25 * time.Millisecond
	// explainAfter is how long a build has waited before it is told why this builder takes none: others may take it at once.
	explainAfter = 2 * time.Second
)

// lookEvery is how often an idle builder looks which targets it could build for.
const lookEvery = 5 * time.Second

// serves says whether the builder can build for a target now: it knows the target, and the engine has what it needs.
func (b *Builder) serves(ctx context.Context, name string) error {
	t, ok := b.target(name)
	if !ok {
		return hint.Add(fmt.Errorf("the target %q is not in the builder's configuration", name), "define it there and restart the builder, or start a builder that has it")
	}
	return b.runner.Engine.Serves(ctx, t)
}

// unable says why the build cannot be begun here; an error says that nothing can. One that is given up needs nothing for its end.
func (b *Builder) unable(ctx context.Context, build rpmflow.Build) (why, err error) {
	lost := build.LostAttempts
	if build.State == rpmflow.Running {
		lost++
	}
	if lost > maxLost {
		return nil, nil
	}
	why = b.serves(ctx, build.Target)
	if why != nil {
		if err := b.runner.Engine.Ready(ctx); err != nil {
			b.doubt.Store(true)
			return nil, err
		}
	}
	b.status.serves(build.Target, why)
	return why, nil
}

// look keeps the status up to date while there are no builds that show it.
func (b *Builder) look(ctx context.Context) {
	if time.Since(b.looked) < lookEvery {
		return
	}
	b.looked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	for _, t := range b.o.Targets {
		if !slices.Contains(b.o.Archs, t.Arch) {
			continue // others build for it
		}
		why := b.serves(ctx, t.Name)
		if ctx.Err() != nil {
			return
		}
		_, waited := b.unserved[t.Name]
		switch {
		case why != nil && !waited:
			what, do := hint.Split(why)
			b.log.Warn("builds for a target wait", "target", t.Name, "why", what, "what_to_do", do)
			b.unserved[t.Name] = true
		case why == nil && waited:
			b.log.Info("builds for a target can begin", "target", t.Name)
			delete(b.unserved, t.Name)
		}
		b.status.serves(t.Name, why)
	}
}

// postpone lets a build wait that cannot be begun here: it spends no attempt, its record says why, and its message comes again in a
// moment, behind others. Other builders get it before this one looks again.
func (b *Builder) postpone(ctx context.Context, last events.Event, d *events.Delivery, why error, log *slog.Logger) error {
	n := last.Build.Clone()
	if n.State == rpmflow.Running { // its builder stopped responding
		lose(&n)
		n = requeued(n, d)
	}
	what, do := hint.Split(why)
	if n.Waits(rpmflow.Waiting{Builder: b.o.Name, Reason: what, Hint: do, Since: time.Now().UTC()}) || n.State != last.Build.State {
		if _, err := b.ledger.Append(ctx, events.TypeQueued, n, last.Sequence, "waiting", fmt.Sprint(last.Sequence), b.instance); err != nil {
			return err
		}
		log.Warn("the build waits", "why", what, "what_to_do", do)
	}
	b.told[n.ID] = n
	now := time.Now()
	b.postponed.add(now)
	delay := postponeFor + time.Duration(b.postponed.since(now.Add(-time.Minute)))*postponeEach
	delay += rand.N(time.Second) //nolint:gosec // not a secret: builders that look at regular times do not always meet the same messages
	until := now.Add(delay)
	if err := b.queue.Postpone(ctx, d, until); err != nil {
		return err
	}
	b.aside = until.Add(time.Second + 2*b.o.Poll)
	return nil
}

// recently counts events.
type recently struct{ times []time.Time }

func (r *recently) add(t time.Time) { r.times = append(r.times, t) }

// since counts the events after t, and forgets the others.
func (r *recently) since(t time.Time) int {
	for len(r.times) > 0 && r.times[0].Before(t) {
		r.times = r.times[1:]
	}
	return len(r.times)
}

// explanation is what queued builds were told already.
type explanation struct {
	reason string
	told   map[string]uint64 // by architecture: sequence of the last message in BUILDS
}

// explain writes into the records of builds that are queued why this builder takes none of them: its engine is not there. Their messages stay
// where they are.
func (b *Builder) explain(ctx context.Context, why error) {
	if reasonOf(why) != ReasonEngine {
		return
	}
	what, do := hint.Split(why)
	if b.explained.reason != what {
		b.explained = explanation{what, map[string]uint64{}}
	}
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	for _, arch := range b.o.Archs {
		for {
			m, err := b.queue.After(ctx, arch, b.explained.told[arch])
			if err == nil && m != nil && time.Since(m.At) >= explainAfter {
				err = b.tell(ctx, m.Build, rpmflow.Waiting{Builder: b.o.Name, Reason: what, Hint: do, Since: time.Now().UTC()})
			} else {
				m = nil
			}
			if err != nil {
				b.log.Debug("queued builds are not told why they wait", "error", err)
			}
			if err != nil || m == nil {
				break
			}
			b.explained.told[arch] = m.Sequence
		}
	}
}

func (b *Builder) tell(ctx context.Context, build rpmflow.Build, w rpmflow.Waiting) error {
	last, err := b.ledger.Last(ctx, build)
	if errors.Is(err, events.ErrNone) || err == nil && last.Build.State != rpmflow.Queued {
		return nil
	}
	if err != nil {
		return err
	}
	n := last.Build.Clone()
	if !n.Waits(w) {
		return nil
	}
	_, err = b.ledger.Append(ctx, events.TypeQueued, n, last.Sequence, "waiting", fmt.Sprint(last.Sequence), b.instance)
	if errors.Is(err, events.ErrLost) { // somebody takes it
		return nil
	}
	b.told[n.ID] = n
	return err
}

// retract takes back why builds wait that could begin now, if only there were a free slot.
func (b *Builder) retract(ctx context.Context) {
	if len(b.told) == 0 || time.Since(b.retracted) < lookEvery {
		return
	}
	b.retracted = time.Now()
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	if b.runner.Engine.Ready(ctx) != nil {
		return
	}
	served := map[string]error{}
	for id, build := range b.told {
		why, asked := served[build.Target]
		if !asked {
			why = b.serves(ctx, build.Target)
			served[build.Target] = why
		}
		if why != nil {
			continue
		}
		if err := b.takeBack(ctx, build); err != nil {
			b.log.Debug("queued builds are not told that they need not wait", "error", err)
			return
		}
		delete(b.told, id)
	}
}

func (b *Builder) takeBack(ctx context.Context, build rpmflow.Build) error {
	last, err := b.ledger.Last(ctx, build)
	if errors.Is(err, events.ErrNone) || err == nil && last.Build.State != rpmflow.Queued {
		return nil
	}
	if err != nil {
		return err
	}
	n := last.Build.Clone()
	n.Waiting = slices.DeleteFunc(n.Waiting, func(w rpmflow.Waiting) bool { return w.Builder == b.o.Name })
	if len(n.Waiting) == len(last.Build.Waiting) {
		return nil
	}
	if len(n.Waiting) == 0 {
		n.Waiting = nil
	}
	_, err = b.ledger.Append(ctx, events.TypeQueued, n, last.Sequence, "waiting", fmt.Sprint(last.Sequence), b.instance)
	if errors.Is(err, events.ErrLost) { // somebody takes it
		return nil
	}
	return err
}
