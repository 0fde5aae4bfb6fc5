package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/events"
)

// owner sees a claimed build through. Everything it publishes is fenced behind its own last event.
type owner struct {
	*Builder
	d   *events.Delivery
	log *slog.Logger

	mu   sync.Mutex
	held held
}

// publish appends an event of ours; afterwards the record is the new one.
func (o *owner) publish(ctx context.Context, t events.Type, b rpmflow.Build, distinguish ...string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	words := append([]string{o.instance}, distinguish...)
	seq, err := o.ledger.Append(ctx, t, b, o.held.sequence, words...)
	if errors.Is(err, events.ErrLost) {
		// A publish that was broken off may have been stored all the same, and then we are fenced out by ourselves.
		last, readErr := o.ledger.Last(ctx, b)
		if readErr == nil && o.ours(last) && last.Sequence > o.held.sequence {
			seq, err = o.ledger.Append(ctx, t, b, last.Sequence, words...)
		}
	}
	if err == nil {
		o.held = held{b, seq}
	}
	return err
}

// ours reports whether an event is of our attempt: one claim alone wins an attempt's number.
func (o *owner) ours(e events.Event) bool {
	return e.Build.State == rpmflow.Running && e.Build.Attempt == o.held.build.Attempt
}

// run runs the attempt under heartbeats. Its error says that there is no outcome: lost, or interrupted.
func (o *owner) run(ctx, hard context.Context) (rpmflow.Build, error) {
	rctx, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	defer context.AfterFunc(hard, func() { stop(errDrained) })()
	defer context.AfterFunc(ctx, func() {
		o.log.Info("shutting down: the build may go on for the drain time", "drain_time", o.o.DrainTime)
		timer := time.NewTimer(o.o.DrainTime)
		defer timer.Stop()
		select {
		case <-timer.C:
			stop(errDrained)
		case <-rctx.Done():
		}
	})()
	var beats sync.WaitGroup
	beats.Go(func() { o.beat(rctx, stop) })
	if o.held.build.Attempt > 1 {
		beats.Go(func() { o.sweep(rctx) }) // an earlier attempt may have died on this engine
	}
	b, err := o.attempt(rctx)
	stop(nil)
	beats.Wait()
	return b, err
}

// attempt runs the build, with what is to be watched of it on its way; the log is marked as ended when nothing more will come.
func (o *owner) attempt(ctx context.Context) (rpmflow.Build, error) {
	w := o.logs.Writer(o.held.build.ID)
	b, err := o.build(ctx, w)
	cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWait)
	defer cancel()
	w.Close(cctx, err == nil && !o.retryable(b))
	return b, err
}

func (o *owner) build(ctx context.Context, live io.Writer) (rpmflow.Build, error) {
	b := o.held.build
	spoiled := func(err error) (rpmflow.Build, error) {
		out := rpmflow.OutcomeOf(b.Phase, err)
		b.Outcome = &out
		fmt.Fprintf(live, "rpmflow: %s: %v\n", b.Phase, err)
		return b, nil
	}
	if o.givenUp() {
		return spoiled(fmt.Errorf("%d builders fell silent in the middle of this build; it may be what makes them fail", b.LostAttempts))
	}
	target, ok := o.target(b.Target)
	if !ok {
		return spoiled(fmt.Errorf("builder %s knows no target %q: define it in its configuration", o.o.Name, b.Target))
	}
	dir, err := o.work.attempt(b)
	if err != nil {
		return spoiled(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			o.log.Warn("work directory of the attempt not removed", "error", err)
		}
	}()
	return o.runner.Run(ctx, build.Attempt{Build: b, Target: target, Dir: dir, Log: live, Report: func(ctx context.Context, b rpmflow.Build) error {
		return o.publish(ctx, events.TypePhase, b, string(b.Phase))
	}})
}

// beat keeps the message from others, and looks whether the build still is ours. While NATS is out of reach it can do
// neither: the build goes on, and EVENTS decides afterwards.
func (o *owner) beat(ctx context.Context, stop context.CancelCauseFunc) {
	o.heartbeats(ctx, func() bool {
		err := o.stillOurs(ctx)
		if errors.Is(err, events.ErrLost) {
			stop(err)
			return false
		}
		return true
	})
}

// heartbeats keeps the message from others until ctx ends or goOn says no.
func (o *owner) heartbeats(ctx context.Context, goOn func() bool) {
	tick := time.NewTicker(o.o.AckWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := o.d.Heartbeat(); err != nil {
			o.log.Warn("no heartbeat", "error", err)
		}
		if !goOn() {
			return
		}
	}
}

func (o *owner) stillOurs(ctx context.Context) error {
	o.mu.Lock() // not between a publish and its note
	defer o.mu.Unlock()
	last, err := o.ledger.Last(ctx, o.held.build)
	if err == nil && !o.ours(last) {
		return fmt.Errorf("%w: %s event of attempt %d by %s", events.ErrLost, last.Type, last.Build.Attempt, last.Build.Builder)
	}
	return err
}

