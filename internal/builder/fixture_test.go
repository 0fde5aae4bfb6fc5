package builder_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/builder"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/retry"
	"github.com/rpmflow/rpmflow/internal/source"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Children are processes of their own, for a test to kill.
const (
	childBuilder = "hanging-builder"
	childNATS    = "nats"
)

func TestMain(m *testing.M) {
	lifeline.Main(map[string]lifeline.Func{gateway.ChildName: gateway.Child, childBuilder: hangingBuilder,
		childNATS: natsChild})
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

// patience bounds every wait: much more than any of them takes.
const patience = 30 * time.Second

// fixture has what builders need: NATS, S3 and a git repository. It records every event.
type fixture struct {
	t       *testing.T
	natsDir string
	nats    *natsserver.Server
	url     string
	s3      storage.Config
	store   *storage.Store
	nc      *nats.Conn
	js      jetstream.JetStream
	ledger  *events.Ledger
	queue   *events.Queue
	repo    string
	commit  string

	mu      sync.Mutex
	seen    []events.Event
	changed chan struct{} // closed and renewed with each event
}

func newFixture(t *testing.T, streams events.StreamSettings) *fixture {
	t.Helper()
	w := &fixture{t: t, natsDir: t.TempDir(), s3: storagetest.Start(t), changed: make(chan struct{})}
	w.startNATS("127.0.0.1:0")
	w.url = w.nats.URL()
	w.nc, w.js = eventstest.Connect(t, w.nats, streams)
	w.ledger = testkit.Value(events.NewLedger(t.Context(), w.js))(t)
	w.queue = testkit.Value(events.NewQueue(t.Context(), w.nc, w.js, time.Minute))(t)
	w.store = testkit.Value(storage.Open(w.s3))(t)
	t.Cleanup(w.store.Close)
	repo := gittest.New(t)
	w.repo, w.commit = repo.Dir, repo.Commit(map[string]string{"hello.spec": "Name: hello\nVersion: 1.0\nRelease: 1\n" +
		"Summary: x\nLicense: MIT\n\n%description\nx\n\n%files\n"})
	w.watch()
	return w
}

func (w *fixture) startNATS(listen string) {
	w.t.Helper()
	w.nats = eventstest.Start(w.t, natsserver.Options{Dir: w.natsDir, Listen: listen})
}

func (w *fixture) access(s events.StreamSettings) events.Access {
	return events.Access{URL: w.url, Name: "test", Streams: s}
}

// watch writes down every event, checks it against its schema, and at the test's end that no build has finished twice.
func (w *fixture) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		after := uint64(0)
		_ = retry.Policy{First: 50 * time.Millisecond}.Do(ctx, func() error { // again when NATS was away
			return events.Replay(ctx, w.js, after, func() {}, func(e events.Event) error {
				if err := eventschema.Validate(e.Raw); err != nil {
					w.t.Errorf("%s event: %v", e.Type, err)
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				after = e.Sequence
				w.seen = append(w.seen, e)
				close(w.changed)
				w.changed = make(chan struct{})
				return nil
			})
		})
	})
	w.t.Cleanup(func() {
		cancel()
		wg.Wait()
		finished := map[string]int{}
		for _, e := range w.seen {
			if e.Type == events.TypeFinished {
				finished[e.Build.ID]++
			} else if finished[e.Build.ID] > 0 {
				w.t.Errorf("%s event of build %s after its end", e.Type, e.Build.ID)
			}
		}
		for id, n := range finished {
			if n != 1 {
				w.t.Errorf("build %s has finished %d times", id, n)
			}
		}
		if w.t.Failed() {
			for _, e := range w.seen {
				w.t.Logf("%d %s %s %s attempt %d by %s, failures %d, lost %d, notes %q, outcome %+v", e.Sequence,
					e.Build.ID[:8],
					e.Type, e.Build.Phase,
					e.Build.Attempt, e.Build.Builder, e.Build.InfrastructureFailures, e.Build.LostAttempts,
					e.Build.Notes,
					e.Build.Outcome)
			}
		}
	})
}

// until waits for an event.
func (w *fixture) until(what string, is func(events.Event) bool) events.Event {
	w.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		w.mu.Lock()
		seen, changed := w.seen, w.changed
		w.mu.Unlock()
		for _, e := range seen {
			if is(e) {
				return e
			}
		}
		select {
		case <-changed:
		case <-timeout.C:
			w.t.Fatalf("not seen within %s: %s", patience, what)
		}
	}
}

func (w *fixture) finished(b rpmflow.Build) rpmflow.Build {
	w.t.Helper()
	return w.until("the end of build "+b.ID, func(e events.Event) bool {
		return e.Build.ID == b.ID &&
			e.Type == events.TypeFinished
	}).Build
}

func (w *fixture) started(b rpmflow.Build, attempt int) rpmflow.Build {
	w.t.Helper()
	return w.until(fmt.Sprintf("attempt %d of build %s", attempt, b.ID), func(e events.Event) bool {
		return e.Build.ID == b.ID && e.Type == events.TypeStarted && e.Build.Attempt == attempt
	}).Build
}

// types lists the events of a build.
func (w *fixture) types(b rpmflow.Build) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.seen {
		if e.Build.ID == b.ID {
			word := string(e.Type)
			if e.Type == events.TypePhase {
				word = string(e.Build.Phase)
			}
			all = append(all, word)
		}
	}
	return all
}

