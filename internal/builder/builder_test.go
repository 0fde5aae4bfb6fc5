package builder_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestABuildGoesThroughItsPhases(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.run(w.options("a"), "", nil)
	b := w.enqueue("p1")
	got := w.finished(b)
	want := []string{"queued", "started", "sources", "root", "srpm", "dependencies", "rpms", "upload", "finished"}
	if types := w.types(b); !slices.Equal(types, want) {
		t.Errorf("events %v, want %v", types, want)
	}
	if got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 1 || got.Builder != "a" || got.Engine != "mock" ||
		got.InfrastructureFailures+got.LostAttempts != 0 ||
		got.StartedAt == nil || got.FinishedAt == nil || len(got.Packages) != 2 || len(got.Containers) != 1 {
		t.Errorf("%+v", got)
	}
	w.emptyQueue()
	if !w.stored(b, 1, "build.json") || !w.stored(b, 1, "build.log.gz") || !w.stored(b, 1, "hello-1.0-1.x86_64.rpm") {
		t.Error("not everything is stored")
	}
	if log := w.liveLog(b); !strings.Contains(log, "rpmflow: rpms\n+ make\n") {
		t.Errorf("live log %q", log)
	}
}

// liveLog follows the live log to its end.
func (w *fixture) liveLog(b rpmflow.Build) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	var text strings.Builder
	testkit.Must(w.t, events.FollowLog(ctx, w.js, b.ID, true, func(p []byte) error {
		_, err := text.Write(p)
		return err
	}))
	if ctx.Err() != nil {
		w.t.Errorf("the live log of build %s has no end: %q", b.ID, text.String())
	}
	return text.String()
}

