package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Subscription says which finished events a program wants.
type Subscription struct {
	// Durable, if set, names a consumer that keeps what was handled: the next run continues where this one stopped. A
	// new durable starts at the present. Empty: only events that are published while the program runs.
	Durable string
	Project string // empty: of all projects
}

// SubscriberConsumer names the durable consumer of a subscriber.
func SubscriberConsumer(name string) string { return "watch-" + Token(name) }

func (s Subscription) subject() string {
	if s.Project == "" {
		return SubjectFinished
	}
	return "rpmflow.events." + Token(s.Project) + ".*.*." + string(TypeFinished)
}

// Finished passes every finished event to handle. It returns when ctx ends, or with the first error of handle.
//
// With a durable name the events are in order, each is acknowledged when handle has returned nil, and one that was not
// is delivered again to the same name. Without one they come as they are announced, which needs no right to publish;
// the log says when some may be missing.
func Finished(
	ctx context.Context, js jetstream.JetStream, s Subscription, log *slog.Logger, handle func(Event) error,
) error {
	if s.Durable == "" {
		return announced(ctx, js.Conn(), s, log, handle)
	}
	cons, err := subscriberConsumer(ctx, js, s)
	if err != nil {
		return err
	}
	log.Info("waiting for finished builds", "consumer", cons.CachedInfo().Name)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = consume(ctx, cons, log, func(msg jetstream.Msg) {
		if ctx.Err() != nil {
			return // handle has failed: this event stays for the next run
		}
		ev, err := Parse(msg.Data())
		// the consumer may be that of all projects
		if err == nil && (s.Project == "" || ev.Build.Project == s.Project) {
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

// subscriberConsumer uses the consumer of this name, and makes it only if there is none: subscribers may not make any.
func subscriberConsumer(ctx context.Context, js jetstream.JetStream, s Subscription) (jetstream.Consumer, error) {
	name, subject := SubscriberConsumer(s.Durable), s.subject()
	cons, err := js.Consumer(ctx, StreamEvents, name)
	if err == nil {
		if had := cons.CachedInfo().Config.FilterSubject; had == subject || had == SubjectFinished {
			return cons, nil
		}
	} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, fmt.Errorf("consumer %s of %s: %w: a subscriber may only use the consumer for which its account "+
			"was made",
			name, StreamEvents, err)
	}
	cons, err = js.CreateOrUpdateConsumer(ctx, StreamEvents, jetstream.ConsumerConfig{
		Durable: name, Description: "finished events for a subscriber", FilterSubject: subject,
		DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second,
		MaxDeliver: -1, MaxAckPending: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("make consumer %s of %s: %w: if the NATS user may not, "+
			"name the subscriber in listener.subscribers", name, StreamEvents, err)
	}
	return cons, nil
}

// publicationsConsumer makes the consumer of PUBLISHED for a subscriber, from the present on, if there is none.
func publicationsConsumer(ctx context.Context, js jetstream.JetStream, subscriber string) error {
	name := SubscriberConsumer(subscriber)
	_, err := js.Consumer(ctx, StreamPublished, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		_, err = js.CreateOrUpdateConsumer(ctx, StreamPublished, jetstream.ConsumerConfig{
			Durable: name, Description: "publications for a subscriber", FilterSubject: patternPublished,
			DeliverPolicy: jetstream.DeliverNewPolicy, AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: 30 * time.Second, MaxDeliver: -1, MaxAckPending: 1,
		})
	}
	if err != nil {
		return fmt.Errorf("make consumer %s of %s: %w", name, StreamPublished, err)
	}
	return nil
}

// announced subscribes to the server's repetitions of stored events. In the account of the streams they are under
// subjectAnnounced, and the events' own subjects have every attempt to publish; in a subscriber's account the
// repetitions are under the events' own subjects. A header tells them apart.
func announced(ctx context.Context, nc *nats.Conn, s Subscription, log *slog.Logger, handle func(Event) error) error {
	const atOnce = 4096 // events that may wait for handle
	msgs := make(chan *nats.Msg, atOnce)
	again := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(again)
	for _, subject := range []string{subjectAnnounced, SubjectFinished} {
		sub, err := nc.ChanSubscribe(subject, msgs)
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed, and then it is done
	}
	fctx, cancel := context.WithTimeout(ctx, publishWait)
	err := nc.FlushWithContext(fctx)
	cancel()
	if err == nil {
		err = nc.LastError() // where a refused subscription is reported
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("subscribe to %s: %w", SubjectFinished, err)
	}
	log.Info("waiting for finished builds")
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again:
			log.Warn("NATS was away: events of that time are missing here; with a durable name they would be " +
				"delivered now")
		case msg := <-msgs:
			if msg.Header.Get(jetstream.SequenceHeader) == "" {
				continue
			}
			ev, err := Parse(msg.Data)
			if err == nil && (s.Project == "" || ev.Build.Project == s.Project) {
				err = handle(ev)
			}
			if err != nil {
				return err
			}
		}
	}
}

// Replay passes every event after the given sequence of EVENTS to handle, past ones and then new ones, in order, until
// ctx ends, handle fails or NATS was away: the caller can go on behind the last event. caughtUp is called once when the
// past is over.
func Replay(
	ctx context.Context, js jetstream.JetStream, after uint64, caughtUp func(), handle func(Event) error,
) error {
	caughtUp = sync.OnceFunc(caughtUp)
	var past uint64
	return read(ctx, js, StreamEvents, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	}, func(pending uint64) {
		if past = pending; past == 0 {
			caughtUp()
		}
	}, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		ev, err := Parse(msg.Data())
		if err != nil {
			return fmt.Errorf("replay %s: %s at %d: %w", StreamEvents, msg.Subject(), meta.Sequence.Stream, err)
		}
		ev.Sequence = meta.Sequence.Stream
		if err := handle(ev); err != nil {
			return err
		}
		if meta.NumPending == 0 || meta.Sequence.Consumer >= past { // the newest events may have been purged
			caughtUp()
		}
		return nil
	})
}
