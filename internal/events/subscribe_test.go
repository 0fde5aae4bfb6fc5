package events_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// announcer finishes builds.
type announcer struct {
	t      *testing.T
	ledger *events.Ledger
}

func newAnnouncer(t *testing.T, s *server.Server, subscribers ...string) announcer {
	t.Helper()
	as(t, s, "listener", events.StreamSettings{Subscribers: subscribers})
	_, js := as(t, s, "builder", events.StreamSettings{})
	return announcer{t, testkit.Value(events.NewLedger(t.Context(), js))(t)}
}

func (a announcer) finish(project, push string) rpmflow.Build {
	a.t.Helper()
	b := build(project, push)
	b.State, b.Outcome = rpmflow.Finished, &rpmflow.Outcome{Result: rpmflow.Succeeded}
	testkit.Value(a.ledger.Append(a.t.Context(), events.TypeFinished, b, 0))(a.t)
	return b
}

// foreignClient logs in as another program does, with the library as it is.
func foreignClient(t *testing.T, s *server.Server, user string) (*nats.Conn, jetstream.JetStream, *testkit.Log) {
	t.Helper()
	var log testkit.Log
	nc := testkit.Value(nats.Connect(s.ClientURL(), nats.UserInfo(user, password),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { fmt.Fprintln(&log, err) })))(t)
	t.Cleanup(nc.Close)
	return nc, testkit.Value(jetstream.New(nc))(t), &log
}

func id(t *testing.T, raw []byte) string {
	t.Helper()
	return testkit.Value(events.Parse(raw))(t).Build.ID
}

// A subscriber of another account fetches and acknowledges with the library's defaults.
func TestSubscriberFetches(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords("mirror.sync", "mail").Config())
	a := newAnnouncer(t, s, "mirror.sync", "mail")
	_, js, log := foreignClient(t, s, "mirror.sync")
	b1, b2 := a.finish("hello", "p1"), a.finish("hello", "p2")
	cons := testkit.Value(js.Consumer(t.Context(), "EVENTS", events.SubscriberConsumer("mirror.sync")))(t)
	first := testkit.Value(cons.Next())(t)
	if id(t, first.Data()) != b1.ID {
		t.Fatalf("first came %s", first.Data())
	}
	testkit.Must(t, first.DoubleAck(t.Context()))
	it := testkit.Value(cons.Messages())(t)
	second := testkit.Value(it.Next())(t)
	if id(t, second.Data()) != b2.ID {
		t.Fatalf("then came %s", second.Data())
	}
	testkit.Must(t, second.Ack())
	b3 := a.finish("hello", "p3")
	third := testkit.Value(it.Next())(t)
	if id(t, third.Data()) != b3.ID {
		t.Fatalf("then came %s", third.Data())
	}
	testkit.Must(t, third.Nak())
	again := testkit.Value(it.Next())(t)
	it.Stop()
	if id(t, again.Data()) != b3.ID {
		t.Fatalf("what was given back came as %s", again.Data())
	}
	testkit.Must(t, again.DoubleAck(t.Context()))
	testkit.Eventually(t, "not all is acknowledged",
		func() bool { return testkit.Value(cons.Info(t.Context()))(t).AckFloor.Stream == 3 })
	// A listener that starts again leaves the place as it is.
	as(t, s, "listener", events.StreamSettings{Subscribers: []string{"mirror.sync", "mail"}})
	if info := testkit.Value(cons.Info(t.Context()))(t); info.AckFloor.Stream != 3 {
		t.Errorf("the place is forgotten: %+v", info.AckFloor)
	}
	if log.String() != "" {
		t.Error(log)
	}
}

// A subscriber gets publications by a consumer of its own, which the listener has made.
func TestSubscriberFetchesPublications(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords("mirror", "mail").Config())
	as(t, s, "listener", events.StreamSettings{Subscribers: []string{"mirror", "mail"}})
	_, pjs := as(t, s, "publisher", events.StreamSettings{})
	pubs := events.NewPublications(pjs)
	publish := func(target string) {
		testkit.Must(t, pubs.Add(t.Context(), events.Publication{Project: "hello", Target: target,
			Published: time.Now()}, 0))
	}
	_, js, log := foreignClient(t, s, "mirror")
	publish("a")
	cons := testkit.Value(js.Consumer(t.Context(), "PUBLISHED", events.SubscriberConsumer("mirror")))(t)
	first := testkit.Value(cons.Next())(t)
	if first.Subject() != "rpmflow.published.hello.a" {
		t.Errorf("came %s", first.Subject())
	}
	testkit.Must(t, first.DoubleAck(t.Context()))
	testkit.Must(t, pubs.NoteFailure("hello", "b", events.Failure{Error: "x"})) // is none
	publish("b")
	second := testkit.Value(cons.Next())(t)
	if second.Subject() != "rpmflow.published.hello.b" {
		t.Errorf("then came %s", second.Subject())
	}
	testkit.Must(t, second.DoubleAck(t.Context()))
	// A listener that starts again leaves the place as it is.
	as(t, s, "listener", events.StreamSettings{Subscribers: []string{"mirror", "mail"}})
	if info := testkit.Value(cons.Info(t.Context()))(t); info.AckFloor.Stream != 2 || info.NumPending != 0 {
		t.Errorf("the place is forgotten: %+v", info)
	}
	if log.String() != "" {
		t.Error(log)
	}
}

