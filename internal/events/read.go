package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// readInactive is after how long the consumer of a program that is gone goes away.
	readInactive = 5 * time.Minute
	readBeat     = 5 * time.Second // between heartbeats of the server; when two are missing, the consumer is gone
	readPause    = time.Second     // before another try, on average
)

var (
	errGap  = errors.New("a message is missing")
	errAway = errors.New("the connection to NATS was lost")
)

// read makes a consumer of a stream and passes its messages to handle, in order and without a gap, until ctx ends,
// handle fails or a message may be missing; the caller decides when to read on. past is called once before handle,
// with the number of messages that are there already.
//
// It is used in place of the library's ordered consumer, which does not end with ctx while NATS is away, and leaves an
// iterator running if it is stopped while it makes its consumer again.
func read(ctx context.Context, js jetstream.JetStream, stream string, config jetstream.ConsumerConfig,
	past func(uint64), handle func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	connected, disconnected := context.WithCancelCause(ctx)
	defer disconnected(nil)
	away := js.Conn().StatusChanged(nats.RECONNECTING)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer js.Conn().RemoveStatusListener(away)
	watch.Go(func() {
		if _, open := <-away; open { // what was sent to the lost connection is not sent again
			disconnected(errAway)
		}
	})
	failed := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if connected.Err() != nil {
			err = context.Cause(connected)
		}
		return fmt.Errorf("read %s: %w", stream, err)
	}
	config.AckPolicy, config.InactiveThreshold = jetstream.AckNonePolicy, readInactive
	config.MemoryStorage, config.Replicas = true, 1
	cons, err := js.CreateConsumer(connected, stream, config)
	if err != nil {
		return failed(fmt.Errorf("make a consumer: %w: has the NATS user the right? `rpmflow config nats` makes "+
			"accounts", err))
	}
	past(cons.CachedInfo().NumPending)
	it, err := cons.Messages(jetstream.PullHeartbeat(readBeat))
	if err != nil {
		return failed(err)
	}
	defer it.Stop()
	for come := uint64(1); ; come++ {
		msg, err := it.Next(jetstream.NextContext(connected))
		if err != nil || ctx.Err() != nil {
			return failed(err)
		}
		meta, err := msg.Metadata()
		if err == nil && meta.Sequence.Consumer != come {
			err = errGap
		}
		if err != nil {
			return failed(err)
		}
		if err := handle(msg, meta); err != nil {
			return err
		}
	}
}

// readStored passes the messages that are there already to handle, in order.
func readStored(
	ctx context.Context, js jetstream.JetStream, stream string, config jetstream.ConsumerConfig,
	handle func(jetstream.Msg) error,
) error {
	errAll := errors.New("all are read")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var past uint64
	err := read(ctx, js, stream, config, func(pending uint64) {
		if past = pending; past == 0 {
			cancel(errAll)
		}
	}, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		err := handle(msg)
		if err == nil && (meta.NumPending == 0 || meta.Sequence.Consumer >= past) {
			err = errAll
		}
		return err
	})
	if errors.Is(err, errAll) || errors.Is(context.Cause(ctx), errAll) {
		return nil
	}
	return err
}
