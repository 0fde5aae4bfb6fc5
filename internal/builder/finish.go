package builder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/retry"
)

// step is what an owner does next to end its attempt.
type step string

const (
	stepFinish   step = "finish"    // publish the outcome
	stepCancel   step = "cancel"    // publish that the build is canceled
	stepShorten  step = "shorten"   // publish a failure in place of a record that is too large
	stepRetry    step = "retry"     // publish that the build waits for another attempt; this one counts as a failure
	stepHandBack step = "hand back" // publish that the build waits for another attempt; this one does not count
	stepWait     step = "wait"      // publish the same again after a pause
	stepSettle   step = "settle"    // it is published: acknowledge or release the message
	stepLeave    step = "leave"     // leave the message: it is delivered again after the ack wait
)

// published is what came of publishing the event of a step.
type published string

const (
	publishedNone     published = ""          // nothing was published yet
	publishedOK       published = "ok"        // it is stored
	publishedFull     published = "full"      // EVENTS takes no more messages
	publishedTooLarge published = "too large" // the record does not fit into a message
	publishedCanceled published = "canceled"  // refused: the build is to be canceled
	publishedLost     published = "lost"      // refused: another builder owns the build
	publishedFailed   published = "failed"    // NATS was away for too long
)

// situation is what the end of an attempt is decided on.
type situation struct {
	canceled       bool // the build is to be canceled
	interrupted    bool // the attempt has no outcome
	infrastructure bool // its outcome is a failure of the infrastructure
	failures       int  // of the infrastructure, of the attempts before this one
	maxFailures    int  // with which a build is given up
	lost           int  // attempts whose builder stopped sending heartbeats
	tried          step // whose event was published last
	published      published
}

// next decides how the end of an attempt goes on.
func next(s situation) step {
	switch s.published {
	case publishedNone, publishedCanceled:
		switch {
		case s.canceled, s.published == publishedCanceled:
			return stepCancel
		case s.interrupted:
			return stepHandBack
		case s.infrastructure && s.failures+1 < s.maxFailures && s.lost <= maxLost:
			return stepRetry
		}
		return stepFinish
	case publishedOK:
		return stepSettle
	case publishedFull:
		if s.tried.final() { // the build is done, which is worth waiting for
			return stepWait
		}
	case publishedTooLarge:
		if s.tried == stepFinish || s.tried == stepCancel {
			return stepShorten
		}
	}
	return stepLeave
}

// final reports whether the step's event is the build's last.
func (s step) final() bool { return s == stepFinish || s == stepCancel || s == stepShorten }

// event is the type of the step's event.
func (s step) event() events.Type {
	if s.final() {
		return events.TypeFinished
	}
	return events.TypeQueued
}

func publishedAs(err error) published {
	switch {
	case err == nil:
		return publishedOK
	case errors.Is(err, events.ErrFull):
		return publishedFull
	case errors.Is(err, events.ErrTooLarge):
		return publishedTooLarge
	case errors.Is(err, errCanceled):
		return publishedCanceled
	case errors.Is(err, events.ErrLost):
		return publishedLost
	}
	return publishedFailed
}

// end publishes what came of the attempt, and then settles its message. An attempt without an outcome was interrupted
// by interruption. A final record is stored before it is published.
func (o *owner) end(ctx context.Context, b rpmflow.Build, interruption error) {
	b.LeavePhase(time.Now())
	s := situation{
		interrupted: interruption != nil, infrastructure: isInfrastructure(b.Outcome),
		failures:    b.InfrastructureFailures,
		maxFailures: o.o.MaxFailures, lost: b.LostAttempts,
	}
	if s.infrastructure && o.current().Cancel == nil {
		o.recheck.Store(true)
	}
	var n rpmflow.Build
	var err error
	for {
		b.Cancel = o.current().Cancel
		s.canceled = b.Cancel != nil
		todo := next(s)
		switch todo {
		case stepLeave:
			o.log.Error("outcome not published: the build starts again when its message is delivered again",
				"step", s.tried, "error", err)
			return
		case stepSettle:
			o.settle(ctx, s.tried, n, interruption)
			return
		case stepWait:
			pause := retry.Policy{First: fullPause}.Pause(1)
			o.log.Error("outcome not published yet, trying again", "in", pause, "error", err)
			if !retry.Sleep(ctx, pause) {
				s.published = publishedFailed
				continue
			}
			todo = s.tried
		case stepShorten:
			n = shortened(n, err)
		default:
			n = o.recordAfter(todo, b, interruption)
			if err := o.storeFinal(ctx, todo, n); err != nil {
				err = fmt.Errorf("store the record: %w", err)
				fmt.Fprintf(o.live, "rpmflow: %s: %v\n", rpmflow.PhaseUpload, err)
				out := rpmflow.OutcomeOf(rpmflow.PhaseUpload, err)
				b.Outcome, b.Packages, b.Artifacts, s.infrastructure = &out, nil, nil, true
				continue
			}
			o.closeLog(ctx, todo.final())
		}
		err = o.publish(ctx, todo.event(), n)
		s.tried, s.published = todo, publishedAs(err)
	}
}

