package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
)

type knownConsumer struct {
	consumer jetstream.Consumer
	checked  time.Time
	limit    int // the project's, as EVENTS had it then
}

const (
	// consumerInactive is after how long without pulls and without unacknowledged messages a project's consumer goes
	// away.
	consumerInactive = 10 * time.Minute
	// consumerRecheck is how long a consumer is used before its settings are compared with the project's again.
	consumerRecheck = time.Minute
	// fetchWait is how long a message that the stream has may take to its consumer.
	fetchWait = 500 * time.Millisecond
	// returnWait is the same for a message that was handed back. After its start a server delivers such messages only
	// after 1.5 s.
	returnWait = 2 * time.Second
)

// candidate is a project that may have a build of one architecture.
type candidate struct {
	*standing
	subject string
	running int // of the project, over the architectures that are asked for
	rank    rank
}

// rank is the order in which projects are asked. Within a rank the project with the fewest running builds is first,
// then the one whose build has waited the longest.
type rank int

const (
	rankDue      rank = iota // a build was handed back, or its owner sends no heartbeats
	rankWaiting              // builds wait, and the project is below its limit
	rankDoubtful             // nothing waits, but no heartbeat of an owner was received yet
)

// Take returns one build of the architectures, or nil if there is none now. Follow must run. Builds that were handed
// back or whose builder sends no heartbeats come first. Then come those of the project with the fewest running builds
// on all builders together, and of several such projects the one whose build has waited the longest. So a mass rebuild
// in one project delays the others by one free slot at most.
//
// It costs one request for each architecture and a few for the build that it takes, however many projects there are.
func (q *Queue) Take(ctx context.Context, archs []string, log *slog.Logger) (*Message, error) {
	if err := q.waitCaughtUp(ctx); err != nil {
		return nil, err
	}
	candidates, err := q.candidates(ctx, archs)
	if err != nil {
		return nil, err
	}
	for _, c := range candidates {
		d, err := q.takeFrom(ctx, c, log)
		if err != nil {
			q.forget(c.subject)
			if errors.Is(err, jetstream.ErrConsumerNotFound) {
				continue
			}
			return nil, fmt.Errorf("fetch from %s: %w", c.subject, err)
		}
		if d != nil {
			return d, nil
		}
	}
	return nil, nil
}

// waitCaughtUp waits until all events of the past are read.
func (q *Queue) waitCaughtUp(ctx context.Context) error {
	select {
	case <-q.caughtUp:
		return nil
	default:
	}
	timer := time.NewTimer(publishWait)
	defer timer.Stop()
	select {
	case <-q.caughtUp:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.followErr != nil {
		return fmt.Errorf("which builds are running is not known: %w", q.followErr)
	}
	return errors.New("which builds are running is not known yet: events are being read")
}

// candidates returns the projects that may have work, in the order in which they are asked.
func (q *Queue) candidates(ctx context.Context, archs []string) ([]*candidate, error) {
	messages := map[string]uint64{} // by subject
	for _, arch := range archs {
		info, err := q.info(ctx, "rpmflow.builds."+Token(arch)+".*")
		if err != nil {
			return nil, err
		}
		for subject, n := range info.State.Subjects {
			messages[subject] = n
		}
	}
	all := q.standings.of(messages, q.nc.Stats().Reconnects, time.Now())
	running := map[string]int{}
	for subject, st := range all {
		running[projectOf(subject)] += st.running
	}
	var candidates []*candidate
	for subject, st := range all {
		c := &candidate{standing: st, subject: subject, running: running[projectOf(subject)]}
		switch {
		case len(st.due) > 0:
			c.rank, c.oldest = rankDue, st.first
		case messages[subject] > uint64(st.running+st.orphaned) && (st.limit == 0 || st.running+st.orphaned < st.limit):
			c.rank = rankWaiting
		case st.doubtful > 0:
			c.rank = rankDoubtful
		default:
			continue
		}
		candidates = append(candidates, c)
	}
	slices.SortFunc(candidates, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.running, b.running), cmp.Compare(a.oldest, b.oldest),
			cmp.Compare(a.subject, b.subject))
	})
	return candidates, nil
}