// An answer to a subject that a subscriber names stays in its own account.
func TestSubscriberInjectsNothing(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords("mirror", "mail").Config())
	a := newAnnouncer(t, s, "mirror", "mail")
	for i := range 8 {
		a.finish("hello", fmt.Sprint(i))
	}
	_, mail, _ := foreignClient(t, s, "mail")
	victim := testkit.Value(mail.Consumer(t.Context(), "EVENTS", "watch-mail"))(t)
	held := testkit.Value(victim.Next())(t)
	nc, js, _ := foreignClient(t, s, "mirror")
	next := "$JS.API.CONSUMER.MSG.NEXT.EVENTS.watch-mirror"
	for _, reply := range []string{
		"rpmflow.pushes.p.d.received", "rpmflow.events.p.t.b.finished", "rpmflow.builds.x86_64.p", "rpmflow.logs.b",
		"$JS.API.STREAM.PURGE.EVENTS", "$JS.API.STREAM.DELETE.EVENTS",
		"$JS.API.CONSUMER.MSG.NEXT.EVENTS.watch-mail", "$JS.API.CONSUMER.DELETE.EVENTS.watch-mail", held.Reply(),
	} {
		for _, request := range []string{`{"batch":1,"no_wait":true}`,
			`{"batch":1,"expires":1000000,"idle_heartbeat":1000000}`} {
			testkit.Must(t, nc.PublishRequest(next, reply, []byte(request)))
		}
		for _, subject := range []string{"$JS.API.CONSUMER.INFO.EVENTS.watch-mirror",
			"$JS.ACK.EVENTS.watch-mirror.1.1.1.1.0"} {
			testkit.Must(t, nc.PublishRequest(subject, reply, []byte("+NXT")))
		}
	}
	push := []byte(`{"stream_name":"EVENTS","config":{"durable_name":"watch-mirror",` +
		`"deliver_subject":"rpmflow.pushes.p.d.received","filter_subject":"rpmflow.events.*.*.*.finished"}}`)
	for _, subject := range []string{"$JS.API.CONSUMER.CREATE.EVENTS.watch-mirror.rpmflow.events.*.*.*.finished",
		"$JS.API.CONSUMER.DURABLE.CREATE.EVENTS.watch-mirror", next} {
		testkit.Must(t, nc.PublishRequest(subject, nc.NewInbox(), push))
	}
	// The server works off requests in their order; the last of them is answered after all the others.
	testkit.Value(js.Consumer(t.Context(), "EVENTS", "watch-mirror"))(t)
	_, ajs := as(t, s, "admin", events.StreamSettings{})
	for stream, want := range map[string]uint64{events.StreamPushes: 0, events.StreamEvents: 8, events.StreamBuilds: 0,
		events.StreamLogs: 0} {
		if got := testkit.Value(ajs.Stream(t.Context(), stream))(t).CachedInfo().State.Msgs; got != want {
			t.Errorf("%s has %d messages, not %d", stream, got, want)
		}
	}
	info := testkit.Value(victim.Info(t.Context()))(t)
	if info.NumAckPending != 1 || info.AckFloor.Stream != 0 || info.Delivered.Consumer != 1 {
		t.Errorf("another subscriber's place has moved: %+v", info)
	}
	if c := testkit.Value(ajs.Consumer(t.Context(), events.StreamEvents,
		"watch-mirror"))(t).CachedInfo().Config; c.DeliverSubject != "" {
		t.Errorf("the consumer pushes to %s", c.DeliverSubject)
	}
}

// Without a name a subscriber gets what is stored, once, and no attempt that was refused, in its own account as in
// that of the streams.
func TestFinishedWithoutAName(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords("mirror").Config())
	a := newAnnouncer(t, s, "mirror")
	for _, user := range []string{"mirror", "admin"} {
		var log testkit.Log
		nc, js, err := events.Dial(events.Access{URL: s.ClientURL(), User: user, Password: password}, log.Logger())
		testkit.Must(t, err)
		t.Cleanup(nc.Close)
		got := make(chan string, 10)
		testkit.Run(t, "the subscriber", func(ctx context.Context) error {
			return events.Finished(ctx, js, events.Subscription{Project: "hello"}, log.Logger(),
				func(e events.Event) error { got <- e.Build.ID; return nil })
		})
		await := func(want string) {
			t.Helper()
			if have := testkit.Receive(t, "an event for "+user, got); have != want {
				t.Fatalf("%s: %s came, not %s", user, have, want)
			}
		}
		log.Until(t, "waiting for finished builds")
		b := a.finish("hello", user)
		lost := b.Clone()
		lost.Outcome = &rpmflow.Outcome{Result: rpmflow.Failed}
		if _, err := a.ledger.Append(t.Context(), events.TypeFinished, lost, 99, "another"); err == nil {
			t.Fatal("a build has finished twice")
		}
		a.finish("other", user)
		await(b.ID)
		testkit.Must(t, nc.ForceReconnect())
		log.Until(t, "NATS was away")
		testkit.Must(t, nc.Flush())
		await(a.finish("hello", user+" again").ID)
	}
}

// A durable consumer that the listener keeps is taken as it is, also for one project; without one there is an error.
func TestFinishedWithAKeptConsumer(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords("mirror").Config())
	a := newAnnouncer(t, s, "mirror")
	a.finish("other", "p0")
	b := a.finish("hello", "p1")
	_, js := as(t, s, "mirror", events.StreamSettings{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := ""
	testkit.Must(t, events.Finished(ctx, js, events.Subscription{Durable: "mirror", Project: "hello"}, quiet,
		func(e events.Event) error { got = e.Build.ID; cancel(); return nil }))
	if got != b.ID {
		t.Fatalf("came %q, not %s", got, b.ID)
	}
	info := testkit.Value(js.Consumer(t.Context(), events.StreamEvents, "watch-mirror"))(t).CachedInfo()
	if info.Config.FilterSubject != events.SubjectFinished || info.AckFloor.Stream != 2 {
		t.Errorf("the consumer has become %+v, %+v", info.Config, info.AckFloor)
	}
}