func isInfrastructure(o *rpmflow.Outcome) bool {
	return o != nil && o.Kind == rpmflow.FailureInfrastructure
}

// recordAfter is the record that a step publishes.
func (o *owner) recordAfter(todo step, b rpmflow.Build, interruption error) rpmflow.Build {
	now := time.Now()
	switch todo {
	case stepCancel:
		return b.Canceled(now)
	case stepHandBack:
		n := requeued(b, o.d)
		n.Notes = append(n.Notes, fmt.Sprintf("attempt %d was interrupted: %v", b.Attempt, interruption))
		return n
	case stepRetry:
		n := requeued(b, o.d)
		n.InfrastructureFailures++
		n.Notes = append(n.Notes, fmt.Sprintf("attempt %d failed for reasons of the infrastructure (%s: %s); "+
			"tried again after %s", b.Attempt, b.Outcome.Phase, b.Outcome.Message, o.delay(n.InfrastructureFailures)))
		return n
	}
	n := b.Clone()
	if isInfrastructure(n.Outcome) && n.LostAttempts <= maxLost {
		n.InfrastructureFailures++
	}
	if n.State = rpmflow.Finished; n.FinishedAt == nil {
		finished := now.UTC()
		n.FinishedAt = &finished
	}
	return n
}

// requeued is the record of a build that is queued again, as it was asked for in its message. The last attempt's
// message distinguishes it from a new request.
func requeued(b rpmflow.Build, d *events.Message) rpmflow.Build {
	n := b.Clone()
	n.State, n.BuildRequest = rpmflow.Queued, d.Build.BuildRequest
	n.BuildAttempt = rpmflow.BuildAttempt{QueueSequence: b.QueueSequence, Engine: b.Engine}
	n.BuildResult = rpmflow.BuildResult{}
	return n
}

// shortened is a final record that fits into a message. The stored record stays the whole one.
func shortened(b rpmflow.Build, why error) rpmflow.Build {
	if b.Cancel == nil {
		out := rpmflow.OutcomeOf(b.Phase, fmt.Errorf("announce %d artifacts: %w", len(b.Artifacts), why))
		b.Outcome = &out
	}
	b.Packages, b.Artifacts, b.Notes = nil, nil, nil
	return b
}

// storeFinal stores the record of a build that ends with this step. An error says that the step must not be published:
// only a record that tells of a failure of the infrastructure or of a cancellation may be missing.
func (b *Builder) storeFinal(ctx context.Context, todo step, final rpmflow.Build) error {
	if !todo.final() {
		return nil
	}
	wait := recordWait
	optional := todo == stepCancel || isInfrastructure(final.Outcome)
	if optional {
		wait = optionalRecordWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := build.StoreRecord(ctx, b.runner.Store, final)
	if err != nil && optional {
		b.log.Warn("record not stored; the finished event has it", "project", final.Project, "target", final.Target,
			"build", final.ID, "attempt", final.Attempt, "error", err)
		return nil
	}
	return err
}

// settle acknowledges or releases the message of a build whose event is published.
func (o *owner) settle(ctx context.Context, did step, b rpmflow.Build, interruption error) {
	switch did {
	case stepHandBack:
		o.log.Info("build handed back", "why", interruption)
		release(o.d, o.log)
		if err := o.queue.AnnounceWork(b.Arch); err != nil {
			o.log.Debug("other builders are not notified: they find it with their next poll", "error", err)
		}
		return
	case stepRetry:
		delay := o.delay(b.InfrastructureFailures)
		o.log.Warn("attempt failed for reasons of the infrastructure, trying again",
			"in", delay, "why", b.Notes[len(b.Notes)-1])
		// The new message is sent before the old one is acknowledged. If this fails, the builder that gets the old
		// message sends it.
		if err := o.queue.Enqueue(ctx, b, time.Now().Add(delay)); err != nil {
			o.log.Error("message of the retry not sent: done when the old one is delivered again", "error", err)
			return
		}
	default:
		o.status.metrics.ended(b)
		o.log.Info("build finished", "result", b.Outcome.Result, "kind", b.Outcome.Kind, "phase", b.Outcome.Phase,
			"message", b.Outcome.Message, "artifacts", len(b.Artifacts))
	}
	if err := o.d.Done(ctx); err != nil {
		o.log.Warn("message not acknowledged: it is delivered again and dropped then", "error", err)
	}
}

// closeLog sends the rest of the live log, and marks its end if end is set.
func (o *owner) closeLog(ctx context.Context, end bool) {
	ctx, cancel := context.WithTimeout(ctx, drainWait)
	defer cancel()
	o.live.Close(ctx, end)
}
