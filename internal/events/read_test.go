package events_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/retry"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// loseReaders removes the consumers of a stream that have no durable name, as a server that lost them does.
func loseReaders(t *testing.T, js jetstream.JetStream, stream string) {
	t.Helper()
	s := testkit.Value(js.Stream(t.Context(), stream))(t)
	testkit.Eventually(t, "a reader of "+stream, func() bool {
		n := 0
		for info := range s.ListConsumers(t.Context()).Info() {
			if info.Config.Durable == "" && info.NumWaiting > 0 {
				testkit.Must(t, s.DeleteConsumer(t.Context(), info.Name))
				n++
			}
		}
		return n > 0
	})
}

// A log is whole, and events come once, whether the server loses the consumer or the connection breaks.
func TestReadersGoOn(t *testing.T) {
	t.Parallel()
	nc, js := connect(t)
	ledger := testkit.Value(events.NewLedger(t.Context(), js))(t)
	seen, lines := make(chan uint64, 100), make(chan string, 100)
	testkit.Run(t, "the log's reader", func(ctx context.Context) error {
		return events.FollowLog(ctx, js, "b1", true, func(p []byte) error { lines <- string(p); return nil })
	})
	testkit.Run(t, "the replay", func(ctx context.Context) error {
		after := uint64(0)
		return retry.Policy{First: time.Millisecond}.Do(ctx, func() error {
			return events.Replay(ctx, js, after, func() {}, func(e events.Event) error {
				after = e.Sequence
				seen <- after
				return nil
			})
		})
	})
	lose := []func(){
		func() { loseReaders(t, js, events.StreamEvents); loseReaders(t, js, events.StreamLogs) },
		func() { testkit.Must(t, nc.ForceReconnect()) },
		func() {},
	}
	var events3, lines3 []string
	for i, lose := range lose {
		testkit.Value(ledger.Append(t.Context(), events.TypeQueued, build("hello", fmt.Sprint(i)), 0))(t)
		testkit.Value(js.Publish(t.Context(), "rpmflow.logs.b1", []byte(fmt.Sprint(i))))(t)
		events3, lines3 = append(events3, fmt.Sprint(<-seen)), append(lines3, <-lines)
		lose()
	}
	if got := strings.Join(append(events3, lines3...), " "); got != "1 2 3 0 1 2" {
		t.Errorf("came %s", got)
	}
}

// Programs end while NATS is away, also if their consumers were lost before.
func TestReadersEndWithoutNATS(t *testing.T) {
	t.Parallel()
	s := eventstest.Start(t, natsserver.Options{})
	_, js := eventstest.Connect(t, s, events.StreamSettings{})
	ctx, cancel := context.WithCancel(t.Context())
	followed, replayed := make(chan error, 1), make(chan error, 1)
	go func() { followed <- events.FollowLog(ctx, js, "b1", true, func([]byte) error { return nil }) }()
	go func() {
		replayed <- events.Replay(ctx, js, 0, func() {}, func(events.Event) error { return nil })
	}()
	loseReaders(t, js, events.StreamEvents)
	loseReaders(t, js, events.StreamLogs)
	s.Close()
	cancel()
	stopped := time.Now()
	testkit.Must(t, testkit.Receive(t, "the end of the log", followed))
	if err := testkit.Receive(t, "the end of the replay", replayed); err == nil {
		t.Error("the replay ends without an error")
	}
	if took := time.Since(stopped); took > 5*time.Second { // longer than one request to NATS
		t.Errorf("the readers ended %s after they were told to", took)
	}
}

// Who asks for a log again and again leaves nothing in the stream, where consumers are limited.
func TestReadingALogLeavesNoConsumer(t *testing.T) {
	t.Parallel()
	_, js := connect(t)
	for _, line := range []string{"0", "1"} {
		testkit.Value(js.Publish(t.Context(), "rpmflow.logs.b1", []byte(line)))(t)
		testkit.Value(js.Publish(t.Context(), "rpmflow.logs.b2", []byte("other")))(t)
	}
	for _, build := range []string{"b1", "absent"} {
		var got string
		testkit.Must(t, events.FollowLog(t.Context(), js, build, false, func(p []byte) error {
			got += string(p)
			return nil
		}))
		if want := map[string]string{"b1": "01"}[build]; got != want {
			t.Errorf("log of %s: %q", build, got)
		}
	}
	stream := testkit.Value(js.Stream(t.Context(), events.StreamLogs))(t)
	if n := stream.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left", n)
	}
}
