package events_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func connect(t testing.TB) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	return eventstest.Connect(t, eventstest.Start(t, natsserver.Options{}), events.StreamSettings{})
}

func build(project, push string) rpmflow.Build {
	return rpmflow.Build{
		BuildRequest: rpmflow.BuildRequest{
			ID: rpmflow.BuildID(push, project, "opensuse-leap-15.6-x86_64"), Push: push, Project: project,
			Package: project,
			Target:  "opensuse-leap-15.6-x86_64", Arch: "x86_64", Concurrency: 1, QueuedAt: time.Now().UTC(),
		},
		State: rpmflow.Queued,
	}
}

func FuzzToken(f *testing.F) {
	f.Add("opensuse-leap-15.6-x86_64")
	f.Add("c++ >*.%2e")
	f.Fuzz(func(t *testing.T, name string) {
		token := events.Token(name)
		if strings.ContainsAny(token, ".*> \t/\\") {
			t.Fatalf("%q became %q, which is not one token", name, token)
		}
		back, err := url.PathUnescape(token)
		if err != nil || back != name {
			t.Fatalf("%q came back as %q: %v", name, back, err)
		}
	})
}

func TestOneOfManyClaimsWins(t *testing.T) {
	t.Parallel()
	_, js := connect(t)
	ledger := testkit.Value(events.NewLedger(t.Context(), js))(t)
	b := build("hello", "p1")
	seq := testkit.Value(ledger.Append(t.Context(), events.TypeQueued, b, 0))(t)
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			c := b.Clone()
			c.State, c.Attempt, c.Builder = rpmflow.Running, 1, fmt.Sprint("builder", i)
			_, err := ledger.Append(t.Context(), events.TypeStarted, c, seq, c.Builder)
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, events.ErrLost):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 31 {
		t.Fatalf("%d won and %d lost", won.Load(), lost.Load())
	}
	last := testkit.Value(ledger.LastOf(t.Context(), b.ID))(t)
	if last.Type != events.TypeStarted || last.Build.Attempt != 1 {
		t.Fatalf("the last event is %s of attempt %d", last.Type, last.Build.Attempt)
	}
	// The writer of an event that is stored already recognises it as its own, however often it tries.
	again := testkit.Value(ledger.Append(t.Context(), events.TypeStarted, last.Build, seq, last.Build.Builder))(t)
	if again != last.Sequence {
		t.Fatalf("own event found at %d, not at %d", again, last.Sequence)
	}
}

func TestAPushIsStoredOnce(t *testing.T) {
	t.Parallel()
	_, js := connect(t)
	pushes := testkit.Value(events.NewPushes(t.Context(), js))(t)
	p := rpmflow.Push{ID: rpmflow.PushID("hello", "d1"), Project: "hello", Ref: "refs/heads/main", Delivery: "d1",
		Received: time.Now(), Builds: []rpmflow.Build{build("hello", "d1")}}
	if _, again, err := pushes.Receive(t.Context(), p); err != nil || again {
		t.Fatal(again, err)
	}
	p2 := p
	p2.Builds, p2.Reason = nil, "the configuration has changed meanwhile"
	stored, again, err := pushes.Receive(t.Context(), p2)
	if err != nil || !again || len(stored.Builds) != 1 || stored.Builds[0].ID != p.Builds[0].ID {
		t.Fatalf("again=%v err=%v stored=%+v", again, err, stored)
	}

	seen := make(chan rpmflow.Push, 4)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- pushes.Each(ctx, quiet, func(_ context.Context, p rpmflow.Push) error { seen <- p; return nil })
	}()
	if got := <-seen; got.ID != p.ID {
		t.Fatal(got.ID)
	}
	cancel()
	testkit.Must(t, <-done)
}

func TestCancelNotices(t *testing.T) {
	t.Parallel()
	nc, js := connect(t)
	q := testkit.Value(events.NewQueue(t.Context(), nc, js, 30*time.Second))(t)
	notices, stop, err := q.CancelNotices("b1")
	testkit.Must(t, err)
	defer stop()
	for _, id := range []string{"b2", "b1", "b1"} {
		testkit.Must(t, q.NotifyCancel(id))
	}
	testkit.Receive(t, "the notice", notices)
}