// givenUp reports whether so many builders fell silent over the build that nobody is to try it again.
func (o *owner) givenUp() bool { return o.held.build.LostAttempts > maxLost }

// retryable reports whether the outcome is our failure, and not the last one; b counts the failures before it.
func (o *owner) retryable(b rpmflow.Build) bool {
	return b.Outcome.Kind == rpmflow.FailureInfrastructure && b.InfrastructureFailures+1 < o.o.MaxFailures && !o.givenUp()
}

// finish publishes the outcome, or another attempt when it was our fault, and only then acknowledges the message.
func (o *owner) finish(ctx context.Context, b rpmflow.Build) {
	b.LeavePhase(time.Now())
	again := o.retryable(b)
	if b.Outcome.Kind == rpmflow.FailureInfrastructure && !o.givenUp() {
		b.InfrastructureFailures++
	}
	if again {
		o.retry(ctx, b)
		return
	}
	if b.FinishedAt == nil {
		now := time.Now().UTC()
		b.FinishedAt = &now
	}
	b.State = rpmflow.Finished
	if b.Outcome.Kind == rpmflow.FailureInfrastructure { // of the others the record is stored already
		pctx, cancel := context.WithTimeout(ctx, recordWait)
		if err := o.runner.Store.PutJSON(pctx, b.Prefix()+"build.json", b); err != nil {
			o.log.Warn("record not stored; the finished event has it", "error", err)
		}
		cancel()
	}
	err := o.publish(ctx, events.TypeFinished, b)
	for errors.Is(err, events.ErrFull) && sleep(ctx, fullPause) { // worth waiting for: the build is done
		o.log.Error("outcome not published yet, trying again", "in", fullPause, "error", err)
		err = o.publish(ctx, events.TypeFinished, b)
	}
	if errors.Is(err, events.ErrTooLarge) { // and will be next time: it ends here, and build.json has the whole record
		out := rpmflow.OutcomeOf(b.Phase, fmt.Errorf("announce %d artifacts: %w", len(b.Artifacts), err))
		b.Outcome, b.Packages, b.Artifacts, b.Notes = &out, nil, nil, nil
		err = o.publish(ctx, events.TypeFinished, b)
	}
	if err != nil {
		o.log.Error("outcome not published: the build is built anew by whoever gets its message", "error", err)
		return
	}
	o.log.Info("build finished", "result", b.Outcome.Result, "kind", b.Outcome.Kind, "phase", b.Outcome.Phase, "message", b.Outcome.Message, "artifacts", len(b.Artifacts))
	o.done(ctx)
}

// retry publishes that the build waits again, sends its new message, and only then lets the old one go: whoever finds the event without
// the message sends it.
func (o *owner) retry(ctx context.Context, b rpmflow.Build) {
	delay := o.delay(b.InfrastructureFailures)
	n := o.waiting(b, fmt.Sprintf("attempt %d failed for reasons of the infrastructure (%s: %s); tried again after %s", b.Attempt, b.Outcome.Phase, b.Outcome.Message, delay))
	if err := o.publish(ctx, events.TypeQueued, n); err != nil {
		o.log.Error("retry not published: the build is built anew by whoever gets its message", "error", err)
		return
	}
	o.log.Warn("attempt failed for reasons of the infrastructure, trying again", "in", delay, "phase", b.Outcome.Phase, "error", b.Outcome.Message)
	if err := o.queue.Enqueue(ctx, n, time.Now().Add(delay)); err != nil {
		o.log.Error("message of the retry not sent: done when the old one comes again", "error", err)
		return
	}
	o.done(ctx)
}

// handBack gives an interrupted build to others, with no attempt spent.
func (o *owner) handBack(ctx context.Context, why error) {
	b := o.held.build.Clone()
	b.LeavePhase(time.Now())
	n := o.waiting(b, fmt.Sprintf("attempt %d was interrupted: %v", b.Attempt, why))
	if err := o.publish(ctx, events.TypeQueued, n); err != nil {
		o.log.Warn("build not handed back: others get it after the ack wait", "error", err)
		return
	}
	o.log.Info("build handed back", "why", why)
	release(o.d, o.log)
	if err := o.queue.Rouse(b.Arch); err != nil {
		o.log.Debug("others are not told: they look for themselves", "error", err)
	}
}

// waiting is the record of a build that waits for another attempt.
func (o *owner) waiting(b rpmflow.Build, note string) rpmflow.Build {
	n := b.Clone()
	n.Layout, n.Spec = o.d.Build.Layout, o.d.Build.Spec
	n.State, n.Phase, n.Phases, n.Builder, n.StartedAt, n.FinishedAt = rpmflow.Queued, "", nil, "", nil, nil
	n.Outcome, n.Packages, n.Artifacts, n.Containers, n.Root = nil, nil, nil, nil, nil
	n.Notes = append(n.Notes, note)
	return n
}

func (o *owner) done(ctx context.Context) {
	if err := o.d.Done(ctx); err != nil {
		o.log.Warn("message not acknowledged: it comes again and is dropped then", "error", err)
	}
}

// sleep waits, and reports whether it did so to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
