package events

import (
	"context"
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
	// followMargin is how much earlier than the oldest message of BUILDS the events of its build may be.
	followMargin = time.Minute
	followWarn   = time.Minute // between warnings
)

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
		retry.Sleep(ctx, retry.Policy{First: readPause}.Pause(1))
	}
}

// follow reads with one consumer until it fails.
func (q *Queue) follow(ctx context.Context) error {
	config, err := q.unread(ctx)
	if err != nil {
		return err
	}
	var past uint64
	return read(ctx, q.js, StreamEvents, config, func(pending uint64) {
		q.standings.listening(time.Now())
		if past = pending; past == 0 {
			q.markCaughtUp()
		}
	}, func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
		if o, ok := buildEventOf(msg.Subject(), parseQueueHeader(msg.Headers()), meta.Sequence.Stream); ok {
			q.standings.take(o, time.Now(), meta.Sequence.Consumer <= past)
		}
		if meta.NumPending == 0 {
			q.markCaughtUp()
		}
		return nil
	})
}

// unread configures the consumer, which starts where the last one stopped, else where the oldest build in BUILDS was
// queued.
func (q *Queue) unread(ctx context.Context) (config jetstream.ConsumerConfig, err error) {
	ctx, cancel := context.WithTimeout(ctx, streamWait)
	defer cancel()
	stream, err := q.js.Stream(ctx, StreamEvents)
	if err != nil {
		return config, fmt.Errorf("stream %s: open: %w", StreamEvents, err)
	}
	config = jetstream.ConsumerConfig{
		Description: "which builds wait and run, for a builder", FilterSubject: patternEvents, HeadersOnly: true,
	}
	q.standings.mu.Lock()
	if q.standings.last > stream.CachedInfo().State.LastSeq { // the stream was made again
		q.standings.reset()
	}
	last := q.standings.last
	q.standings.mu.Unlock()
	if last > 0 {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, last+1
		return config, nil
	}
	builds, err := q.stream.Info(ctx)
	if err != nil {
		return config, fmt.Errorf("stream %s: %w", StreamBuilds, err)
	}
	from := builds.TimeStamp
	if builds.State.Msgs > 0 {
		from = builds.State.FirstTime
	}
	from = from.Add(-followMargin)
	config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
	return config, nil
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
