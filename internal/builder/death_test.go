package builder_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// answers is what builders have said of the queue's messages: how often a message had been handed out, and the words.
type answers struct {
	mu   sync.Mutex
	said map[string][]string
}

func (w *fixture) answers() *answers {
	a := &answers{said: map[string][]string{}}
	_, err := w.nc.Subscribe("$JS.ACK."+events.StreamBuilds+".>", func(m *nats.Msg) {
		a.mu.Lock()
		defer a.mu.Unlock()
		times := strings.Split(m.Subject, ".")[4] // $JS.ACK.<stream>.<consumer>.<times>…
		a.said[times] = append(a.said[times], string(m.Data))
	})
	testkit.Must(w.t, err)
	testkit.Must(w.t, w.nc.Flush())
	return a
}

// besidesHeartbeats lists what was said of a message when it had been handed out so often.
func (a *answers) besidesHeartbeats(times string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.said[times]), func(word string) bool { return word == "+WPI" })
}

// A build that takes much longer than the ack wait stays with its builder, although another one would take it.
func TestHeartbeatsKeepABuild(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	g, said := newGate(enginetest.RPMs), w.answers()
	o, idle := w.options("a"), w.options("b")
	o.AckWait, idle.AckWait = 3*time.Second, 3*time.Second
	w.run(o, "", g.step)
	b := w.enqueue("p1")
	w.entered(g)
	begun := time.Now()
	w.run(idle, "", nil)
	testkit.Eventually(w.t, "end of the third ack wait", func() bool { return time.Since(begun) > 3*o.AckWait })
	close(g.open)
	if got := w.finished(b); got.Builder != "a" || got.Attempt != 1 || got.LostAttempts != 0 {
		t.Errorf("%+v", got)
	}
	w.emptyQueue()
	if words := said.besidesHeartbeats("1"); !slices.Equal(words, []string{"+ACK"}) ||
		len(said.besidesHeartbeats("2")) > 0 {
		t.Errorf("answers %v", said.said)
	}
}

// A builder that has lost its build leaves the new owner alone: no event, no object, no answer to the message.
func TestALoserTouchesNothing(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	link, mine, theirs, said := w.proxy(), newGate(enginetest.RPMs), newGate(enginetest.RPMs), w.answers()
	o, other := w.options("a"), w.options("b")
	o.AckWait, other.AckWait = 3*time.Second, 3*time.Second
	a := w.run(o, link.url(), mine.step)
	b := w.enqueue("p1")
	w.entered(mine)
	link.set(true)
	w.run(other, "", theirs.step)
	w.entered(theirs)
	link.set(false)
	close(mine.open) // its packages are made
	a.soft()
	a.ended() // it has said all that it had to say
	testkit.Must(w.t, w.nc.Flush())
	last, err := w.ledger.LastOf(t.Context(), b.ID)
	testkit.Must(w.t, err)
	if last.Build.Builder != "b" || last.Build.Attempt != 2 || last.Build.State != rpmflow.Running ||
		w.messages() != 1 {
		t.Errorf("%s: %+v, %d messages", last.Type, last.Build, w.messages())
	}
	if words := said.besidesHeartbeats("1"); len(words) > 0 {
		t.Errorf("the loser has answered %v", words)
	}
	for _, name := range []string{"build.json", "build.log.gz", "hello-1.0-1.src.rpm", "hello-1.0-1.x86_64.rpm"} {
		if w.stored(b, 1, name) {
			t.Errorf("the loser has stored %s", name)
		}
	}
	close(theirs.open)
	if got := w.finished(b); got.Builder != "b" || got.Attempt != 2 || got.Outcome.Result != rpmflow.Succeeded {
		t.Errorf("%+v", got)
	}
	w.emptyQueue()
}

// outage is longer than every bound that a builder has for NATS while a build runs (30 s for claiming, for the live
// log's end, for the settling after a SIGTERM), and ten times the ack wait.
const outage = 33 * time.Second

