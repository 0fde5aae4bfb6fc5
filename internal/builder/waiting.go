package builder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/retry"
)

const (
	// postponeFor is after how long a build that could not start is delivered again, on average.
	postponeFor = 1500 * time.Millisecond
	// postponeEach is how much longer that is for each such build, so that many of them do not load NATS and the
	// builder.
	postponeEach = 25 * time.Millisecond
	// explainAfter is how long a build waits before its record says why this builder takes none: others may take it at
	// once.
	explainAfter = 2 * time.Second
)

// lookEvery is how often an idle builder checks for which targets it can build.
const lookEvery = 5 * time.Second

// serves reports whether the builder can build for a target now: the target is configured, and the engine has what it
// needs.
func (b *Builder) serves(ctx context.Context, name string) error {
	t, ok := b.target(name)
	if !ok {
		return hint.Add(fmt.Errorf("the target %q is not in the builder's configuration", name),
			"define it there and restart the builder, or start a builder that has it")
	}
	return b.runner.Engine.Serves(ctx, t)
}

// whyNot returns why the build cannot start here. An error says that no build can. A build that is only to be ended
// needs no engine.
func (b *Builder) whyNot(ctx context.Context, build rpmflow.Build) (why, err error) {
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
			b.recheck.Store(true)
			return nil, err
		}
	}
	b.status.serves(build.Target, why)
	return why, nil
}

// look keeps the status of targets up to date while there are no builds for them.
func (b *Builder) look(ctx context.Context) {
	if time.Since(b.looked) < lookEvery {
		return
	}
	b.looked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	for _, t := range b.o.Targets {
		if !slices.Contains(b.o.Archs, t.Arch) {
			continue // other builders build for it
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

// postpone makes a build wait that cannot start here. That spends no attempt, the record says why, and the message is
// delivered again soon, behind others. Other builders get it before this one looks again.
func (b *Builder) postpone(
	ctx context.Context, last events.Event, d *events.Message, why error, log *slog.Logger,
) error {
	n := last.Build.Clone()
	if n.State == rpmflow.Running { // its builder stopped responding
		countLostAttempt(&n)
		n = requeued(n, d)
	}
	what, do := hint.Split(why)
	entry := rpmflow.Waiting{Builder: b.o.Name, Reason: what, Hint: do, Since: time.Now().UTC()}
	if n.Waits(entry) || n.State != last.Build.State {
		if err := b.appendWaiting(ctx, n, last.Sequence); err != nil {
			return err
		}
		log.Warn("the build waits", "why", what, "what_to_do", do)
	}
	b.entries[n.ID] = n
	now := time.Now()
	b.postponed.add(now)
	delay := postponeFor + time.Duration(b.postponed.since(now.Add(-time.Minute)))*postponeEach
	until := now.Add(retry.Policy{First: delay}.Pause(1)) // else two builders could always get the same messages
	if err := b.queue.Postpone(ctx, d, until); err != nil {
		return err
	}
	b.notBefore = until.Add(time.Second + 2*b.o.Poll)
	return nil
}

// recentTimes counts what has happened recently.
type recentTimes struct{ times []time.Time }

func (r *recentTimes) add(t time.Time) { r.times = append(r.times, t) }

// since counts what has happened after t, and drops the rest.
func (r *recentTimes) since(t time.Time) int {
	for len(r.times) > 0 && r.times[0].Before(t) {
		r.times = r.times[1:]
	}
	return len(r.times)
}

// explanation is a reason that was added to queued builds.
type explanation struct {
	reason string
	done   map[string]uint64 // by architecture: the last message in BUILDS whose build has it
}

// explain adds to the records of queued builds why this builder takes none: its engine is not there. Their messages
// stay where they are.
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
			m, err := b.queue.After(ctx, arch, b.explained.done[arch])
			if err == nil && m != nil && time.Since(m.At) >= explainAfter {
				err = b.addWaiting(ctx, m.Build, rpmflow.Waiting{
					Builder: b.o.Name, Reason: what, Hint: do, Since: time.Now().UTC(),
				})
			} else {
				m = nil
			}
			if err != nil {
				b.log.Debug("records of queued builds do not say why they wait", "error", err)
			}
			if err != nil || m == nil {
				break
			}
			b.explained.done[arch] = m.Sequence
		}
	}
}

func (b *Builder) addWaiting(ctx context.Context, build rpmflow.Build, w rpmflow.Waiting) error {
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
	err = b.appendWaiting(ctx, n, last.Sequence)
	if errors.Is(err, events.ErrLost) { // another builder takes it
		return nil
	}
	b.entries[n.ID] = n
	return err
}

// retract removes the entries of this builder from builds that could start now if there were a free slot.
func (b *Builder) retract(ctx context.Context) {
	if len(b.entries) == 0 || time.Since(b.retracted) < lookEvery {
		return
	}
	b.retracted = time.Now()
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	if b.runner.Engine.Ready(ctx) != nil {
		return
	}
	served := map[string]error{}
	for id, build := range b.entries {
		why, asked := served[build.Target]
		if !asked {
			why = b.serves(ctx, build.Target)
			served[build.Target] = why
		}
		if why != nil {
			continue
		}
		if err := b.removeWaiting(ctx, build); err != nil {
			b.log.Debug("records of queued builds still say why they waited", "error", err)
			return
		}
		delete(b.entries, id)
	}
}

func (b *Builder) removeWaiting(ctx context.Context, build rpmflow.Build) error {
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
	err = b.appendWaiting(ctx, n, last.Sequence)
	if errors.Is(err, events.ErrLost) { // another builder takes it
		return nil
	}
	return err
}

// appendWaiting publishes the record of a queued build with other entries.
func (b *Builder) appendWaiting(ctx context.Context, n rpmflow.Build, after uint64) error {
	_, err := b.ledger.Append(ctx, events.TypeQueued, n, after, "waiting", fmt.Sprint(after), b.instance)
	return err
}
