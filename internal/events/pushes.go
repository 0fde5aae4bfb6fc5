package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/retry"
)

// Pushes reads and writes PUSHES.
type Pushes struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

// NewPushes opens PUSHES; EnsureStreams has made it.
func NewPushes(ctx context.Context, js jetstream.JetStream) (*Pushes, error) {
	s, err := js.Stream(ctx, StreamPushes)
	if err != nil {
		return nil, fmt.Errorf("stream %s: open: %w", StreamPushes, err)
	}
	return &Pushes{js: js, stream: s}, nil
}

// Receive stores a push durably and returns what is stored. If the same push was stored before, by any replica, and led
// to builds, that one is returned and again is true. A push that led to no builds is decided again with each delivery:
// what is different now is stored behind it, fenced on it, so that one of many replicas wins.
func (p *Pushes) Receive(ctx context.Context, push rpmflow.Push) (stored rpmflow.Push, again bool, err error) {
	after, lost := uint64(0), 0
	for {
		err = p.store(ctx, push, after)
		if err == nil {
			return push, false, nil
		}
		// In each round another replica has stored the same push first.
		if lost++; !errors.Is(err, ErrLost) || lost > 10 {
			return push, false, fmt.Errorf("store push %s of project %q: %w", push.ID, push.Project, err)
		}
		if stored, after, err = p.last(ctx, push.Project, push.ID); err != nil {
			return push, false, err
		}
		if len(stored.Builds) > 0 || len(push.Builds) == 0 && stored.Reason == push.Reason {
			return stored, true, nil
		}
	}
}

// store publishes a push behind the message that is known of it; after is 0 if there is none.
func (p *Pushes) store(ctx context.Context, push rpmflow.Push, after uint64) error {
	id := rpmflow.DeriveID("event", push.ID, string(TypeReceived))
	if after > 0 {
		id = rpmflow.DeriveID("event", push.ID, string(TypeReceived), fmt.Sprint(after))
	}
	raw, err := encode("push."+string(TypeReceived), id, push.Project, push.ID, push.Received, push)
	if err != nil {
		return err
	}
	msg := nats.NewMsg(pushSubject(push.Project, push.ID, string(TypeReceived)))
	msg.Header.Set("Content-Type", contentType)
	msg.Data = raw
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	// A cluster that elects a leader gives no answer for some seconds. What was stored without an answer is refused
	// the second time, and read back.
	return retry.Policy{First: 100 * time.Millisecond, Most: time.Second}.Do(ctx, func() error {
		_, err := p.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(StreamPushes),
			jetstream.WithExpectLastSequenceForSubject(after, pushSubject(push.Project, push.ID, "*")))
		switch err = publishError(err); {
		case errors.Is(err, ErrLost), errors.Is(err, ErrFull), errors.Is(err, ErrTooLarge):
			return retry.Permanent(err)
		}
		return err
	})
}

// ErrNoPush means that a push is not in PUSHES.
var ErrNoPush = errors.New("no such push")

// Last reads a push as it was stored last. The error is ErrNoPush if there is none.
func (p *Pushes) Last(ctx context.Context, project, id string) (rpmflow.Push, error) {
	push, _, err := p.last(ctx, project, id)
	return push, err
}

// last reads a stored push and its sequence in the stream.
func (p *Pushes) last(ctx context.Context, project, id string) (rpmflow.Push, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	var push rpmflow.Push
	msg, err := p.stream.GetLastMsgForSubject(ctx, pushSubject(project, id, string(TypeReceived)))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		err = ErrNoPush
	}
	if err != nil {
		return push, 0, fmt.Errorf("read push %s of project %q: %w", id, project, err)
	}
	_, err = decode(msg.Data, &push)
	return push, msg.Sequence, err
}

// Each passes every received push to handle, one after the other, and acknowledges it when handle has returned nil;
// else the push is delivered again. All replicas of the listener share one durable consumer. It returns when ctx ends.
func (p *Pushes) Each(ctx context.Context, log *slog.Logger, handle func(context.Context, rpmflow.Push) error) error {
	const handleWait = 8 * time.Second
	cons, err := p.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: consumerDispatcher, FilterSubject: patternReceived,
		Description: "derives build messages from pushes",
		AckPolicy:   jetstream.AckExplicitPolicy, AckWait: 2 * handleWait, MaxDeliver: -1,
	})
	if err != nil {
		return fmt.Errorf("consumer %s of %s: %w", consumerDispatcher, StreamPushes, err)
	}
	return consume(ctx, cons, log, func(msg jetstream.Msg) {
		var push rpmflow.Push
		if _, err := decode(msg.Data(), &push); err != nil {
			log.Error("a push cannot be read and is set aside: it stays in the stream", "subject", msg.Subject(),
				"error", err)
			settle(log, msg.Term)
			return
		}
		hctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handleWait) // a push in hand is finished
		defer cancel()
		if err := handle(hctx, push); err != nil {
			log.Warn("push not dispatched, trying again", "project", push.Project, "push", push.ID, "error", err)
			settle(log, func() error { return msg.NakWithDelay(5 * time.Second) })
			return
		}
		settle(log, msg.Ack)
	})
}

// consume handles the messages of a consumer one at a time until ctx ends; the message in hand is finished first.
func consume(ctx context.Context, cons jetstream.Consumer, log *slog.Logger, handle func(jetstream.Msg)) error {
	// One at a time: what a program holds when it is killed is delivered again only after the ack wait.
	it, err := cons.Messages(jetstream.PullMaxMessages(1))
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	stop := context.AfterFunc(ctx, it.Stop)
	defer stop()
	defer it.Stop()
	for {
		msg, err := it.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return nil
		}
		if err != nil { // missed heartbeats and the like: the iterator recovers by itself
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, nats.ErrConnectionClosed) {
				return fmt.Errorf("consume: %w", err)
			}
			log.Warn("consumer interrupted", "error", err)
			continue
		}
		handle(msg)
	}
}

func settle(log *slog.Logger, f func() error) {
	if err := f(); err != nil {
		log.Warn("message not acknowledged: it is delivered again", "error", err)
	}
}