func TestDurableSubscriberResumes(t *testing.T) {
	t.Parallel()
	_, js := connect(t)
	ledger := testkit.Value(events.NewLedger(t.Context(), js))(t)
	finish := func(push string) rpmflow.Build {
		b := build("hello", push)
		b.State = rpmflow.Finished
		b.Outcome = &rpmflow.Outcome{Result: rpmflow.Succeeded}
		testkit.Value(ledger.Append(t.Context(), events.TypeFinished, b, 0))(t)
		return b
	}
	sub := events.Subscription{Durable: "mirror.sync"}
	listen := func(want int, log *slog.Logger) (got []string) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := events.Finished(ctx, js, sub, log, func(e events.Event) error {
			got = append(got, e.Build.ID)
			if len(got) == want {
				cancel()
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return got
	}
	var log testkit.Log
	first := make(chan []string, 1)
	go func() { first <- listen(1, log.Logger()) }()
	log.Until(t, "waiting for finished builds") // which says that the durable consumer is there
	b1 := finish("p1")
	if got := <-first; !slices.Equal(got, []string{b1.ID}) {
		t.Fatalf("first came %v", got)
	}
	b2, b3 := finish("p2"), finish("p3") // no subscriber listens
	if got := listen(2, quiet); !slices.Equal(got, []string{b2.ID, b3.ID}) {
		t.Fatalf("after the pause came %v", got)
	}
}

func TestReplayThenFollow(t *testing.T) {
	t.Parallel()
	_, js := connect(t)
	ledger := testkit.Value(events.NewLedger(t.Context(), js))(t)
	for i := range 3 {
		testkit.Value(ledger.Append(t.Context(), events.TypeQueued, build("hello", fmt.Sprint(i)), 0))(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var seen []uint64
	caught := 0
	err := events.Replay(ctx, js, 1, func() {
		caught++
		testkit.Value(ledger.Append(t.Context(), events.TypeQueued, build("hello", "late"), 0))(t)
	}, func(e events.Event) error {
		if seen = append(seen, e.Sequence); len(seen) == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || fmt.Sprint(seen) != "[2 3 4]" || caught != 1 {
		t.Fatalf("err=%v seen=%v caught=%d", err, seen, caught)
	}
}

func TestLiveLog(t *testing.T) {
	t.Parallel()
	nc, js := connect(t)
	w := testkit.Value(events.NewLogs(nc, quiet))(t).Writer("b1")
	fmt.Fprint(w, "first line\n")
	binary := strings.Repeat("\x00\xff\xfe", 100_000)
	fmt.Fprint(w, binary)
	before := ""
	testkit.Eventually(t, "the first line", func() bool {
		before = ""
		collect := func(p []byte) error { before += string(p); return nil }
		testkit.Must(t, events.FollowLog(t.Context(), js, "b1", false, collect))
		return len(before) >= 11
	})
	if !strings.HasPrefix(before, "first line\n") {
		t.Fatalf("before the end came %q", before[:min(len(before), 20)])
	}
	w.Close(t.Context(), true)
	var got strings.Builder
	testkit.Must(t, events.FollowLog(t.Context(), js, "b1", true,
		func(p []byte) error { got.Write(p); return nil }))
	if got.String() != "first line\n"+binary {
		t.Fatalf("%d bytes came of %d", got.Len(), len(binary)+11)
	}
}

// A stream has up to 1,000 consumers unless it says another number.
func TestManyFollowALog(t *testing.T) {
	t.Parallel()
	nc, js := connect(t)
	w := testkit.Value(events.NewLogs(nc, quiet))(t).Writer("b1")
	fmt.Fprint(w, "a line")
	const followers, atOnce = 1100, 100
	var have atomic.Int64
	var g errgroup.Group
	for n := range int64(followers) {
		g.Go(func() error {
			return events.FollowLog(t.Context(), js, "b1", true, func([]byte) error { have.Add(1); return nil })
		})
		if (n+1)%atOnce == 0 {
			testkit.Eventually(t, "a line for everybody", func() bool { return have.Load() == n+1 })
		}
	}
	w.Close(t.Context(), true)
	testkit.Must(t, g.Wait())
}