// messages is the number of messages in the queue.
func (w *fixture) messages() uint64 {
	s, err := w.js.Stream(w.t.Context(), events.StreamBuilds)
	if err != nil {
		return ^uint64(0) // NATS is away
	}
	return s.CachedInfo().State.Msgs
}

func (w *fixture) emptyQueue() {
	w.t.Helper()
	testkit.Eventually(w.t, "an empty queue", func() bool { return w.messages() == 0 })
}

// build is a request that is not queued yet.
func (w *fixture) build(push string) rpmflow.Build {
	target := enginetest.Target()
	return rpmflow.Build{
		BuildRequest: rpmflow.BuildRequest{
			ID:      rpmflow.BuildID(rpmflow.PushID("hello", push), "hello", target.Name),
			Push:    rpmflow.PushID("hello", push),
			Project: "hello", Package: "hello",
			Target: target.Name, Arch: target.Arch, Repository: w.repo, Ref: "refs/heads/main", Commit: w.commit,
			Layout:         rpmflow.LayoutAuto,
			TimeoutSeconds: 60, Concurrency: 4, QueuedAt: time.Now().UTC(),
		},
		State: rpmflow.Queued,
	}
}

// enqueue does what the listener does.
func (w *fixture) enqueue(push string) rpmflow.Build {
	w.t.Helper()
	b := w.build(push)
	_, err := w.ledger.Append(w.t.Context(), events.TypeQueued, b, 0)
	testkit.Must(w.t, err)
	testkit.Must(w.t, w.queue.Enqueue(w.t.Context(), b, time.Time{}))
	return b
}

// message puts another message of a build into the queue, past the recognition of duplicates.
func (w *fixture) message(b rpmflow.Build) {
	w.t.Helper()
	raw, err := json.Marshal(b)
	testkit.Must(w.t, err)
	_, err = w.js.Publish(w.t.Context(), "rpmflow.builds.x86_64.hello", raw)
	testkit.Must(w.t, err)
}

// stored reports whether an attempt has an object.
func (w *fixture) stored(b rpmflow.Build, attempt int, name string) bool {
	w.t.Helper()
	b.Attempt = attempt
	r, _, err := w.store.Open(w.t.Context(), b.Prefix()+name)
	if errors.Is(err, storage.ErrNotFound) {
		return false
	}
	testkit.Must(w.t, err)
	testkit.Must(w.t, r.Close())
	return true
}

// options are those of a builder in tests: quick to look, slow to be taken for dead.
func (w *fixture) options(name string) builder.Options {
	return builder.Options{
		Name: name, Archs: []string{"x86_64"}, Targets: []rpmflow.Target{enginetest.Target()}, Jobs: 1,
		DrainTime: patience,
		Poll:      50 * time.Millisecond,
		AckWait:   patience, RetryDelay: time.Second, MaxFailures: 3, DataDir: w.t.TempDir(), Logger: quiet,
	}
}

// program is a running builder.
type program struct {
	t    *testing.T
	soft context.CancelFunc
	hard context.CancelFunc
	done chan struct{}
}

type step = func(ctx context.Context, step string, job build.Job) error

// run starts a builder on a connection of its own, to url or else to NATS itself. It ends with the test.
func (w *fixture) run(o builder.Options, url string, do step) *program {
	w.t.Helper()
	return w.runWith(o, url, enginetest.New(w.t, do))
}

// runWith does so with an engine.
func (w *fixture) runWith(o builder.Options, url string, engine build.Engine) *program {
	w.t.Helper()
	a := w.access(events.StreamSettings{})
	if url != "" {
		a.URL = url
	}
	soft, cancelSoft := context.WithCancel(context.Background())
	hard, cancelHard := context.WithCancel(context.Background())
	p := &program{w.t, cancelSoft, cancelHard, make(chan struct{})}
	ready := make(chan error, 1)
	go func() {
		defer close(p.done)
		if err := runBuilder(soft, hard, o, a, w.s3, engine, func() { ready <- nil }); err != nil {
			w.t.Errorf("builder %s: %v", o.Name, err)
			ready <- err
		}
	}()
	w.t.Cleanup(func() { cancelSoft(); cancelHard(); p.ended() })
	testkit.Receive(w.t, "the start of builder "+o.Name, ready)
	return p
}

// ended waits for the program's end.
func (p *program) ended() {
	p.t.Helper()
	testkit.Receive(p.t, "the builder's end", p.done)
}

// runBuilder is a builder program, without a configuration.
func runBuilder(ctx, hard context.Context, o builder.Options, a events.Access, s3 storage.Config, engine build.Engine,
	ready func()) error {
	nc, js, err := events.Dial(a, quiet)
	if err != nil {
		return err
	}
	defer nc.Close()
	store, err := storage.Open(s3)
	if err != nil {
		return err
	}
	defer store.Close()
	sources, err := source.Open(source.Options{Dir: filepath.Join(o.DataDir, "mirrors"), Logger: quiet})
	if err != nil {
		return err
	}
	runner := &build.Runner{
		Engine: engine, Sources: sources, Store: store,
		URL: func(key string) string { return "http://rpmflow.test/artifacts/" + key }, MaxOutput: 1 << 20,
		Logger: quiet,
	}
	b, err := builder.New(ctx, o, nc, js, runner, store)
	if err != nil {
		return err
	}
	ready()
	return b.Run(ctx, hard)
}