func TestBuildersRace(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	builds := make([]rpmflow.Build, 4)
	for i := range builds {
		builds[i] = w.build(fmt.Sprint(i))
		_, err := w.ledger.Append(t.Context(), events.TypeQueued, builds[i], 0)
		testkit.Must(w.t, err)
		for range 3 { // as by a listener that has died again and again
			w.message(builds[i])
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		w.run(w.options(name), "", nil)
	}
	for _, b := range builds {
		if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 1 || got.LostAttempts != 0 {
			t.Errorf("%+v", got)
		}
	}
	w.emptyQueue() // and the watcher has seen one end of each
}

func TestAPackagersMistakeIsFinal(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.run(w.options("a"), "", func(_ context.Context, step string, _ build.Job) error {
		if step == enginetest.Dependencies {
			return rpmflow.Fail(rpmflow.FailureDependencies, "check the BuildRequires", "no nosuch-devel")
		}
		return nil
	})
	b := w.enqueue("p1")
	if got := w.finished(b); got.Attempt != 1 || got.Outcome.Kind != rpmflow.FailureDependencies ||
		got.Outcome.Phase != rpmflow.PhaseDependencies || got.InfrastructureFailures != 0 {
		t.Errorf("%+v", got)
	}
	w.emptyQueue()
}

func TestInfrastructureFailures(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	fixed, broken := w.build("fixed"), w.build("broken")
	o := w.options("a")
	o.MaxFailures = 2
	w.run(o, "", func(_ context.Context, step string, job build.Job) error {
		if step == enginetest.Root && (job.Build.ID == broken.ID || job.Build.Attempt == 1) {
			return errors.New("Docker is gone")
		}
		return nil
	})
	w.enqueue("fixed")
	w.enqueue("broken")

	got := w.finished(fixed)
	if got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 2 || got.InfrastructureFailures != 1 ||
		len(got.Notes) != 2 || got.Layout != rpmflow.LayoutStandard || !strings.Contains(got.Notes[1]+got.Notes[0],
		"Docker is gone") {
		t.Errorf("fixed: %+v", got)
	}
	retried := w.until("the retry", func(e events.Event) bool {
		return e.Build.ID == fixed.ID && e.Type == events.TypeQueued && e.Build.Attempt == 1
	})
	if pause := w.started(fixed, 2).StartedAt.Sub(retried.Time); pause < o.RetryDelay-100*time.Millisecond {
		t.Errorf("tried again after %s", pause)
	}
	if b := retried.Build; b.InfrastructureFailures != 1 || b.Outcome != nil || b.Builder != "" ||
		len(b.Artifacts) > 0 {
		t.Errorf("waits as %+v", b)
	}
	got = w.finished(broken)
	if got.Outcome.Kind != rpmflow.FailureInfrastructure || got.Attempt != 2 || got.InfrastructureFailures != 2 ||
		!strings.Contains(got.Outcome.Message, "Docker is gone") || len(got.Artifacts) != 1 {
		t.Errorf("broken: %+v", got)
	}
	w.emptyQueue()
	if !w.stored(broken, 2, "build.json") || !w.stored(broken, 1, "build.log.gz") {
		t.Error("record or log are not stored")
	}
	w.liveLog(broken)
}

func TestUnknownTarget(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options("a")
	o.Targets, o.MaxFailures = nil, 1
	w.run(o, "", nil)
	b := w.waits(w.enqueue("p1"))
	if got := b.Waiting[0]; got.Reason != `the target "fedora-42-x86_64" is not in the builder's configuration` ||
		got.Hint == "" || b.Attempt != 0 {
		t.Errorf("%+v", b)
	}
}

func TestBuildThatSilencesBuildersIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	b := w.build("p1")
	b.LostAttempts, b.Attempt, b.QueueSequence, b.Engine, b.Notes = 6, 6, 1, "mock",
		[]string{"attempt 6 was interrupted"}
	_, err := w.ledger.Append(t.Context(), events.TypeQueued, b, 0)
	testkit.Must(w.t, err)
	w.message(b)
	w.run(w.options("a"), "", func(context.Context, string, build.Job) error {
		t.Error("it was tried again")
		return nil
	})
	if got := w.finished(b); got.Outcome.Kind != rpmflow.FailureInfrastructure || got.InfrastructureFailures != 0 ||
		!strings.Contains(got.Outcome.Message, "6 builders stopped responding") {
		t.Errorf("%+v, failures %d", got.Outcome, got.InfrastructureFailures)
	}
	w.liveLog(b)
}

func TestKilledBuilder(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options("killed")
	o.AckWait = 3 * time.Second
	w.s3.Logger = nil
	raw, err := json.Marshal(childSettings{Name: o.Name, DataDir: o.DataDir, AckWait: o.AckWait, NATS: w.url, S3: w.s3})
	testkit.Must(w.t, err)
	child := lifeline.Command(context.Background(), childBuilder, string(raw))
	child.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + t.TempDir()}
	testkit.Must(w.t, child.Start())
	defer child.Stop(0)
	b := w.enqueue("p1")
	w.until("the phase rpms", func(e events.Event) bool {
		return e.Build.ID == b.ID &&
			e.Build.Phase == rpmflow.PhaseRPMs
	})
	testkit.Must(w.t, unix.Kill(child.Pid(), unix.SIGKILL))
	_ = child.Wait()

	o2 := w.options("b")
	o2.AckWait = o.AckWait
	w.run(o2, "", nil)
	got := w.finished(b)
	if got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 2 || got.LostAttempts != 1 ||
		got.InfrastructureFailures != 0 || got.Builder != "b" || len(got.Containers) != 1 {
		t.Errorf("%+v", got)
	}
	if !slices.ContainsFunc(got.Notes, func(n string) bool {
		return strings.Contains(n,
			"builder killed stopped responding")
	}) {
		t.Errorf("notes %q", got.Notes)
	}
	w.emptyQueue()
}

