package builder_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/builder"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

var errNoImage = hint.Add(errors.New("the image is not there"), "load it")

// with is an engine that builds for the targets that there is an image of.
func with(t *testing.T, image func(target string) bool) *enginetest.Engine {
	e := enginetest.New(t, nil)
	e.NotServed = func(target rpmflow.Target) error {
		if image(target.Name) {
			return nil
		}
		return errNoImage
	}
	return e
}

func (w *fixture) waits(b rpmflow.Build) rpmflow.Build {
	w.t.Helper()
	return w.until("why build "+b.ID+" waits", func(e events.Event) bool {
		return e.Build.ID == b.ID && e.Type == events.TypeQueued && len(e.Build.Waiting) > 0
	}).Build
}

// A build whose image is missing waits with the reason, spends no attempt, delays no other build, and goes on when
// the image is there.
func TestWaitsForTheImage(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	var there atomic.Bool
	var looks atomic.Int32 // for the image
	other := enginetest.Target()
	other.Name = "fedora-43-x86_64"
	o := w.options("a")
	o.Targets, o.Status = append(o.Targets, other), builder.NewStatus()
	missing := w.build("p1") // one slot for each project: it is not to be kept by the build that waits
	missing.Concurrency = 1
	built := missing
	built.Target = other.Name
	built.ID = rpmflow.BuildID(built.Push, built.Package, built.Target)
	for _, b := range []rpmflow.Build{missing, built} {
		_, err := w.ledger.Append(t.Context(), events.TypeQueued, b, 0)
		testkit.Must(w.t, err)
		testkit.Must(w.t, w.queue.Enqueue(t.Context(), b, time.Time{}))
	}
	w.runWith(o, "", with(t, func(target string) bool {
		if target == other.Name {
			return true
		}
		looks.Add(1)
		return there.Load()
	}))
	got := w.waits(missing)
	if len(got.Waiting) != 1 || got.Waiting[0].Builder != "a" || got.Waiting[0].Reason != "the image is not there" ||
		got.Waiting[0].Hint != "load it" || got.Attempt != 0 {
		t.Errorf("waits as %+v", got)
	}
	if got := w.finished(built); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 1 {
		t.Errorf("another target's: %+v", got)
	}
	ready := func() string {
		answer := httptest.NewRecorder()
		o.Status.Handler(quiet).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/readyz", nil))
		if answer.Code != 200 {
			t.Errorf("not ready: %s", answer.Body)
		}
		return answer.Body.String()
	}
	if text := ready(); !strings.Contains(text, `"target": "fedora-42-x86_64"`) ||
		!strings.Contains(text, "the image is not there") {
		t.Errorf("status %s", text)
	}
	seen := looks.Load()
	testkit.Eventually(t, "more looks for the image", func() bool { return looks.Load() > seen+1 })
	if n := len(w.types(missing)); n != 2 {
		t.Errorf("events %v", w.types(missing))
	}
	there.Store(true)
	begun := time.Now()
	if got := w.finished(missing); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 1 ||
		got.InfrastructureFailures != 0 || got.Waiting != nil {
		t.Errorf("%+v", got)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("went on after %s", took)
	}
	if text := ready(); strings.Contains(text, "waiting") {
		t.Errorf("status %s", text)
	}
	w.emptyQueue()
}

// Of two builders one can build the target: it gets the builds, however idle the other one is.
func TestWaitsForTheOtherBuilder(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.runWith(w.options("cannot"), "", with(t, func(string) bool { return false }))
	unknown := w.options("unknown")
	unknown.Targets = nil
	w.run(unknown, "", nil)
	b := w.enqueue("p1")
	w.until("both reasons", func(e events.Event) bool { return e.Build.ID == b.ID && len(e.Build.Waiting) == 2 })
	w.run(w.options("can"), "", nil)
	for _, push := range []string{"p2", "p3", "p4"} {
		w.enqueue(push)
	}
	for _, push := range []string{"p1", "p2", "p3", "p4"} {
		got := w.finished(w.build(push))
		if got.Outcome.Result != rpmflow.Succeeded || got.Builder != "can" || got.Attempt != 1 {
			t.Errorf("%s: %+v", push, got)
		}
		if queued := strings.Count(strings.Join(w.types(got), " "), "queued"); queued > 3 {
			t.Errorf("%s: events %v", push, w.types(got))
		}
	}
	w.emptyQueue()
}

