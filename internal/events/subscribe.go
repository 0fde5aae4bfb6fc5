package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Subscription says which finished events a program wants.
type Subscription struct {
	// Durable, when set, names a consumer that remembers what was handled: the next run goes on where this one stopped. A new
	// durable begins with the present. Empty: only what happens while the program runs.
	Durable string
	Project string // empty: of all projects
}

// Finished hands every finished event to handle, in order, and acknowledges it when handle has returned nil. It returns
// when ctx ends, or with the first error of handle; that event comes again to the same durable name.
func Finished(ctx context.Context, js jetstream.JetStream, s Subscription, log *slog.Logger, handle func(Event) error) error {
	subject := SubjectFinished
	if s.Project != "" {
		subject = "rpmflow.events." + Token(s.Project) + ".*.*." + string(TypeFinished)
	}
	config := jetstream.ConsumerConfig{
		FilterSubject: subject, DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: 30 * time.Second, MaxDeliver: -1, MaxAckPending: 1, InactiveThreshold: 5 * time.Minute,
	}
	if s.Durable != "" {
		config.Durable, config.InactiveThreshold = "watch-"+Token(s.Durable), 0
	}
	cons, err := js.CreateOrUpdateConsumer(ctx, StreamEvents, config)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = consume(ctx, cons, log, func(msg jetstream.Msg) {
		if ctx.Err() != nil {
			return // one has failed already: this one stays for the next run
		}
		ev, err := Parse(msg.Data())
		if err == nil {
			err = handle(ev)
		}
		if err != nil {
			settle(log, msg.Nak)
			cancel(err)
			return
		}
		settle(log, func() error {
			actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishWait)
			defer cancel()
			return msg.DoubleAck(actx)
		})
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// Replay hands every event after the given sequence of EVENTS to handle, those of the past and then those that come, in
// order, until ctx ends or handle fails. caughtUp is called once when the past is over.
func Replay(ctx context.Context, js jetstream.JetStream, after uint64, caughtUp func(), handle func(Event) error) error {
	stream, err := js.Stream(ctx, StreamEvents)
	if err != nil {
		return fmt.Errorf("stream %s: open: %w", StreamEvents, err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("stream %s: %w", StreamEvents, err)
	}
	end := info.State.LastSeq
	cons, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	})
	if err != nil {
		return fmt.Errorf("replay %s: %w", StreamEvents, err)
	}
	caught := false
	mark := func() {
		if !caught {
			caught = true
			caughtUp()
		}
	}
	// The newest events of all may have been purged: then no event with that sequence ever comes.
	if info := cons.CachedInfo(); after >= end || info != nil && info.NumPending == 0 {
		mark()
	}
	it, err := cons.Messages()
	if err != nil {
		return fmt.Errorf("replay %s: %w", StreamEvents, err)
	}
	stop := context.AfterFunc(ctx, it.Stop)
	defer stop()
	defer it.Stop()
	for {
		msg, err := it.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("replay %s: %w", StreamEvents, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("replay %s: %w", StreamEvents, err)
		}
		ev, err := Parse(msg.Data())
		if err != nil {
			return fmt.Errorf("replay %s: %s at %d: %w", StreamEvents, msg.Subject(), meta.Sequence.Stream, err)
		}
		ev.Sequence = meta.Sequence.Stream
		if err := handle(ev); err != nil {
			return err
		}
		if ev.Sequence >= end || meta.NumPending == 0 {
			mark()
		}
	}
}
