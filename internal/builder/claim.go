package builder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/events"
)

// ownedBuild is a build that this process owns: the record, and the sequence of its last event, on which the next one
// is fenced.
type ownedBuild struct {
	build    rpmflow.Build
	sequence uint64
}

// move is what is done with a delivered message.
type move string

const (
	moveClaim   move = "claim"   // start an attempt
	moveDrop    move = "drop"    // the message is out of date
	moveRequeue move = "requeue" // the message of the retry may not have been sent: send it, then drop this one
	moveCheck   move = "check"   // the build runs under another message: is that one still in the queue?
	moveRecord  move = "record"  // the build was canceled while it was queued: store its record, then drop the message
	moveCancel  move = "cancel"  // no builder runs the build, and it is to be canceled: finish it
)

// decide compares a message with the build's last event.
func decide(last events.Event, d *events.Message) move {
	b := last.Build
	switch b.State {
	case rpmflow.Finished:
		if b.Builder == "" { // the listener has ended it, which cannot write there
			return moveRecord
		}
		return moveDrop
	case rpmflow.Queued:
		if d.Build.InfrastructureFailures < b.InfrastructureFailures {
			return moveRequeue // the builder died between the event and the message of the retry
		}
		return moveClaim
	default:
		if b.QueueSequence == d.Sequence {
			return abandoned(b) // its owner has sent no heartbeat for a whole ack wait
		}
		return moveCheck
	}
}

// abandoned decides about a build that has lost its owner.
func abandoned(b rpmflow.Build) move {
	if b.Cancel != nil {
		return moveCancel
	}
	return moveClaim
}

// claim makes this builder the owner of the build, or settles a message for which there is nothing to do.
func (b *Builder) claim(ctx context.Context, d *events.Message, log *slog.Logger) (ownedBuild, bool, error) {
	for refused := false; ; refused = true {
		last, err := b.ledger.Last(ctx, d.Build)
		if errors.Is(err, events.ErrNone) {
			log.Info("message of a build without events dropped: it ended long ago")
			return ownedBuild{}, false, d.Done(ctx)
		}
		if err != nil {
			return ownedBuild{}, false, err
		}
		m, err := b.resolve(ctx, last, d)
		if err != nil {
			return ownedBuild{}, false, err
		}
		switch m {
		case moveRecord:
			err = build.StoreRecord(ctx, b.runner.Store, last.Build)
		case moveRequeue:
			err = b.queue.Enqueue(ctx, last.Build, time.Time{})
		}
		if err != nil {
			return ownedBuild{}, false, err
		}
		if m == moveDrop || m == moveRecord || m == moveRequeue {
			log.Info("message dropped", "state", last.Build.State, "why", string(m))
			return ownedBuild{}, false, d.Done(ctx)
		}
		if refused { // another builder has this message now: neither acknowledge nor release it
			log.Info("build claimed by another", "builder", last.Build.Builder)
			return ownedBuild{}, false, nil
		}
		if m == moveCancel {
			err := b.endCanceled(ctx, last, log)
			if errors.Is(err, events.ErrLost) {
				continue
			}
			return ownedBuild{}, false, errors.Join(err, d.Done(ctx))
		}
		why, err := b.whyNot(ctx, last.Build)
		if err != nil {
			return ownedBuild{}, false, err
		}
		if why != nil {
			err := b.postpone(ctx, last, d, why, log)
			if errors.Is(err, events.ErrLost) {
				continue
			}
			return ownedBuild{}, false, err
		}
		h, err := b.begin(ctx, last, d)
		if !errors.Is(err, events.ErrLost) {
			return h, err == nil, err
		}
		// Another builder was first. Most likely there are two messages of the build, and this one is out of date: look
		// again.
	}
}

// resolve decides, and replaces moveCheck.
func (b *Builder) resolve(ctx context.Context, last events.Event, d *events.Message) (move, error) {
	m := decide(last, d)
	if m != moveCheck {
		return m, nil
	}
	there, err := b.queue.Holds(ctx, last.Build.QueueSequence)
	if there { // a second message of the same build: its owner holds the first
		return moveDrop, err
	}
	return abandoned(last.Build), err
}

// begin publishes the claim: the started event of the next attempt.
func (b *Builder) begin(ctx context.Context, last events.Event, d *events.Message) (ownedBuild, error) {
	attempt := rpmflow.BuildAttempt{Builder: b.o.Name, QueueSequence: d.Sequence, Engine: b.runner.Engine.Name()}
	n := nextAttempt(last.Build, d.Build.BuildRequest, attempt, time.Now())
	seq, err := b.ledger.Append(ctx, events.TypeStarted, n, last.Sequence, b.instance)
	return ownedBuild{n, seq}, err
}

// nextAttempt is the record at the start of an attempt: of the attempt before it only the counters and notes are kept.
func nextAttempt(
	b rpmflow.Build, request rpmflow.BuildRequest, attempt rpmflow.BuildAttempt, now time.Time,
) rpmflow.Build {
	n := b.Clone()
	if n.State == rpmflow.Running {
		countLostAttempt(&n)
	}
	started := now.UTC()
	attempt.StartedAt = &started
	n.BuildRequest, n.BuildAttempt, n.BuildResult = request, attempt, rpmflow.BuildResult{}
	n.State, n.Attempt, n.Waiting = rpmflow.Running, n.Attempt+1, nil
	n.EnterPhase(rpmflow.PhaseClaim, now)
	return n
}

// countLostAttempt records that the attempt's builder stopped responding.
func countLostAttempt(b *rpmflow.Build) {
	b.LostAttempts++
	note := fmt.Sprintf("attempt %d was interrupted: builder %s stopped responding", b.Attempt, b.Builder)
	b.Notes = append(b.Notes, note)
}

// endCanceled ends a build whose builder stopped sending heartbeats after a request to cancel it.
func (b *Builder) endCanceled(ctx context.Context, last events.Event, log *slog.Logger) error {
	n := last.Build.Clone()
	countLostAttempt(&n)
	n = n.Canceled(time.Now())
	if err := b.storeFinal(ctx, stepCancel, n); err != nil {
		return err
	}
	if _, err := b.ledger.Append(ctx, events.TypeFinished, n, last.Sequence, b.instance); err != nil {
		return err
	}
	log.Info("build finished", "result", n.Outcome.Result, "kind", n.Outcome.Kind, "phase", n.Outcome.Phase,
		"message", n.Outcome.Message)
	w := b.logs.Writer(n.ID)
	fmt.Fprintf(w, "rpmflow: %s\n", n.Outcome.Message)
	w.Close(ctx, true)
	return nil
}