func TestCancelWhileItWaits(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.runWith(w.options("a"), "", with(t, func(string) bool { return false }))
	b := w.enqueue("p1")
	w.waits(b)
	last, err := w.ledger.Last(t.Context(), b)
	testkit.Must(w.t, err)
	n := last.Build.Clone()
	n.Cancel = &rpmflow.Cancel{By: "ada", At: time.Now().UTC()}
	_, err = w.ledger.Append(t.Context(), events.TypeFinished, n.Canceled(time.Now()), last.Sequence)
	testkit.Must(w.t, err)
	if got := w.finished(b); got.Outcome.Kind != rpmflow.FailureCanceled || got.Waiting != nil {
		t.Errorf("%+v", got)
	}
	w.emptyQueue()
}

// A builder whose engine is away takes nothing, and says so in the records of what waits.
func TestWaitsForTheEngine(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	var there atomic.Bool
	engine := enginetest.New(t, nil)
	engine.NotReady = func() error {
		if there.Load() {
			return nil
		}
		return hint.Add(errors.New("Docker does not answer"), "start it")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- runBuilder(ctx, ctx, w.options("a"), w.access(events.StreamSettings{}), w.s3, engine, func() {})
	}()
	b, second := w.enqueue("p1"), w.enqueue("p2")
	for _, b := range []rpmflow.Build{b, second} {
		if got := w.waits(b); got.Waiting[0].Reason != "Docker does not answer" || got.Waiting[0].Hint != "start it" {
			t.Errorf("%+v", got.Waiting)
		}
	}
	if n := w.messages(); n != 2 {
		t.Errorf("%d messages", n)
	}
	there.Store(true)
	for _, b := range []rpmflow.Build{b, second} {
		if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 1 {
			t.Errorf("%+v", got)
		}
		if types := strings.Join(w.types(b), " "); strings.Count(types, "queued") != 2 {
			t.Errorf("events %s", types)
		}
	}
	w.emptyQueue()
	cancel()
	testkit.Must(w.t, <-done)
}

// The builder of a running build falls silent, and the one that gets it cannot build it.
func TestWaitsAfterALostAttempt(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	b := w.build("p1")
	sequence, err := w.ledger.Append(t.Context(), events.TypeQueued, b, 0)
	testkit.Must(w.t, err)
	testkit.Must(w.t, w.queue.Enqueue(t.Context(), b, time.Time{}))
	n := b
	started := time.Now().UTC()
	n.State, n.Attempt, n.Builder, n.QueueSequence, n.Engine, n.StartedAt = rpmflow.Running, 1, "dead", 1, "mock",
		&started
	n.EnterPhase(rpmflow.PhaseClaim, started)
	_, err = w.ledger.Append(t.Context(), events.TypeStarted, n, sequence)
	testkit.Must(w.t, err)
	var there atomic.Bool
	w.runWith(w.options("a"), "", with(t, func(string) bool { return there.Load() }))
	if got := w.waits(b); got.LostAttempts != 1 || got.Builder != "" || got.Attempt != 1 {
		t.Errorf("%+v", got)
	}
	there.Store(true)
	if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.LostAttempts != 1 || got.Attempt != 2 {
		t.Errorf("%+v", got)
	}
	w.emptyQueue()
}

var _ build.Engine = (*enginetest.Engine)(nil)

// A build that could begin, but for a free slot, does not go on saying that its image is missing.
func TestReasonIsTakenBack(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	var there atomic.Bool
	g := newGate(enginetest.RPMs)
	engine := enginetest.New(t, g.step)
	engine.NotServed = func(rpmflow.Target) error {
		if there.Load() {
			return nil
		}
		return errNoImage
	}
	w.runWith(w.options("a"), "", engine)
	first, second := w.enqueue("p1"), w.enqueue("p2")
	w.waits(first)
	w.waits(second)
	there.Store(true)
	w.entered(g) // with the only slot
	w.until("the reason to go", func(e events.Event) bool {
		return e.Type == events.TypeQueued && e.Build.Attempt == 0 && e.Build.Waiting == nil &&
			strings.Count(strings.Join(w.types(e.Build), " "), "queued") == 3
	})
	close(g.open)
	for _, b := range []rpmflow.Build{first, second} {
		if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 1 {
			t.Errorf("%+v", got)
		}
	}
	w.emptyQueue()
}
