package builder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
)

// givenUp reports whether so many builders fell silent over the build that nobody is to try it again.
func (o *owner) givenUp() bool { return o.held.build.LostAttempts > maxLost }

// retryable reports whether the outcome is our failure, and not the last one; b counts the failures before it.
func (o *owner) retryable(b rpmflow.Build) bool {
	return b.Outcome.Kind == rpmflow.FailureInfrastructure && b.InfrastructureFailures+1 < o.o.MaxFailures && !o.givenUp()
}

// finish publishes the outcome, or another attempt when it was our fault, and only then acknowledges the message.
func (o *owner) finish(ctx context.Context, b rpmflow.Build) {
	if b.Cancel = o.current().Cancel; b.Cancel != nil {
		b = b.Canceled(time.Now())
		o.record(ctx, b, o.log)
		o.announce(ctx, b)
		return
	}
	b.LeavePhase(time.Now())
	again := o.retryable(b)
	if b.Outcome.Kind == rpmflow.FailureInfrastructure {
		o.doubt.Store(true)
	}
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
	if b.Outcome.Kind == rpmflow.FailureInfrastructure { // of the others it is stored already
		o.record(ctx, b, o.log)
	}
	o.announce(ctx, b)
}

// record stores a copy of the final record.
func (b *Builder) record(ctx context.Context, final rpmflow.Build, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, recordWait)
	defer cancel()
	if err := b.runner.Store.PutJSON(ctx, final.Prefix()+"build.json", final); err != nil {
		log.Warn("record not stored; the finished event has it", "error", err)
	}
}

// announce publishes the finished event and acknowledges the message.
func (o *owner) announce(ctx context.Context, b rpmflow.Build) {
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
	if errors.Is(err, errCanceled) { // between our last look and now
		o.finish(ctx, b)
		return
	}
	if err != nil {
		o.log.Error("outcome not published: the build is built anew by whoever gets its message", "error", err)
		return
	}
	o.status.metrics.ended(b)
	o.log.Info("build finished", "result", b.Outcome.Result, "kind", b.Outcome.Kind, "phase", b.Outcome.Phase, "message", b.Outcome.Message, "artifacts", len(b.Artifacts))
	o.done(ctx)
}

// retry publishes that the build waits again, sends its new message, and only then lets the old one go: whoever finds the event without
// the message sends it.
func (o *owner) retry(ctx context.Context, b rpmflow.Build) {
	delay := o.delay(b.InfrastructureFailures)
	n := o.waiting(b, fmt.Sprintf("attempt %d failed for reasons of the infrastructure (%s: %s); tried again after %s", b.Attempt, b.Outcome.Phase, b.Outcome.Message, delay))
	err := o.publish(ctx, events.TypeQueued, n)
	if errors.Is(err, errCanceled) {
		o.finish(ctx, b)
		return
	}
	if err != nil {
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
	b := o.current()
	b.LeavePhase(time.Now())
	n := o.waiting(b, fmt.Sprintf("attempt %d was interrupted: %v", b.Attempt, why))
	err := o.publish(ctx, events.TypeQueued, n)
	if errors.Is(err, errCanceled) { // then it is over, and nobody's any more
		o.finish(ctx, b)
		return
	}
	if err != nil {
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
	n := requeued(b, o.d)
	n.Notes = append(n.Notes, note)
	return n
}

// requeued is the record of a build that is queued again, as it was asked for in its message. The last attempt's message tells it
// from a new request.
func requeued(b rpmflow.Build, d *events.Delivery) rpmflow.Build {
	n := b.Clone()
	n.State, n.BuildRequest = rpmflow.Queued, d.Build.BuildRequest
	n.BuildAttempt = rpmflow.BuildAttempt{QueueSequence: b.QueueSequence, Engine: b.Engine}
	n.BuildResult = rpmflow.BuildResult{}
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
