package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// recorder records all subjects that are published to in the account of the streams.
type recorder struct {
	mu   sync.Mutex
	seen []string
}

func newRecorder(t *testing.T, nc *nats.Conn) *recorder {
	t.Helper()
	var p recorder
	if _, err := nc.Subscribe(">", func(m *nats.Msg) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seen = append(p.seen,
			m.Subject)
	}); err != nil {
		t.Fatal(err)
	}
	testkit.Must(t, nc.Flush())
	return &p
}

// count returns how many subjects begin with these words.
func (p *recorder) count(prefix string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, subject := range p.seen {
		if strings.HasPrefix(subject, prefix) {
			n++
		}
	}
	return n
}

// used waits until every right was made use of: one that is not is one too many.
func (p *recorder) used(t *testing.T, r events.Rights) {
	t.Helper()
	testkit.Until(t, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		unused := slices.DeleteFunc(slices.Clone(r.Publish), func(pattern string) bool {
			return slices.ContainsFunc(p.seen, func(subject string) bool { return matches(pattern, subject) })
		})
		if len(unused) > 0 {
			return fmt.Errorf("unused rights: %q", unused)
		}
		return nil
	})
}

func matches(pattern, subject string) bool {
	want, have := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, w := range want {
		if w == ">" {
			return len(have) > i
		}
		if i >= len(have) || (w != "*" && w != have[i]) {
			return false
		}
	}
	return len(want) == len(have)
}

// The listener has the rights that it uses, and uses those that it has.
func TestListenerRights(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords("mirror").Config())
	anc, ajs := as(t, s, "admin", events.StreamSettings{})
	p := newRecorder(t, anc)
	nc, js := as(t, s, "listener", events.StreamSettings{Subscribers: []string{"mirror"}})
	// as after a restart
	testkit.Must(t, events.EnsureStreams(t.Context(), js,
		events.StreamSettings{Subscribers: []string{"mirror"}}))
	for _, stream := range []string{events.StreamPublished, events.StreamPublishing} { // as doctor does
		testkit.Value(js.Stream(t.Context(), stream))(t)
	}
	pushes, ledger := testkit.Value(events.NewPushes(t.Context(), js))(t),
		testkit.Value(events.NewLedger(t.Context(), js))(t)
	queue := testkit.Value(events.NewQueue(t.Context(), nc, js, time.Minute))(t)
	b := build("hello", "d1")
	push := rpmflow.Push{ID: rpmflow.PushID("hello", "d1"), Project: "hello", Delivery: "d1", Received: time.Now(),
		Builds: []rpmflow.Build{b}}
	for range 2 {
		if _, _, err := pushes.Receive(t.Context(), push); err != nil {
			t.Fatal(err)
		}
	}
	handled, replayed, logged := make(chan rpmflow.Push, 10), make(chan events.Event, 10), make(chan string, 100)
	testkit.Run(t, "the dispatcher", func(ctx context.Context) error {
		return pushes.Each(ctx, quiet, func(ctx context.Context, p rpmflow.Push) error {
			for _, b := range p.Builds {
				if _, err := ledger.Append(ctx, events.TypeQueued, b, 0); err != nil {
					return err
				}
				if _, err := ledger.Last(ctx, b); err != nil {
					return err
				}
				if err := queue.Enqueue(ctx, b, time.Time{}); err != nil {
					return err
				}
			}
			handled <- p
			return nil
		})
	})
	testkit.Run(t, "the replay", func(ctx context.Context) error {
		return events.Replay(ctx, js, 0, func() {}, func(e events.Event) error { replayed <- e; return nil })
	})
	testkit.Value(ajs.Publish(t.Context(), "rpmflow.logs."+b.ID, []byte("a line")))(t)
	keep := func(chunk []byte) error { logged <- string(chunk); return nil }
	testkit.Must(t, events.FollowLog(t.Context(), js, b.ID, false, keep))
	testkit.Run(t, "the log's reader", func(ctx context.Context) error {
		return events.FollowLog(ctx, js, b.ID, true, keep)
	})
	<-handled
	<-replayed
	<-logged
	// A build is canceled while it runs, another one while it waits.
	for kind, b := range map[events.Type]rpmflow.Build{events.TypeCancelRequested: build("hello", "d2"),
		events.TypeFinished: build("hello", "d3")} {
		testkit.Value(ledger.Append(t.Context(), kind, b, 0))(t)
	}
	testkit.Must(t, queue.NotifyCancel(b.ID))
	w := testkit.Value(events.NewLogs(nc, quiet))(t).Writer(build("hello", "d3").ID)
	fmt.Fprintln(w, "canceled")
	w.Close(t.Context(), true)
	p.used(t, events.RightsOf(rpmflow.RoleListener))
}

