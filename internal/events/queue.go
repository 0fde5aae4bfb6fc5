package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strings"
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
}

type knownConsumer struct {
	consumer jetstream.Consumer
	checked  time.Time
	oldest   uint64 // sequence of its first message that was not handed out, when that was last asked for
}

const (
	// consumerInactive is after how long without pulls and without unacknowledged messages a project's consumer goes away.
	consumerInactive = 10 * time.Minute
	// consumerRecheck is how long a consumer is used before its settings are compared with the project's again.
	consumerRecheck = time.Minute
	// fetchWait is how long a message that the stream has may take to its consumer.
	fetchWait = 500 * time.Millisecond
)

// NewQueue opens BUILDS; EnsureStreams has made it. ackWait is after how much silence a builder is taken for dead.
func NewQueue(ctx context.Context, nc *nats.Conn, js jetstream.JetStream, ackWait time.Duration) (*Queue, error) {
	s, err := js.Stream(ctx, StreamBuilds)
	if err != nil {
		return nil, fmt.Errorf("stream %s: open: %w", StreamBuilds, err)
	}
	return &Queue{nc: nc, js: js, stream: s, ackWait: ackWait, consumers: map[string]knownConsumer{}}, nil
}

// Enqueue makes the build available to builders, at once or not before the given time, and wakes them up. The message is the
// whole request. Repeating it within the stream's window does nothing; a later repetition is recognised when it is taken.
func (q *Queue) Enqueue(ctx context.Context, b rpmflow.Build, notBefore time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	data, err := json.Marshal(b)
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
	return q.Rouse(b.Arch)
}

// Rouse wakes the builders of an architecture that have nothing to do.
func (q *Queue) Rouse(arch string) error {
	if err := q.nc.Publish(wakeSubject(arch), nil); err != nil {
		return fmt.Errorf("wake builders: %w", err)
	}
	return nil
}

// Wake returns a channel that gets a value, soon, after builds of the architectures were queued. Stop it when done.
func (q *Queue) Wake(archs []string) (wake <-chan struct{}, stop func(), err error) {
	c := make(chan struct{}, 1)
	var subs []*nats.Subscription
	stop = func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // fails only when the connection is closed, and then it is done
		}
	}
	for _, arch := range archs {
		s, err := q.nc.Subscribe(wakeSubject(arch), func(*nats.Msg) {
			select {
			case c <- struct{}{}:
			default:
			}
		})
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("subscribe to %s: %w", wakeSubject(arch), err)
		}
		subs = append(subs, s)
	}
	return c, stop, nil
}

// Delivery is a build message that was handed to this program.
type Delivery struct {
	Build    rpmflow.Build
	Sequence uint64 // in BUILDS
	// Deliveries counts how often the message was handed out, this time included.
	Deliveries uint64
	msg        jetstream.Msg
}

// Heartbeat keeps the message from others for another ack wait.
func (d *Delivery) Heartbeat() error { return d.msg.InProgress() }

// Done removes the message from the queue, and waits until the server has said so.
func (d *Delivery) Done(ctx context.Context) error {
	// A connection that breaks takes the answer with it: nobody would tell us before ctx ends.
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	return d.msg.DoubleAck(ctx)
}

// Release gives the message back, at once, to whoever wants it.
func (d *Delivery) Release() error { return d.msg.Nak() }

// candidate is a project with messages of one architecture.
type candidate struct {
	consumer jetstream.Consumer
	subject  string
	project  string
	running  int    // of the project's builds, on all builders, over the architectures that are asked for
	waiting  bool   // the stream has messages that nobody holds
	oldest   uint64 // sequence of the one that waits the longest; known only where it decides
}

// Take hands out one build of the architectures, or nil when there is none now. Of the projects with work it takes the one that is
// running least, on all builders together, and of several such the one whose build has waited the longest; so a mass rebuild in one delays
// the others by one free slot at most.
func (q *Queue) Take(ctx context.Context, archs []string, log *slog.Logger) (*Delivery, error) {
	candidates, err := q.candidates(ctx, archs)
	if err != nil {
		return nil, err
	}
	sort.SliceStable(candidates, func(i, j int) bool {
		a, b := candidates[i], candidates[j]
		if a.running != b.running {
			return a.running < b.running
		}
		return a.oldest < b.oldest
	})
	for _, c := range candidates {
		d, err := q.fetch(ctx, c.consumer, c.waiting, log)
		if err != nil {
			q.forget(c.subject)
			return nil, fmt.Errorf("fetch from %s: %w", c.subject, err)
		}
		if d != nil {
			return d, nil
		}
	}
	return nil, nil
}

