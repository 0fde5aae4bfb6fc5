package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/retry"
)

const (
	// followInactive is after how long the consumer of a program that is gone goes away.
	followInactive = 5 * time.Minute
	// followMargin is how much earlier than the oldest message of BUILDS the events of its build may be.
	followMargin = time.Minute
	followPause  = time.Second     // before another try, on average
	followBeat   = 5 * time.Second // between heartbeats of the server; when two are missing, the consumer is gone
	followWarn   = time.Minute     // between warnings
)

// errGap means that an event was not delivered.
var errGap = errors.New("an event is missing")

// Follow reads from EVENTS which builds wait and run, and receives the heartbeats of their owners, until ctx ends.
// Without it Take returns nothing. It reads headers only, and no further back than to the oldest message of BUILDS,
// since every build that waits or runs has one.
func (q *Queue) Follow(ctx context.Context, log *slog.Logger) {
	beats, err := q.nc.Subscribe(patternBeats, func(m *nats.Msg) {
		if message, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 10, 64); err == nil {
			q.standings.beat(message, time.Now())
		}
	})
	if err != nil {
		log.Warn("no heartbeats of builds: a build whose builder dies waits behind others", "error", err)
	} else {
		defer func() { _ = beats.Unsubscribe() }() // fails only when the connection is closed, and then it is done
	}
	var warned time.Time
	for ctx.Err() == nil {
		err := q.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		q.mu.Lock()
		q.followErr = err
		q.mu.Unlock()
		if time.Since(warned) > followWarn && Connected(q.nc) == nil {
			log.Warn("which builds are running is not known exactly for now", "error", err)
			warned = time.Now()
		}
		retry.Sleep(ctx, retry.Policy{First: followPause}.Pause(1))
	}
}

// follow reads with one consumer until it fails.
func (q *Queue) follow(ctx context.Context) error {
	cons, err := q.follower(ctx)
	if err != nil {
		return err
	}
	q.standings.listening(time.Now())
	past := cons.CachedInfo().NumPending
	if past == 0 {
		q.markCaughtUp()
	}
	it, err := cons.Messages(jetstream.PullHeartbeat(followBeat))
	if err != nil {
		return fmt.Errorf("read %s: %w", StreamEvents, err)
	}
	stop := context.AfterFunc(ctx, it.Stop)
	defer stop()
	defer it.Stop()
	for come := uint64(1); ; come++ {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read %s: %w", StreamEvents, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", StreamEvents, err)
		}
		if meta.Sequence.Consumer != come {
			return fmt.Errorf("read %s: %w", StreamEvents, errGap)
		}
		if o, ok := buildEventOf(msg.Subject(), parseQueueHeader(msg.Headers()), meta.Sequence.Stream); ok {
			q.standings.take(o, time.Now(), come <= past)
		}
		if meta.NumPending == 0 {
			q.markCaughtUp()
		}
	}
}

// follower makes the consumer. It starts where the last one stopped, else where the oldest build in BUILDS was queued.
func (q *Queue) follower(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, streamWait)
	defer cancel()
	stream, err := q.js.Stream(ctx, StreamEvents)
	if err != nil {
		return nil, fmt.Errorf("stream %s: open: %w", StreamEvents, err)
	}
	config := jetstream.ConsumerConfig{
		Description: "which builds wait and run, for a builder", FilterSubject: patternEvents, HeadersOnly: true,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: followInactive, MemoryStorage: true, Replicas: 1,
	}
	q.standings.mu.Lock()
	if q.standings.last > stream.CachedInfo().State.LastSeq { // the stream was made again
		q.standings.reset()
	}
	last := q.standings.last
	q.standings.mu.Unlock()
	if last > 0 {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, last+1
	} else {
		builds, err := q.stream.Info(ctx)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", StreamBuilds, err)
		}
		from := builds.TimeStamp
		if builds.State.Msgs > 0 {
			from = builds.State.FirstTime
		}
		from = from.Add(-followMargin)
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	}
	cons, err := stream.CreateConsumer(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("make a consumer of %s: %w: has the NATS user the right? `rpmflow config nats` makes "+
			"accounts",
			StreamEvents, err)
	}
	return cons, nil
}

// markCaughtUp says that all events of the past are read.
func (q *Queue) markCaughtUp() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.followErr = nil
	select {
	case <-q.caughtUp:
	default:
		close(q.caughtUp)
	}
}

// note adds an event that this program has published.
func (q *Queue) note(subject string, b rpmflow.Build, event uint64) {
	if o, ok := buildEventOf(subject, queueHeaderOf(b), event); ok {
		q.standings.note(o, time.Now())
	}
}