// NATS is away for so long that nothing is left of any heartbeat; builds go on, and one of them ends meanwhile.
func TestNATSIsAwayForLong(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	middle, end := w.build("middle"), w.build("end")
	before, last := newGate(enginetest.Dependencies), newGate(enginetest.RPMs)
	step := func(ctx context.Context, step string, job build.Job) error {
		if job.Build.ID == middle.ID {
			return before.step(ctx, step, job)
		}
		return last.step(ctx, step, job)
	}
	o, other := w.options("a"), w.options("b")
	o.Jobs, o.AckWait, other.AckWait = 2, 3*time.Second, 3*time.Second
	w.run(o, "", step)
	w.enqueue("middle")
	w.enqueue("end")
	w.entered(before)
	w.entered(last)
	w.run(other, "", nil)
	w.nats.Close()
	close(before.open) // goes on to its next phase
	close(last.open)   // goes on to its upload and its end
	<-time.After(outage)
	w.startNATS(strings.TrimPrefix(w.url, "nats://"))
	for _, b := range []rpmflow.Build{middle, end} {
		if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.InfrastructureFailures != 0 ||
			!w.stored(b, got.Attempt, "build.json") {
			t.Errorf("%+v", got)
		}
	}
	w.emptyQueue()
}

// natsChild is a NATS server over a directory, on an address.
func natsChild(ctx context.Context, args []string) error {
	s, err := natsserver.Start(natsserver.Options{Dir: args[0], Listen: args[1], Sync: true, Logger: quiet})
	if err != nil {
		return err
	}
	defer s.Close()
	<-ctx.Done()
	return nil
}

// NATS is killed in the middle of one build while another waits, and comes again over what is left on its disk.
func TestNATSIsKilled(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	address := strings.TrimPrefix(w.url, "nats://")
	w.nats.Close()
	child := lifeline.Command(context.Background(), childNATS, w.natsDir, address)
	testkit.Must(w.t, child.Start())
	defer child.Stop(0)
	testkit.Eventually(w.t, "the server of its own", func() bool { return w.nc.IsConnected() && w.messages() == 0 })
	g := newGate(enginetest.RPMs)
	w.run(w.options("a"), "", g.step)
	running := w.enqueue("running")
	w.entered(g)
	waiting := w.enqueue("waiting")
	testkit.Must(w.t, unix.Kill(child.Pid(), unix.SIGKILL))
	_ = child.Wait()
	close(g.open)
	w.startNATS(address)
	for _, b := range []rpmflow.Build{running, waiting} {
		if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.InfrastructureFailures != 0 {
			t.Errorf("%+v", got)
		}
	}
	w.emptyQueue()
}

// storeAt opens the storage where it answers now.
func (w *fixture) storeAt(endpoint string) *storage.Store {
	w.t.Helper()
	at := w.s3
	at.Endpoint = endpoint
	s, err := storage.Open(at)
	testkit.Must(w.t, err)
	w.t.Cleanup(s.Close)
	return s
}

// The storage is killed in the middle of an upload, when the source package is stored and the binary one is on its way.
// The build is built again when the storage is there again, and none is spoiled meanwhile.
func TestStorageIsKilledDuringAnUpload(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	dir := t.TempDir()
	direct, g := storagetest.StartIn(t, dir)
	var puts atomic.Int32
	gone := make(chan struct{})
	link := w.proxyTo(strings.TrimPrefix(direct.Endpoint, "http://"), func(p []byte) {
		if strings.HasPrefix(string(p), "PUT ") && puts.Add(1) == 2 {
			_ = unix.Kill(g.Pid(), unix.SIGKILL)
			<-g.Done()
			close(gone)
		}
	})
	w.s3 = direct
	w.s3.Endpoint = "http://" + link.address()
	o := w.options("a")
	o.MaxFailures = 2 // one more of them would be the end
	w.run(o, "", nil)
	first, second := w.enqueue("first"), w.enqueue("second")
	testkit.Receive(t, "an upload", gone)
	w.until("the retry", func(e events.Event) bool {
		return e.Build.ID == first.ID && e.Type == events.TypeQueued && e.Build.InfrastructureFailures == 1
	})
	messages := w.messages()
	begun := time.Now()
	testkit.Eventually(w.t, "time in which builds would be taken",
		func() bool { return time.Since(begun) > 3*time.Second })
	if types := w.types(second); messages < 1 || !slices.Equal(types, []string{"queued"}) {
		t.Errorf("without a storage: %d messages, %v", messages, types)
	}
	again, err := gateway.Start(t.Context(), gateway.Options{Dir: dir, Listen: "127.0.0.1:0",
		AccessKey: storagetest.AccessKey, SecretKey: storagetest.SecretKey, Logger: quiet})
	testkit.Must(w.t, err)
	t.Cleanup(func() { _ = again.Close() })
	link.redirect(strings.TrimPrefix(again.Endpoint(), "http://"))
	w.store = w.storeAt(again.Endpoint())
	for b, failures := range map[*rpmflow.Build]int{&first: 1, &second: 0} {
		got := w.finished(*b)
		if got.Outcome.Result != rpmflow.Succeeded || got.InfrastructureFailures != failures ||
			got.Attempt != failures+1 {
			t.Errorf("%+v", got)
		}
		for _, a := range got.Artifacts {
			if !w.stored(*b, got.Attempt, a.Key[strings.LastIndexByte(a.Key, '/')+1:]) {
				t.Errorf("%s is not stored", a.Key)
			}
		}
	}
	if w.stored(first, 1, "build.json") || w.stored(first, 1, "hello-1.0-1.x86_64.rpm") {
		t.Error("the broken upload has left a record or a package")
	}
	w.emptyQueue()
}