func TestBuilderRights(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords().Config())
	as(t, s, "listener", events.StreamSettings{})
	anc, ajs := as(t, s, "admin", events.StreamSettings{})
	forListener := testkit.Value(events.NewQueue(t.Context(), anc, ajs, time.Minute))(t)
	p := newRecorder(t, anc)
	nc, js := as(t, s, "builder", events.StreamSettings{})
	ledger, queue := testkit.Value(events.NewLedger(t.Context(), js))(t), testkit.Value(events.NewQueue(t.Context(), nc,
		js, time.Minute))(t)
	testkit.Run(t, "the queue's reader", func(ctx context.Context) error { queue.Follow(ctx, quiet); return nil })
	wake, stop, err := queue.WorkNotices([]string{"x86_64"})
	testkit.Must(t, err)
	defer stop()
	testkit.Must(t, nc.Flush())
	b := build("hello", "d1")
	testkit.Must(t, forListener.Enqueue(t.Context(), b, time.Time{}))
	testkit.Receive(t, "the notice of work", wake)
	notices, stopNotices, err := queue.CancelNotices(b.ID)
	testkit.Must(t, err)
	defer stopNotices()
	testkit.Must(t, errors.Join(nc.Flush(), forListener.NotifyCancel(b.ID)))
	testkit.Receive(t, "the notice to the owner", notices)
	var seq uint64
	for _, kind := range []events.Type{events.TypeQueued, events.TypeStarted, events.TypePhase, events.TypeFinished} {
		seq = testkit.Value(ledger.Append(t.Context(), kind, b, seq))(t)
	}
	d := take(t, queue)
	testkit.Must(t, errors.Join(d.Heartbeat(), d.Release()))
	testkit.Eventually(t, "what was released does not come back", func() bool { d = take(t, queue); return d != nil })
	testkit.Value(queue.Holds(t.Context(), d.Sequence))(t)
	b.InfrastructureFailures++
	testkit.Must(t, errors.Join(queue.Enqueue(t.Context(), b, time.Now().Add(time.Hour)),
		queue.Enqueue(t.Context(), b, time.Time{}), d.Done(t.Context())))
	w := testkit.Value(events.NewLogs(nc, quiet))(t).Writer(b.ID)
	fmt.Fprintln(w, "a line")
	w.Close(t.Context(), true)
	if _, err := ledger.Last(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	p.used(t, events.RightsOf(rpmflow.RoleBuilder))
}

