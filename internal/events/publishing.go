package events

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow/internal/retry"
)

// Failure is why the last try to publish to the repositories of a target has failed.
type Failure struct {
	At    time.Time `json:"at"`
	Error string    `json:"error"`
	Hint  string    `json:"hint,omitempty"`
}

func publishingSubject(project, target, what string) string {
	return "rpmflow.publishing." + Token(project) + "." + Token(target) + "." + what
}

// NoteFailure keeps the last failure for those who ask. It does not wait for the server: a note that is lost is written
// again with the next failure.
func (p Publications) NoteFailure(project, target string, f Failure) error {
	raw, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return p.js.Conn().Publish(publishingSubject(project, target, "failed"), raw)
}

// LastFailure is the last failure of a target, which may be over; the zero value: there was none.
func (p Publications) LastFailure(ctx context.Context, project, target string) (f Failure, err error) {
	msg, err := p.lastPublishing(ctx, publishingSubject(project, target, "failed"))
	if msg == nil || err != nil {
		return f, err
	}
	if err := json.Unmarshal(msg.Data, &f); err != nil {
		return f, fmt.Errorf("the last failure of %s/%s: %w", project, target, err)
	}
	return f, nil
}

// lastPublishing is the message under a subject of PUBLISHING; nil: there is none.
func (p Publications) lastPublishing(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	stream, err := p.js.Stream(ctx, StreamPublishing)
	if err != nil {
		return nil, fmt.Errorf("stream %s: open: %w", StreamPublishing, err)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", subject, err)
	}
	return msg, nil
}

const (
	// leaseTime is after how long the server ends a lease that is not renewed. Its holder stops leaseMargin before
	// that, by its own clock and counted from when it has sent the last renewal.
	leaseTime, leaseMargin = 30 * time.Second, 10 * time.Second
	leaseRenew             = 5 * time.Second
	// leaseWait is how long others wait for one.
	leaseWait = 2 * time.Minute

	leaseFree = "" // in place of the holder's name: the last one has given it back
)

// Lease takes the lease of a target's repositories. For as long as the returned context lasts nobody else has it. The
// caller ends the lease with release. The lease of a holder that is gone ends by itself.
func (p Publications) Lease(
	ctx context.Context, project, target, holder string,
) (leased context.Context, release func(), err error) {
	l := &lease{js: p.js, subject: publishingSubject(project, target, "lease"), holder: holder + " " + rand.Text()}
	policy := retry.Policy{First: 50 * time.Millisecond, Most: time.Second, Limit: leaseWait}
	err = policy.Do(ctx, func() error {
		last, err := p.lastPublishing(ctx, l.subject)
		if err != nil {
			return err
		}
		l.seq = 0
		if last != nil {
			if l.seq = last.Sequence; string(last.Data) != leaseFree {
				return fmt.Errorf("%w: %s writes the repositories of %s for %s", ErrLost, last.Data, project, target)
			}
		}
		return l.write(ctx, l.holder)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("lease of the repositories of %s for %s: %w", project, target, err)
	}
	leased, lost := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() { // ends with release
		defer close(done)
		l.keep(leased, lost)
	}()
	return leased, sync.OnceFunc(func() {
		lost(context.Canceled)
		<-done
		_ = l.write(context.WithoutCancel(ctx), leaseFree) // else it ends by itself
	}), nil
}

type lease struct {
	js              jetstream.JetStream
	subject, holder string
	seq             uint64
	written         time.Time
}

// write replaces the message that this lease has written last. The error is ErrLost if there is another one.
func (l *lease) write(ctx context.Context, holder string) error {
	ctx, cancel := context.WithTimeout(ctx, leaseRenew)
	defer cancel()
	sent := time.Now()
	ack, err := l.js.PublishMsg(ctx, &nats.Msg{Subject: l.subject, Data: []byte(holder)},
		jetstream.WithExpectStream(StreamPublishing), jetstream.WithExpectLastSequencePerSubject(l.seq),
		jetstream.WithMsgTTL(leaseTime), jetstream.WithRetryAttempts(0))
	if err = publishError(err); err != nil {
		return fmt.Errorf("publish %s: %w", l.subject, err)
	}
	l.seq, l.written = ack.Sequence, sent
	return nil
}

// errLeaseOver means that the lease could not be renewed in time.
var errLeaseOver = errors.New("the lease could not be renewed: NATS does not answer")

// keep renews the lease until ctx ends, and ends it when that is not possible any more.
func (l *lease) keep(ctx context.Context, lost context.CancelCauseFunc) {
	for {
		over := time.AfterFunc(time.Until(l.written.Add(leaseTime-leaseMargin)), func() { lost(errLeaseOver) })
		select {
		case <-ctx.Done():
			over.Stop()
			return
		case <-time.After(leaseRenew):
		}
		err := l.write(ctx, l.holder)
		over.Stop()
		if errors.Is(err, ErrLost) {
			// A renewal whose answer was lost is refused, too: then it is not known who has the lease.
			lost(err)
			return
		}
	}
}