// An engine that breaks spoils the attempt that shows it, and no other: the next build is taken when the engine answers
// again.
func TestABrokenEngineSpoilsOneAttempt(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	var broken, asked, spoiled atomic.Int32
	engine := enginetest.New(t, func(_ context.Context, step string, _ build.Job) error {
		if step != enginetest.Root || spoiled.Load() > 0 && broken.Load() == 0 {
			return nil
		}
		broken.Store(1)
		spoiled.Add(1)
		return errors.New("the engine is gone")
	})
	engine.NotReady = func() error {
		if broken.Load() == 0 {
			return nil
		}
		asked.Add(1)
		return errors.New("no engine")
	}
	var builds []rpmflow.Build
	for i := range 4 {
		builds = append(builds, w.enqueue(fmt.Sprint(i)))
	}
	w.runWith(w.options("a"), "", engine)
	testkit.Eventually(w.t, "questions to the broken engine", func() bool { return asked.Load() > 3 })
	broken.Store(0)
	for _, b := range builds {
		if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded {
			t.Errorf("%+v", got)
		}
	}
	if n := spoiled.Load(); n != 1 {
		t.Errorf("%d attempts are spoiled", n)
	}
	w.emptyQueue()
}

// sweeper is an engine on which attempts have left something.
type sweeper struct {
	*enginetest.Engine
	left   map[string]int // attempts by build
	judged chan map[string]string
}

func (s *sweeper) Sweep(ctx context.Context, wanted func(context.Context, string, int) (bool, error)) error {
	verdicts := map[string]string{}
	for id, attempt := range s.left {
		keep, err := wanted(ctx, id, attempt)
		verdicts[id] = fmt.Sprint(keep, err)
	}
	select {
	case s.judged <- verdicts:
	default:
	}
	return nil
}

// EVENTS decides which containers of attempts are removed: those of another builder's running attempt stay.
func TestSweepingReadsEvents(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	s := &sweeper{enginetest.New(t, nil), map[string]int{}, make(chan map[string]string, 1)}
	want := map[string]string{}
	for name, test := range map[string]struct {
		state   rpmflow.State
		attempt int // in EVENTS
		left    int
		want    bool
	}{
		"running":        {rpmflow.Running, 1, 1, true},
		"running again":  {rpmflow.Running, 2, 1, false},
		"handed back":    {rpmflow.Queued, 1, 1, false},
		"finished":       {rpmflow.Finished, 1, 1, false},
		"running, later": {rpmflow.Running, 3, 3, true},
	} {
		b := w.build(name)
		b.State, b.Attempt, b.Builder, b.QueueSequence, b.Engine = test.state, test.attempt, "another", 1, "mock"
		kind := map[rpmflow.State]events.Type{rpmflow.Running: events.TypeStarted, rpmflow.Queued: events.TypeQueued,
			rpmflow.Finished: events.TypeFinished}[test.state]
		now := time.Now().UTC()
		if b.State != rpmflow.Queued {
			b.StartedAt = &now
			b.EnterPhase(rpmflow.PhaseClaim, now)
		}
		if b.State == rpmflow.Finished {
			b.LeavePhase(now)
			b.FinishedAt, b.Outcome = &now, &rpmflow.Outcome{Result: rpmflow.Failed, Kind: rpmflow.FailureBuild,
				Phase: rpmflow.PhaseRPMs, Message: "x"}
		}
		if b.State == rpmflow.Queued {
			b.Builder, b.Notes = "", []string{"handed back"}
		}
		_, err := w.ledger.Append(t.Context(), kind, b, 0)
		testkit.Must(w.t, err)
		s.left[b.ID], want[b.ID] = test.left, fmt.Sprint(test.want, error(nil))
	}
	unknown := w.build("purged")
	s.left[unknown.ID], want[unknown.ID] = 1, fmt.Sprint(false, error(nil))
	w.runWith(w.options("a"), "", s)
	if got := testkit.Receive(t, "a sweep", s.judged); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
