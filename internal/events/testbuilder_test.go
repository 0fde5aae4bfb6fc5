package events_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// queueFixture is a queue with builders that do what builders do: claim, send heartbeats, hand back, finish, or die.
type queueFixture struct {
	t       testing.TB
	nc      *nats.Conn
	js      jetstream.JetStream
	ledger  *events.Ledger // the listener's
	ackWait time.Duration
	queues  []*events.Queue
	last    uint64 // event
}

func newQueueFixture(t testing.TB, ackWait time.Duration) *queueFixture {
	t.Helper()
	nc, js := connect(t)
	return &queueFixture{
		t: t, nc: nc, js: js, ledger: testkit.Value(events.NewLedger(t.Context(), js))(t), ackWait: ackWait,
	}
}

// testBuilder is a builder.
type testBuilder struct {
	*queueFixture
	ledger *events.Ledger
	queue  *events.Queue
}

// job is a build in a builder's hands.
type job struct {
	*testBuilder
	*events.Message
	record rpmflow.Build
	event  uint64
}

func (h *queueFixture) builder() *testBuilder {
	h.t.Helper()
	q := testkit.Value(events.NewQueue(h.t.Context(), h.nc, h.js, h.ackWait))(h.t)
	follow(h.t, q)
	h.queues = append(h.queues, q)
	l := testkit.Value(events.NewLedger(h.t.Context(), h.js))(h.t)
	l.NotifyQueue(q)
	return &testBuilder{h, l, q}
}

func follow(t testing.TB, q *events.Queue) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); q.Follow(ctx, quiet) }()
	t.Cleanup(func() { cancel(); <-done })
}

// push queues n builds of a project.
func (h *queueFixture) push(project string, n, limit int) {
	h.t.Helper()
	for range n {
		b := build(project, fmt.Sprint("p", h.last))
		b.Concurrency = limit
		h.last = testkit.Value(h.ledger.Append(h.t.Context(), events.TypeQueued, b, 0))(h.t)
		q := testkit.Value(events.NewQueue(h.t.Context(), h.nc, h.js, h.ackWait))(h.t)
		testkit.Must(h.t, q.Enqueue(h.t.Context(), b, time.Time{}))
	}
}

// claim takes a build and begins it; nil: there is none.
func (s *testBuilder) claim() *job {
	s.t.Helper()
	for _, q := range s.queues { // everybody has seen what happened before
		testkit.Eventually(s.t, "an event has not come", func() bool { return events.Seen(q) >= s.last })
	}
	d := take(s.t, s.queue)
	if d == nil {
		return nil
	}
	last := testkit.Value(s.ledger.Last(s.t.Context(), d.Build))(s.t)
	b := last.Build
	b.State, b.Attempt, b.QueueSequence = rpmflow.Running, b.Attempt+1, d.Sequence
	j := &job{s, d, b, last.Sequence}
	j.publish(events.TypeStarted)
	return j
}

func (j *job) publish(kind events.Type) {
	j.t.Helper()
	j.event = testkit.Value(j.testBuilder.ledger.Append(j.t.Context(), kind, j.record, j.event,
		fmt.Sprint(j.event)))(j.t)
	j.last = j.event
}

func (j *job) finish() {
	j.t.Helper()
	j.record.State = rpmflow.Finished
	j.publish(events.TypeFinished)
	testkit.Must(j.t, j.Done(j.t.Context()))
}

func (j *job) handBack() {
	j.t.Helper()
	j.record.State = rpmflow.Queued
	j.publish(events.TypeQueued)
	testkit.Must(j.t, j.Release())
	testkit.Must(j.t, j.nc.Flush())
}

// retry is what becomes of a build that failed for reasons of the infrastructure.
func (j *job) retry() {
	j.t.Helper()
	j.record.State = rpmflow.Queued
	j.record.InfrastructureFailures++
	j.publish(events.TypeQueued)
	testkit.Must(j.t, j.queue.Enqueue(j.t.Context(), j.record, time.Time{}))
	testkit.Must(j.t, j.Done(j.t.Context()))
}

// order claims builds until there are no more, and returns their projects.
func (s *testBuilder) order() string {
	s.t.Helper()
	var projects []string
	for j := s.claim(); j != nil; j = s.claim() {
		projects = append(projects, j.record.Project)
	}
	return strings.Join(projects, " ")
}

func wantOrder(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("claimed: %s; want %s", got, want)
	}
}

func take(t testing.TB, q *events.Queue) *events.Message {
	t.Helper()
	return testkit.Value(q.Take(t.Context(), []string{"x86_64"}, quiet))(t)
}

// heart sends heartbeats for a build until the test ends.
func heart(j *job) {
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(done)
		for {
			_ = j.Heartbeat() // the server may be gone
			select {
			case <-stop:
				return
			case <-time.After(j.ackWait / 4):
			}
		}
	}()
	j.t.Cleanup(func() { close(stop); <-done })
}
