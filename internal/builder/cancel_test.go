package builder_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// request asks for a build's end as the listener does, without waking its owner.
func (w *fixture) request(b rpmflow.Build) {
	w.t.Helper()
	for {
		last, err := w.ledger.Last(w.t.Context(), b)
		testkit.Must(w.t, err)
		n := last.Build.Clone()
		n.Cancel = &rpmflow.Cancel{By: "ann", At: time.Now().UTC()}
		kind := events.TypeCancelRequested
		if n.State == rpmflow.Queued {
			kind, n = events.TypeFinished, n.Canceled(time.Now())
		}
		if _, err = w.ledger.Append(w.t.Context(), kind, n, last.Sequence, "test"); err == nil {
			return
		}
		w.t.Logf("again: %v", err)
	}
}

// canceled waits for the build's end and checks that it is that one.
func (w *fixture) canceled(b rpmflow.Build) rpmflow.Build {
	w.t.Helper()
	got := w.finished(b)
	if o := got.Outcome; o.Kind != rpmflow.FailureCanceled || o.Message != "canceled by ann" || o.Hint == "" ||
		got.Cancel == nil || got.Cancel.By != "ann" || len(got.Packages) > 0 {
		w.t.Errorf("%+v", got)
	}
	w.emptyQueue()
	return got
}

func TestCancelRunningBuild(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options("a")
	o.AckWait = time.Hour // no heartbeat comes to help
	w.run(o, "", hang(enginetest.RPMs))
	b := w.enqueue("p1")
	w.until("the phase rpms", func(e events.Event) bool {
		return e.Build.ID == b.ID &&
			e.Build.Phase == rpmflow.PhaseRPMs
	})
	w.request(b)
	testkit.Must(w.t, w.queue.NotifyCancel(b.ID))
	got := w.canceled(b)
	if got.Outcome.Phase != rpmflow.PhaseRPMs || got.Attempt != 1 || got.InfrastructureFailures+got.LostAttempts != 0 ||
		len(got.Artifacts) != 1 || got.Artifacts[0].Name != "build.log" {
		t.Errorf("%+v", got)
	}
	want := []string{"queued", "started", "sources", "root", "srpm", "dependencies", "rpms", "cancel-requested",
		"upload", "finished"}
	if types := w.types(b); !slices.Equal(types, want) {
		t.Errorf("events %v, want %v", types, want)
	}
	if !w.stored(b, 1, "build.log.gz") || !w.stored(b, 1, "build.json") || w.stored(b, 1, "hello-1.0-1.src.rpm") {
		t.Error("logs and record are to be stored, and no package")
	}
	if log := w.liveLog(b); !strings.Contains(log, "rpmflow: canceled by ann\n") {
		t.Errorf("live log %q", log)
	}
}

// The wake-up is lost: the next heartbeat finds the request.
func TestCancelIsSeenWithoutAWakeUp(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options("a")
	o.AckWait = 3 * time.Second
	w.run(o, "", hang(enginetest.Root))
	b := w.enqueue("p1")
	w.until("the phase root", func(e events.Event) bool {
		return e.Build.ID == b.ID &&
			e.Build.Phase == rpmflow.PhaseRoot
	})
	w.request(b)
	if got := w.canceled(b); got.Outcome.Phase != rpmflow.PhaseRoot {
		t.Errorf("%+v", got.Outcome)
	}
}

// The build is done, and its owner has not seen the request yet when it continues: no outcome has the packages.
func TestCancelIsSeenByTheNextEvent(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options("a")
	o.AckWait = time.Hour
	g := newGate(enginetest.RPMs)
	w.run(o, "", g.step)
	b := w.enqueue("p1")
	w.entered(g)
	w.request(b)
	close(g.open)
	if got := w.canceled(b); got.Attempt != 1 {
		t.Errorf("%+v", got)
	}
}

func TestCanceledWhileQueued(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	b := w.enqueue("p1")
	w.request(b)
	w.run(w.options("a"), "", nil)
	if got := w.canceled(b); got.Attempt != 0 || !slices.Equal(w.types(b), []string{"queued", "finished"}) {
		t.Errorf("%v: %+v", w.types(b), got)
	}
	testkit.Eventually(t, "the record in the storage", func() bool { return w.stored(b, 0, "build.json") })
}

// The builder that is to stop the build is dead: the builder that gets its message ends it.
func TestCancelOfADeadBuildersBuild(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	b := w.enqueue("p1")
	w.silence("dead", 1)
	w.request(b)
	o := w.options("b")
	o.AckWait = silentWait
	w.run(o, "", hang(enginetest.Root))
	if got := w.canceled(b); got.Attempt != 1 || got.LostAttempts != 1 || got.Outcome.Phase != rpmflow.PhaseRPMs ||
		!w.stored(b, 1, "build.json") {
		t.Errorf("%+v", got)
	}
	w.liveLog(b)
}

// silentWait is the ack wait where builders are to fall silent.
const silentWait = 2 * time.Second

// silence runs a builder whose build hangs, and kills it when the given attempt has come to the package's own build.
func (w *fixture) silence(name string, attempt int) {
	w.t.Helper()
	s3 := w.s3
	s3.Logger = nil
	raw, err := json.Marshal(childSettings{Name: name, DataDir: w.t.TempDir(), AckWait: silentWait, NATS: w.url,
		S3: s3})
	testkit.Must(w.t, err)
	child := lifeline.Command(w.t.Context(), childBuilder, string(raw))
	child.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + w.t.TempDir()}
	testkit.Must(w.t, child.Start())
	defer child.Stop(0)
	w.until("the hanging build", func(e events.Event) bool {
		return e.Build.Phase == rpmflow.PhaseRPMs &&
			e.Build.Attempt == attempt
	})
	testkit.Must(w.t, unix.Kill(child.Pid(), unix.SIGKILL))
	_ = child.Wait() // killed
}

// A build that takes every builder with it ends, and says why.
func TestBuildThatKillsItsBuildersEndsAsInfrastructure(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	b := w.enqueue("p1")
	const most = 5 // lost attempts, and the one after
	for attempt := range most + 1 {
		w.silence("killed", attempt+1)
	}
	o := w.options("survivor")
	o.AckWait = silentWait
	w.run(o, "", hang(enginetest.Open))
	got := w.finished(b)
	if got.Outcome.Kind != rpmflow.FailureInfrastructure || got.LostAttempts != most+1 || got.Attempt != most+2 ||
		!strings.Contains(got.Outcome.Message, "6 builders stopped responding") || got.Outcome.Hint == "" {
		t.Errorf("attempt %d, lost %d: %+v", got.Attempt, got.LostAttempts, got.Outcome)
	}
	w.emptyQueue()
	if log := w.liveLog(b); !strings.Contains(log, "6 builders stopped responding") {
		t.Errorf("live log %q", log)
	}
}