func projectOf(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// takeFrom takes a message of a project, or returns nil.
func (q *Queue) takeFrom(ctx context.Context, c *candidate, log *slog.Logger) (*Message, error) {
	cons, err := q.consumer(ctx, c.subject, c.limit)
	if err != nil {
		return nil, err
	}
	var wait time.Duration
	if c.rank == rankWaiting {
		wait = fetchWait
	}
	d, err := q.fetch(ctx, cons, wait, log)
	if err != nil || c.rank != rankDue {
		return d, err
	}
	end := time.Now().Add(returnWait)
	for d == nil && q.standings.returned(c.due) && time.Now().Before(end) && ctx.Err() == nil {
		if d, err = q.fetch(ctx, cons, returnWait/10, log); err != nil {
			return nil, err
		}
	}
	if d != nil && q.standings.returned(c.due) && !q.standings.due(c.due, d.Sequence) {
		if d, err = q.preferReturned(ctx, cons, c, d, log); err != nil {
			return nil, err
		}
	}
	var got uint64
	if d != nil {
		got = d.Sequence
	}
	q.standings.asked(c.due, got, time.Now())
	return d, nil
}

// preferReturned takes the build that was handed back in place of a later one of its project. The server delivers it a
// moment after the event, and until then the next one of the project.
func (q *Queue) preferReturned(
	ctx context.Context, cons jetstream.Consumer, c *candidate, d *Message, log *slog.Logger,
) (*Message, error) {
	next, err := q.fetch(ctx, cons, returnWait/10, log)
	switch {
	case err != nil:
		return nil, errors.Join(err, d.Release())
	case next == nil:
		return d, nil
	case !q.standings.due(c.due, next.Sequence):
		return d, next.Release()
	}
	return next, d.Release()
}

// fetch takes a message. A consumer gets a message a little later than the stream: if one is known to wait, so does
// fetch.
func (q *Queue) fetch(
	ctx context.Context, cons jetstream.Consumer, wait time.Duration, log *slog.Logger,
) (*Message, error) {
	take := func() (jetstream.MessageBatch, error) { return cons.FetchNoWait(1) }
	if wait > 0 {
		take = func() (jetstream.MessageBatch, error) { return cons.Fetch(1, jetstream.FetchMaxWait(wait)) }
	}
	batch, err := take()
	if err != nil {
		return nil, err
	}
	var d *Message
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		b := rpmflow.Build{}
		if err := json.Unmarshal(msg.Data(), &b); err != nil {
			log.Error("a build message cannot be read and is dropped",
				"subject", msg.Subject(), "sequence", meta.Sequence.Stream, "error", err)
			if err := msg.TermWithReason("unreadable: " + err.Error()); err != nil {
				return nil, err
			}
			continue
		}
		d = &Message{Build: b, Sequence: meta.Sequence.Stream, Deliveries: meta.NumDelivered, msg: msg, nc: q.nc}
	}
	if err := batch.Error(); err != nil && d == nil && ctx.Err() == nil {
		return nil, err
	}
	return d, nil
}

func (q *Queue) info(ctx context.Context, filter string) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	info, err := q.stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("stream %s: which projects have work: %w", StreamBuilds, err)
	}
	return info, nil
}

// consumer makes the durable consumer of an (arch, project) on demand. Its MaxAckPending is the project's limit, which
// is in the newest message of the project.
func (q *Queue) consumer(ctx context.Context, subject string, limit int) (jetstream.Consumer, error) {
	q.mu.Lock()
	known, ok := q.consumers[subject]
	q.mu.Unlock()
	if ok && time.Since(known.checked) < consumerRecheck && known.limit == limit {
		return known.consumer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	known = knownConsumer{checked: time.Now(), limit: limit}
	most := 1
	msg, err := q.stream.GetLastMsgForSubject(ctx, subject)
	switch {
	case err == nil:
		var b rpmflow.Build
		if json.Unmarshal(msg.Data, &b) == nil && b.Concurrency > 0 {
			most = b.Concurrency
		}
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, fmt.Errorf("read newest message of %s: %w", subject, err)
	}
	name := "builder-" + strings.ReplaceAll(strings.TrimPrefix(subject, "rpmflow.builds."), ".", "-")
	known.consumer, err = q.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: name, FilterSubject: subject,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: q.ackWait,
		// past it a message would stay undelivered in the work queue: builders count deliveries themselves
		MaxDeliver:    -1,
		MaxAckPending: most, InactiveThreshold: consumerInactive,
	})
	if err != nil {
		return nil, fmt.Errorf("consumer %s: %w", name, err)
	}
	q.mu.Lock()
	q.consumers[subject] = known
	q.mu.Unlock()
	return known.consumer, nil
}

func (q *Queue) forget(subject string) {
	q.mu.Lock()
	delete(q.consumers, subject)
	q.mu.Unlock()
}
