package events

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/retry"
)

// publishWait bounds one publish and one read; the caller's context bounds the whole.
const publishWait = 5 * time.Second

// Ledger reads and writes EVENTS.
type Ledger struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	queue  *Queue // gets at once what was published; may be nil
}

// NewLedger opens EVENTS; EnsureStreams has made it.
func NewLedger(ctx context.Context, js jetstream.JetStream) (*Ledger, error) {
	s, err := js.Stream(ctx, StreamEvents)
	if err != nil {
		return nil, fmt.Errorf("stream %s: open: %w", StreamEvents, err)
	}
	return &Ledger{js: js, stream: s}, nil
}

// NotifyQueue passes to the queue at once what this ledger publishes, before it is read back from EVENTS.
func (l *Ledger) NotifyQueue(q *Queue) { l.queue = q }

// ErrNone means that a build has no event.
var ErrNone = errors.New("no event of this build")

// Last reads a build's latest event, which is its state.
func (l *Ledger) Last(ctx context.Context, b rpmflow.Build) (Event, error) {
	return l.last(ctx, eventSubject(b, "*"))
}

// LastOf reads the latest event of a build by its id alone.
func (l *Ledger) LastOf(ctx context.Context, id string) (Event, error) {
	return l.last(ctx, "rpmflow.events.*.*."+Token(id)+".*")
}

func (l *Ledger) last(ctx context.Context, subject string) (Event, error) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	msg, err := l.stream.GetLastMsgForSubject(ctx, subject)
	return eventOf(msg, err, subject)
}

// eventOf is an event as the stream has answered.
func eventOf(msg *jetstream.RawStreamMsg, err error, subject string) (Event, error) {
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Event{}, fmt.Errorf("%s: %w", subject, ErrNone)
	}
	if err != nil {
		return Event{}, fmt.Errorf("read an event of %s: %w", subject, err)
	}
	ev, err := Parse(msg.Data)
	if err != nil {
		return Event{}, fmt.Errorf("event %d of %s: %w", msg.Sequence, subject, err)
	}
	ev.Sequence = msg.Sequence
	return ev, nil
}

// Finished are the finished events of a project from one sequence of EVENTS to another, both included, in their order.
// Each is a request of its own: no consumer is left behind.
func (l *Ledger) Finished(ctx context.Context, project string, from, to uint64) iter.Seq2[Event, error] {
	subject := Subscription{Project: project}.subject()
	return func(yield func(Event, error) bool) {
		for from <= to {
			ev, err := l.next(ctx, subject, from)
			if errors.Is(err, ErrNone) || err == nil && ev.Sequence > to || !yield(ev, err) || err != nil {
				return
			}
			from = ev.Sequence + 1
		}
	}
}

// next reads the first event with a subject that has this sequence or a later one.
func (l *Ledger) next(ctx context.Context, subject string, from uint64) (Event, error) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	msg, err := l.stream.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
	return eventOf(msg, err, subject)
}

// Append publishes a build's next event if the build's last one is still the one with sequence `after` (0: there is
// none yet), and returns the new event's sequence. It is the only way to write an event: all of them are fenced by the
// byte-identical filter, without which a stale writer slips past on a replicated stream.
//
// The id is derived from the build, its attempt and the distinguishing words, so that a writer recognises its own
// event: after a refusal or a time-out it reads back, and if the last event is its own, the publish has succeeded.
// ErrLost: another program's.
func (l *Ledger) Append(
	ctx context.Context, t Type, b rpmflow.Build, after uint64, distinguish ...string,
) (uint64, error) {
	now := time.Now()
	words := []string{"event", b.ID, string(t), fmt.Sprint(b.Attempt), fmt.Sprint(b.InfrastructureFailures)}
	id := rpmflow.DeriveID(append(words, distinguish...)...)
	raw, err := encode("build."+string(t), id, b.Project, b.ID, now, b)
	if err != nil {
		return 0, err
	}
	msg := nats.NewMsg(eventSubject(b, string(t)))
	msg.Header.Set("Content-Type", contentType)
	msg.Header.Set(headerQueue, queueHeaderOf(b).String())
	msg.Data = raw
	var seq uint64
	// While NATS is out of reach or has no leader, no other program can have written: wait for it.
	err = retry.Policy{First: 100 * time.Millisecond}.Do(ctx, func() (err error) {
		seq, err = l.appendOnce(ctx, msg, b, id, after)
		if errors.Is(err, ErrLost) || errors.Is(err, ErrFull) || errors.Is(err, ErrTooLarge) {
			return retry.Permanent(err)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("publish %s of build %s: %w", t, b.ID, err)
	}
	if l.queue != nil {
		l.queue.note(msg.Subject, b, seq)
	}
	return seq, nil
}

func (l *Ledger) appendOnce(
	ctx context.Context, msg *nats.Msg, b rpmflow.Build, id string, after uint64,
) (uint64, error) {
	pctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	ack, err := l.js.PublishMsg(pctx, msg, jetstream.WithExpectStream(StreamEvents),
		jetstream.WithExpectLastSequenceForSubject(after, eventSubject(b, "*")))
	if err == nil {
		return ack.Sequence, nil
	}
	err = publishError(err)
	if errors.Is(err, ErrFull) || errors.Is(err, ErrTooLarge) {
		return 0, err
	}
	last, readErr := l.Last(ctx, b)
	switch {
	case readErr == nil && last.ID == id:
		return last.Sequence, nil
	case readErr == nil && last.Sequence != after:
		return 0, fmt.Errorf("after event %d: %w: %s event of attempt %d by %s is the last",
			after, ErrLost, last.Type, last.Build.Attempt, last.Build.Builder)
	case errors.Is(readErr, ErrNone) && after != 0:
		return 0, fmt.Errorf("after event %d: %w: the build's events were purged", after, ErrLost)
	case errors.Is(err, ErrLost):
		// Refused although the last event is the expected one: another write is under way. Try again.
		return 0, errors.New("refused, and no other event is there yet")
	}
	return 0, err
}