// A builder that dies between the event of a retry and its message: the old message comes again, and stands in for the
// new one.
func TestDiedBeforeTheMessageOfTheRetry(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	b := w.build("p1")
	sequence, err := w.ledger.Append(t.Context(), events.TypeQueued, b, 0)
	testkit.Must(w.t, err)
	retried := b
	retried.Attempt, retried.InfrastructureFailures, retried.QueueSequence, retried.Engine = 1, 1, 1, "mock"
	retried.Notes = []string{"attempt 1 failed for reasons of the infrastructure"}
	_, err = w.ledger.Append(t.Context(), events.TypeQueued, retried, sequence)
	testkit.Must(w.t, err)
	w.message(b)
	w.run(w.options("a"), "", nil)
	if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 2 ||
		got.InfrastructureFailures != 1 {
		t.Errorf("%+v", got)
	}
	w.emptyQueue()
}

func TestDuplicateWhileRunning(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	g := newGate(enginetest.RPMs)
	w.run(w.options("a"), "", g.step)
	b := w.enqueue("p1")
	w.entered(g)
	w.run(w.options("b"), "", func(context.Context, string, build.Job) error {
		t.Error("the second message was built")
		return nil
	})
	w.message(b)
	testkit.Eventually(w.t, "the duplicate to be dropped", func() bool { return w.messages() == 1 })
	close(g.open)
	if got := w.finished(b); got.Attempt != 1 || got.Builder != "a" {
		t.Errorf("%+v", got)
	}
	w.message(b) // and one that comes when all is over
	w.emptyQueue()
}

func TestMessageOfAPurgedBuild(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.message(w.build("p1")) // EVENTS has nothing of it
	w.run(w.options("a"), "", nil)
	w.emptyQueue()
}

// The stream of events is full: nothing can be claimed, and no builder loops over it.
func TestFullStream(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{MaxBytes: 64 << 10})
	b := w.enqueue("p1")
	for i, size := 0, 500; ; i++ { // first in large steps, then in such as leave no room for any event
		filler := w.build(fmt.Sprint("filler", i))
		if size > 0 {
			filler.Notes = []string{strings.Repeat("x", size)}
		}
		_, err := w.ledger.Append(t.Context(), events.TypeQueued, filler, 0)
		if errors.Is(err, events.ErrFull) && size == 0 {
			break
		}
		if errors.Is(err, events.ErrFull) {
			size = 0
			continue
		}
		testkit.Must(w.t, err)
	}
	o := w.options("a")
	o.Poll = 200 * time.Millisecond
	w.run(o, "", nil)
	tries := func() uint64 {
		cons, err := w.js.Consumer(t.Context(), events.StreamBuilds, "builder-x86_64-hello")
		if err != nil {
			return 0
		}
		return cons.CachedInfo().Delivered.Consumer
	}
	testkit.Eventually(w.t, "a try", func() bool { return tries() > 0 })
	before, begun := tries(), time.Now()
	testkit.Eventually(w.t, "more tries", func() bool { return tries() >= before+4 })
	if took := time.Since(begun); took < 3*o.Poll {
		t.Errorf("4 tries in %s", took)
	}
	testkit.Must(w.t, events.EnsureStreams(t.Context(), w.js, events.StreamSettings{}))
	if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 1 {
		t.Errorf("%+v", got)
	}
}

// A builder without engine or storage takes nothing.
func TestNotReady(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	var asked atomic.Int32
	engine := enginetest.New(t, nil)
	engine.NotReady = func() error { asked.Add(1); return errors.New("no Docker") }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- runBuilder(ctx, ctx, w.options("a"), w.access(events.StreamSettings{}), w.s3, engine, func() {})
	}()
	b := w.enqueue("p1")
	testkit.Eventually(w.t, "three questions", func() bool { return asked.Load() >= 3 })
	cancel()
	testkit.Must(w.t, <-done)
	if types := w.types(b); len(types) > 1 || w.messages() != 1 {
		t.Errorf("events %v, %d messages", types, w.messages())
	}
}