// A publisher takes finished builds with a durable consumer, and writes only of publications.
func TestPublisherRights(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords().Config())
	_, ljs := as(t, s, "listener", events.StreamSettings{})
	first, second := build("hello", "d1"), build("hello", "d2")
	ledger := testkit.Value(events.NewLedger(t.Context(), ljs))(t)
	testkit.Value(ledger.Append(t.Context(), events.TypeFinished, first, 0))(t)
	anc, _ := as(t, s, "admin", events.StreamSettings{})
	p := newRecorder(t, anc)
	nc, js, err := events.AttachPublisher(t.Context(), events.Access{
		URL: s.ClientURL(), User: "publisher", Password: password, Role: rpmflow.RolePublisher}, quiet)
	testkit.Must(t, err)
	t.Cleanup(nc.Close)
	unpublished := func() (ids []string) {
		testkit.Must(t, events.Unpublished(t.Context(), js, func(e events.Event) error {
			ids = append(ids, e.Build.ID)
			return nil
		}))
		return ids
	}
	if ids := unpublished(); !slices.Equal(ids, []string{first.ID}) {
		t.Errorf("before the first publisher %v wait", ids)
	}
	own := testkit.Value(events.NewLedger(t.Context(), js))(t)
	last := testkit.Value(own.Last(t.Context(), first))(t)
	for ev, err := range own.Finished(t.Context(), first.Project, 1, last.Sequence) {
		if err != nil || ev.Build.ID != first.ID {
			t.Errorf("finished: build %s, %v", ev.Build.ID, err)
		}
	}
	pushes := testkit.Value(events.NewPushes(t.Context(), js))(t)
	if _, err := pushes.Last(t.Context(), "hello", rpmflow.PushID("hello", "d1")); !errors.Is(err, events.ErrNoPush) {
		t.Errorf("a push that is not there: %v", err)
	}
	taken := make(chan events.Finish, 2)
	testkit.Run(t, "the publisher", func(ctx context.Context) error {
		return events.ForPublisher(ctx, js, quiet, func(f events.Finish) { taken <- f })
	})
	testkit.Must(t, testkit.Receive(t, "the first build", taken).Done(t.Context()))
	if ids := unpublished(); len(ids) > 0 {
		t.Errorf("acknowledged, and waits: %v", ids)
	}
	testkit.Value(ledger.Append(t.Context(), events.TypeFinished, second, 0))(t)
	testkit.Receive(t, "the second build", taken)
	if ids := unpublished(); !slices.Equal(ids, []string{second.ID}) {
		t.Errorf("while the second is in work %v wait", ids)
	}

	pubs := events.NewPublications(js)
	start := time.Now().Add(-time.Minute)
	for n := range 2 { // fenced behind the one before
		_, seq, err := pubs.Last(t.Context(), "hello", "x")
		testkit.Must(t, err)
		pub := events.Publication{Project: "hello", Target: "x", Published: time.Now(),
			Repositories: []events.PublishedRepository{{Revision: int64(n)}}}
		testkit.Must(t, pubs.Add(t.Context(), pub, seq))
		if err := pubs.Add(t.Context(), pub, seq); n > 0 && !errors.Is(err, events.ErrLost) {
			t.Errorf("a second one behind %d: %v", seq, err)
		}
	}
	n := 0
	testkit.Must(t, pubs.Since(t.Context(), start, func(events.Publication) error { n++; return nil }))
	if n != 2 {
		t.Errorf("%d of 2 publications", n)
	}
	testkit.Must(t, pubs.NoteFailure("hello", "x", events.Failure{Error: "the disk is full"}))
	testkit.Must(t, nc.Flush())
	if f := testkit.Value(pubs.LastFailure(t.Context(), "hello", "x"))(t); f.Error != "the disk is full" {
		t.Errorf("the last failure: %+v", f)
	}
	if f := testkit.Value(pubs.LastFailure(t.Context(), "hello", "y"))(t); f.Error != "" {
		t.Errorf("no failure: %+v", f)
	}
	p.used(t, events.RightsOf(rpmflow.RolePublisher))
}

