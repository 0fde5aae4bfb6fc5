package builder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/events"
)

// owner runs a claimed build to its end. Everything it publishes is fenced behind its own last event.
type owner struct {
	*Builder
	d    *events.Message
	log  *slog.Logger
	live *events.LogWriter // takes the log that is watched live

	canceled context.Context // ends when the build is to be canceled; its cause becomes the outcome
	cancel   context.CancelCauseFunc

	mu   sync.Mutex
	held ownedBuild
}

func (b *Builder) newOwner(d *events.Message, claimed ownedBuild, log *slog.Logger) *owner {
	o := &owner{Builder: b, d: d, log: log, live: b.logs.Writer(claimed.build.ID), held: claimed}
	o.canceled, o.cancel = context.WithCancelCause(context.Background())
	return o
}

// handle runs the attempt and publishes what came of it.
func (o *owner) handle(ctx, hard context.Context) {
	defer o.cancel(nil)
	o.log.Info("build claimed", "failures", o.held.build.InfrastructureFailures)
	b, err := o.run(ctx, hard)
	sctx, cancel := settleContext(ctx)
	var beats sync.WaitGroup
	defer beats.Wait()
	defer cancel()
	beats.Go(func() { o.heartbeats(sctx, func() bool { return true }) }) // publishing the outcome may take long
	if errors.Is(err, events.ErrLost) {
		o.log.Warn("build lost to another builder, leaving it alone", "error", err)
		o.closeLog(sctx, false)
		return
	}
	if err != nil {
		b = o.current()
	}
	o.end(sctx, b, err)
}

// settleContext is a context for what must be published after a build, also if its own context has ended.
func settleContext(ctx context.Context) (context.Context, context.CancelFunc) {
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWait)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(drainWait):
			cancel()
		case <-sctx.Done():
		}
	})
	return sctx, func() { stop(); cancel() }
}

// errCanceled means that the build is to be canceled, so that no other end of it may be published.
var errCanceled = errors.New("the build was canceled")

// publish appends an event of this attempt; afterwards the record is the new one. When the build is to be canceled,
// phases are still published, as it goes to its upload, and no other end than that.
func (o *owner) publish(ctx context.Context, t events.Type, b rpmflow.Build, distinguish ...string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	words := append([]string{o.instance}, distinguish...)
	for {
		b.Cancel = o.held.build.Cancel
		if b.Cancel != nil && t != events.TypePhase && (b.Outcome == nil || b.Outcome.Kind != rpmflow.FailureCanceled) {
			return errCanceled
		}
		seq, err := o.ledger.Append(ctx, t, b, o.held.sequence, words...)
		if err == nil {
			o.held = ownedBuild{b, seq}
			return nil
		}
		if !errors.Is(err, events.ErrLost) {
			return err
		}
		// A publish that was interrupted may have been stored, and then our own event is in the way. Or it is a request
		// to cancel.
		last, readErr := o.ledger.Last(ctx, b)
		if readErr != nil || !o.ours(last) || last.Sequence <= o.held.sequence {
			return err
		}
		o.observe(last)
	}
}

// current is the record as it was published last.
func (o *owner) current() rpmflow.Build {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held.build.Clone()
}

// ours reports whether an event is of our attempt: one claim alone wins an attempt's number.
func (o *owner) ours(e events.Event) bool {
	return e.Build.State == rpmflow.Running && e.Build.Attempt == o.held.build.Attempt
}

// observe takes in an event of our attempt that this call has not published. If it is a request to cancel, the build is
// stopped.
func (o *owner) observe(last events.Event) {
	o.held.sequence = last.Sequence
	if c := last.Build.Cancel; c != nil && o.held.build.Cancel == nil {
		o.held.build.Cancel = c
		why := c.Failure()
		o.log.Info("stopping the build", "why", why)
		fmt.Fprintf(o.live, "rpmflow: %v\n", why)
		o.cancel(why)
	}
}

// run runs the attempt under heartbeats. Its error says that there is no outcome: lost, or interrupted.
func (o *owner) run(ctx, hard context.Context) (rpmflow.Build, error) {
	rctx, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	defer context.AfterFunc(hard, func() { stop(errDrained) })()
	defer context.AfterFunc(ctx, func() {
		o.log.Info("shutting down: the build may continue for the drain time", "drain_time", o.o.DrainTime)
		timer := time.NewTimer(o.o.DrainTime)
		defer timer.Stop()
		select {
		case <-timer.C:
			stop(errDrained)
		case <-rctx.Done():
		}
	})()
	look := func() bool {
		err := o.stillOurs(rctx)
		if errors.Is(err, events.ErrLost) {
			stop(err)
		}
		return !errors.Is(err, events.ErrLost)
	}
	var beats sync.WaitGroup
	// While NATS is out of reach there are no heartbeats and no looks: the build continues, and EVENTS decides
	// afterwards.
	beats.Go(func() { o.heartbeats(rctx, look) })
	notices, stopNotices, err := o.queue.CancelNotices(o.held.build.ID)
	if err != nil {
		o.log.Warn("a request to cancel the build is seen with the next heartbeat only", "error", err)
	} else {
		defer stopNotices()
		beats.Go(func() { watch(rctx, notices, look) })
	}
	if o.held.build.Attempt > 1 {
		beats.Go(func() { o.sweep(rctx) }) // an earlier attempt may have died on this engine
	}
	b, err := o.attempt(rctx)
	stop(nil)
	beats.Wait()
	return b, err
}

// watch looks at EVENTS with each notice, until ctx ends or look reports that there is nothing more to look for.
func watch(ctx context.Context, notices <-chan struct{}, look func() bool) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-notices:
			if !look() {
				return
			}
		}
	}
}

// attempt runs the build. If that cannot begin, the outcome says why.
func (o *owner) attempt(ctx context.Context) (rpmflow.Build, error) {
	b := o.current()
	failed := func(err error) (rpmflow.Build, error) {
		out := rpmflow.OutcomeOf(b.Phase, err)
		b.Outcome = &out
		fmt.Fprintf(o.live, "rpmflow: %s: %v\n", b.Phase, err)
		return b, nil
	}
	if b.LostAttempts > maxLost {
		return failed(fmt.Errorf("%d builders stopped responding during this build; the build may be the cause",
			b.LostAttempts))
	}
	target, ok := o.target(b.Target)
	if !ok {
		return failed(fmt.Errorf("target %q is not in the configuration of builder %s: define it there", b.Target,
			o.o.Name))
	}
	dir, err := attemptDir(o.work, b)
	if err != nil {
		return failed(err)
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			o.log.Warn("work directory of the attempt not removed", "error", err)
		}
	}()
	return o.runner.Run(ctx, build.Attempt{
		Build: b, Target: target, Dir: dir, Log: o.live, Cancel: o.canceled,
		Report: func(ctx context.Context, b rpmflow.Build) error {
			return o.publish(ctx, events.TypePhase, b, string(b.Phase))
		},
	})
}

// heartbeats keeps the message from others until ctx ends or goOn returns false.
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

// stillOurs reads EVENTS: does the build belong to this attempt, and is it to be canceled?
func (o *owner) stillOurs(ctx context.Context) error {
	o.mu.Lock() // not between a publish and the update of held
	defer o.mu.Unlock()
	last, err := o.ledger.Last(ctx, o.held.build)
	if err != nil {
		return err
	}
	if !o.ours(last) {
		return fmt.Errorf("%w: %s event of attempt %d by %s",
			events.ErrLost, last.Type, last.Build.Attempt, last.Build.Builder)
	}
	o.observe(last)
	return nil
}