// candidates looks which projects have work, and how they stand.
func (q *Queue) candidates(ctx context.Context, archs []string) ([]*candidate, error) {
	var candidates []*candidate
	delivered := map[*candidate]uint64{} // the last sequence that was handed out
	running := map[string]int{}
	for _, arch := range archs {
		info, err := q.info(ctx, "rpmflow.builds."+Token(arch)+".*")
		if err != nil {
			return nil, err
		}
		for subject, messages := range info.State.Subjects {
			cons, err := q.consumer(ctx, subject)
			if err != nil {
				return nil, err
			}
			ci, err := cons.Info(ctx)
			if err != nil {
				q.forget(subject)
				if errors.Is(err, jetstream.ErrConsumerNotFound) {
					continue
				}
				return nil, fmt.Errorf("consumer of %s: %w", subject, err)
			}
			// Even a project at its limit is asked: a message whose holder fell silent counts as held until it is handed out again.
			held := ci.NumAckPending
			c := &candidate{
				consumer: cons, subject: subject, project: subject[strings.LastIndexByte(subject, '.')+1:],
				waiting: messages > uint64(held) && held < ci.Config.MaxAckPending,
			}
			candidates = append(candidates, c)
			delivered[c] = ci.Delivered.Stream
			running[c.project] += held
		}
	}
	alike := map[int]int{} // how many with work to hand out run as many
	for _, c := range candidates {
		c.running = running[c.project]
		if c.waiting {
			alike[c.running]++
		}
	}
	for _, c := range candidates {
		if !c.waiting || alike[c.running] < 2 {
			continue
		}
		var err error
		if c.oldest, err = q.oldest(ctx, c.subject, delivered[c]); err != nil {
			return nil, err
		}
	}
	return candidates, nil
}

// oldest gives the sequence of the message that has waited the longest: the first one after those that were handed out. It is asked for once
// for each message that comes to be the first.
func (q *Queue) oldest(ctx context.Context, subject string, delivered uint64) (uint64, error) {
	q.mu.Lock()
	known := q.consumers[subject]
	q.mu.Unlock()
	if known.oldest > delivered {
		return known.oldest, nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	msg, err := q.stream.GetMsg(ctx, delivered+1, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) { // somebody was faster
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read oldest message of %s: %w", subject, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if known, ok := q.consumers[subject]; ok {
		known.oldest = msg.Sequence
		q.consumers[subject] = known
	}
	return msg.Sequence, nil
}

// fetch takes a message. A consumer hears of a message a little later than the stream: where one is known to wait, so does fetch.
func (q *Queue) fetch(ctx context.Context, cons jetstream.Consumer, waiting bool, log *slog.Logger) (*Delivery, error) {
	take := func() (jetstream.MessageBatch, error) { return cons.FetchNoWait(1) }
	if waiting {
		take = func() (jetstream.MessageBatch, error) { return cons.Fetch(1, jetstream.FetchMaxWait(fetchWait)) }
	}
	batch, err := take()
	if err != nil {
		return nil, err
	}
	var d *Delivery
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		b := rpmflow.Build{}
		if err := json.Unmarshal(msg.Data(), &b); err != nil {
			log.Error("a build message cannot be read and is dropped", "subject", msg.Subject(), "sequence", meta.Sequence.Stream, "error", err)
			if err := msg.TermWithReason("unreadable: " + err.Error()); err != nil {
				return nil, err
			}
			continue
		}
		d = &Delivery{Build: b, Sequence: meta.Sequence.Stream, Deliveries: meta.NumDelivered, msg: msg}
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

// consumer makes the durable consumer of an (arch, project) on demand. Its MaxAckPending is the project's limit,
// which the newest message of the project tells.
func (q *Queue) consumer(ctx context.Context, subject string) (jetstream.Consumer, error) {
	q.mu.Lock()
	known, ok := q.consumers[subject]
	q.mu.Unlock()
	if ok && time.Since(known.checked) < consumerRecheck {
		return known.consumer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	limit := 1
	msg, err := q.stream.GetLastMsgForSubject(ctx, subject)
	switch {
	case err == nil:
		var b rpmflow.Build
		if json.Unmarshal(msg.Data, &b) == nil && b.Concurrency > 0 {
			limit = b.Concurrency
		}
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, fmt.Errorf("read newest message of %s: %w", subject, err)
	}
	name := "builder-" + strings.ReplaceAll(strings.TrimPrefix(subject, "rpmflow.builds."), ".", "-")
	cons, err := q.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: name, FilterSubject: subject,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: q.ackWait,
		MaxDeliver:    -1, // a message past MaxDeliver would stay in a work queue unseen: builders count deliveries themselves
		MaxAckPending: limit, InactiveThreshold: consumerInactive,
	})
	if err != nil {
		return nil, fmt.Errorf("consumer %s: %w", name, err)
	}
	q.mu.Lock()
	q.consumers[subject] = knownConsumer{consumer: cons, checked: time.Now()}
	q.mu.Unlock()
	return cons, nil
}

func (q *Queue) forget(subject string) {
	q.mu.Lock()
	delete(q.consumers, subject)
	q.mu.Unlock()
}

// Holds reports whether the message with this sequence still is in the queue.
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