// The server refuses what a program has no right to, and the error says so.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords("mirror").Config())
	_, ljs := as(t, s, "listener", events.StreamSettings{Subscribers: []string{"mirror"}})
	for user, subjects := range map[string][]string{
		"listener": {
			"rpmflow.events.p.t.b.started", "rpmflow.schedules.b", "$JS.API.STREAM.DELETE.EVENTS",
			"$JS.API.STREAM.PURGE.EVENTS",
			"$JS.API.CONSUMER.DELETE.BUILDS.c", "$JS.API.STREAM.CREATE.OTHER", "rpmflow.finished.p.t.b",
			"rpmflow.published.p.t", "rpmflow.publishing.p.t.lease",
		},
		"builder": {
			"rpmflow.pushes.p.d.received", "rpmflow.finished.p.t.b", "rpmflow.published.p.t",
			"$JS.API.STREAM.CREATE.EVENTS",
			"$JS.API.STREAM.UPDATE.EVENTS",
			"$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.DELETE.BUILDS", "$JS.API.STREAM.PURGE.EVENTS",
			"$JS.API.STREAM.MSG.DELETE.EVENTS", "$JS.API.STREAM.MSG.GET.PUSHES",
			"$JS.API.CONSUMER.CREATE.EVENTS.c", "$JS.API.CONSUMER.CREATE.PUSHES.dispatcher.rpmflow.pushes.*.*.received",
			"$JS.API.CONSUMER.DELETE.EVENTS.watch-mirror",
			"$JS.API.CONSUMER.DELETE.PUSHES.dispatcher", "$JS.API.CONSUMER.DELETE.BUILDS.c",
			"$JS.ACK.EVENTS.watch-mirror.1.1.1.1.0", "$JS.ACK.PUSHES.dispatcher.1.1.1.1.0",
		},
		"publisher": {
			"rpmflow.events.p.t.b.finished", "rpmflow.events.p.t.b.published", "rpmflow.builds.x86_64.p",
			"rpmflow.pushes.p.d.received",
			"$JS.API.STREAM.UPDATE.EVENTS", "$JS.ACK.EVENTS.watch-mirror.1.1.1.1.0", "$JS.API.STREAM.PURGE.EVENTS",
			"$JS.API.STREAM.PURGE.PUBLISHED", "$JS.API.STREAM.DELETE.PUBLISHED", "$JS.API.STREAM.UPDATE.PUBLISHED",
			"$JS.ACK.PUBLISHED.watch-mirror.1.1.1.1.0",
		},
		"mirror": {
			"rpmflow.events.p.t.b.finished", "rpmflow.finished.p.t.b", "rpmflow.pushes.p.d.received",
			"rpmflow.builds.x86_64.p", "$JS.API.INFO", "$JS.API.STREAM.INFO.EVENTS",
			"$JS.API.CONSUMER.CREATE.EVENTS.c", "$JS.API.CONSUMER.INFO.EVENTS.watch-other",
			"$JS.API.CONSUMER.DELETE.EVENTS.watch-mirror", "_INBOX.x", "x",
			"rpmflow.published.p.t", "rpmflow.publishing.p.t.lease", "$JS.API.STREAM.INFO.PUBLISHED",
			"$JS.API.CONSUMER.CREATE.PUBLISHED.c", "$JS.API.CONSUMER.MSG.NEXT.PUBLISHED.watch-other",
			"$JS.API.CONSUMER.DELETE.PUBLISHED.watch-mirror",
		},
	} {
		var log testkit.Log
		nc, _, err := events.Dial(events.Access{URL: s.ClientURL(), User: user, Password: password, Name: user},
			log.Logger())
		testkit.Must(t, err)
		for _, subject := range subjects {
			testkit.Must(t, nc.PublishRequest(subject, "_INBOX_"+user+".x", nil))
		}
		for _, subject := range []string{"rpmflow.>", "_INBOX_other.>", "$JS.>", ">"} {
			if _, err := nc.Subscribe(subject, func(*nats.Msg) {}); err != nil {
				t.Fatal(err)
			}
			subjects = append(subjects, subject)
		}
		for i, subject := range subjects {
			verb := "publish to"
			if i >= len(subjects)-4 {
				verb = "subscribe to"
			}
			log.Until(t, fmt.Sprintf("level=ERROR msg=\"the NATS user %s may not %s %s: "+
				"use the accounts of `rpmflow config nats`\" subject=%s", user, verb, subject, subject))
		}
		nc.Close()
	}
	for stream, want := range map[string]uint64{events.StreamPushes: 0, events.StreamEvents: 0, events.StreamBuilds: 0,
		events.StreamLogs: 0, events.StreamPublished: 0, events.StreamPublishing: 0} {
		if got := testkit.Value(ljs.Stream(t.Context(), stream))(t).CachedInfo().State.Msgs; got != want {
			t.Errorf("%s has %d messages", stream, got)
		}
	}
	for _, stream := range []string{events.StreamEvents, events.StreamPublished} {
		testkit.Value(ljs.Consumer(t.Context(), stream, "watch-mirror"))(t)
	}
}
