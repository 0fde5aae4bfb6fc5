package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
)

// Queue reads and writes BUILDS.
type Queue struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	stream  jetstream.Stream
	ackWait time.Duration

	mu        sync.Mutex
	consumers map[string]knownConsumer // by subject

	standings *standings    // for Take, kept by Follow
	caughtUp  chan struct{} // closed once Follow has read the past
	followErr error         // the last error of Follow; guarded by mu
}

// NewQueue opens BUILDS; EnsureStreams has made it. A builder that sends no heartbeat for ackWait is taken for dead.
func NewQueue(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, ackWait time.Duration) (*Queue, error) {
	s, err := js.Stream(ctx, StreamBuilds)
	if err != nil {
		return nil, fmt.Errorf("stream %s: open: %w", StreamBuilds, err)
	}
	return &Queue{
		nc: nc, js: js, stream: s, ackWait: ackWait, consumers: map[string]knownConsumer{},
		standings: newStandings(ackWait), caughtUp: make(chan struct{}),
	}, nil
}

// Enqueue makes the build available to builders, at once or not before the given time, and notifies them. The message
// is the whole request. Repeating it within the stream's window does nothing; a later repetition is recognised when it
// is taken.
func (q *Queue) Enqueue(ctx context.Context, b rpmflow.Build, notBefore time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	data, err := rpmflow.EncodeJSON(b, "")
	if err != nil {
		return fmt.Errorf("encode build %s: %w", b.ID, err)
	}
	subject := buildSubject(b.Arch, b.Project)
	opts := []jetstream.PublishOpt{
		jetstream.WithMsgID(fmt.Sprintf("%s.%d", b.ID, b.InfrastructureFailures)),
		jetstream.WithExpectStream(StreamBuilds),
	}
	if time.Until(notBefore) > 0 {
		notBefore = notBefore.Add(time.Second - 1).Truncate(time.Second) // schedules are in whole seconds
		opts = append(opts, jetstream.WithScheduleAt(notBefore), jetstream.WithScheduleTarget(subject))
		subject = "rpmflow.schedules." + Token(b.ID)
	}
	if _, err := q.js.Publish(ctx, subject, data, opts...); err != nil {
		return fmt.Errorf("queue build %s: %w", b.ID, publishError(err))
	}
	return q.AnnounceWork(b.Arch)
}

// AnnounceWork notifies idle builders of an architecture that there may be a build for them.
func (q *Queue) AnnounceWork(arch string) error {
	if err := q.nc.Publish(workSubject(arch), nil); err != nil {
		return fmt.Errorf("notify builders: %w", err)
	}
	return nil
}

// WorkNotices returns a channel that gets a value after each AnnounceWork for one of the architectures. Call stop when
// done.
func (q *Queue) WorkNotices(archs []string) (notices <-chan struct{}, stop func(), err error) {
	c := make(chan struct{}, 1)
	var subs []*nats.Subscription
	stop = func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // fails only when the connection is closed, and then it is done
		}
	}
	for _, arch := range archs {
		s, err := q.nc.Subscribe(workSubject(arch), func(*nats.Msg) {
			select {
			case c <- struct{}{}:
			default:
			}
		})
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("subscribe to %s: %w", workSubject(arch), err)
		}
		subs = append(subs, s)
	}
	return c, stop, nil
}

// Message is a build message that was handed to this program.
type Message struct {
	Build    rpmflow.Build
	Sequence uint64 // in BUILDS
	// Deliveries counts how often the message was handed out, this time included.
	Deliveries uint64
	msg        jetstream.Msg
	nc         *nats.Conn
}

// Heartbeat keeps the message from others for another ack wait, and shows them that it is held.
func (d *Message) Heartbeat() error {
	return errors.Join(d.msg.InProgress(), d.nc.Publish(beatSubject(d.Sequence), nil))
}

// Done removes the message from the queue, and waits for the server's answer.
func (d *Message) Done(ctx context.Context) error {
	// If the connection breaks, the answer is lost, and DoubleAck would wait until ctx ends.
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	return d.msg.DoubleAck(ctx)
}

// Release hands the message back, at once, to any builder. A server that is stopped meanwhile, as that of `rpmflow up`
// is, stores it only if it has a delay.
func (d *Message) Release() error { return d.msg.NakWithDelay(time.Millisecond) }

// Holds reports whether the message with this sequence is still in the queue.
func (q *Queue) Holds(ctx context.Context, sequence uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	_, err := q.stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("message %d of %s: %w", sequence, StreamBuilds, err)
	}
	return true, nil
}
