package builder

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	under := func(message uint64) rpmflow.BuildAttempt { return rpmflow.BuildAttempt{QueueSequence: message} }
	ended := func(message uint64) rpmflow.BuildAttempt {
		return rpmflow.BuildAttempt{QueueSequence: message, Builder: "a"}
	}
	const queued, running, finished = rpmflow.Queued, rpmflow.Running, rpmflow.Finished
	for name, test := range map[string]struct {
		last     rpmflow.Build
		failures int // that the message tells of
		want     move
	}{
		"first":       {rpmflow.Build{State: queued}, 0, moveClaim},
		"handed back": {rpmflow.Build{State: queued, Attempt: 2, BuildAttempt: under(7)}, 0, moveClaim},
		"retry": {rpmflow.Build{State: queued, Attempt: 1, InfrastructureFailures: 1}, 1,
			moveClaim},
		"second retry, oldest message":  {rpmflow.Build{State: queued, InfrastructureFailures: 2}, 0, moveRequeue},
		"its owner is silent":           {rpmflow.Build{State: running, BuildAttempt: under(7)}, 0, moveClaim},
		"running under another message": {rpmflow.Build{State: running, BuildAttempt: under(6)}, 0, moveCheck},
		"running under a message to come": {rpmflow.Build{State: running, InfrastructureFailures: 1,
			BuildAttempt: under(8)}, 0, moveCheck},
		"finished":                       {rpmflow.Build{State: finished, BuildAttempt: ended(7)}, 0, moveDrop},
		"finished under another message": {rpmflow.Build{State: finished, BuildAttempt: ended(3)}, 0, moveDrop},
		"canceled while queued":          {rpmflow.Build{State: finished}, 0, moveRecord},
		"canceled while queued again":    {rpmflow.Build{State: finished, BuildAttempt: under(7)}, 0, moveRecord},
		"retry, old message": {
			rpmflow.Build{State: queued, Attempt: 1, InfrastructureFailures: 1, BuildAttempt: under(7)}, 0, moveRequeue,
		},
		"to be canceled, its owner is silent": {
			rpmflow.Build{State: running, Cancel: &rpmflow.Cancel{}, BuildAttempt: under(7)}, 0, moveCancel,
		},
		"to be canceled, another message": {
			rpmflow.Build{State: running, Cancel: &rpmflow.Cancel{}, BuildAttempt: under(6)}, 0, moveCheck,
		},
	} {
		message := &events.Message{Build: rpmflow.Build{InfrastructureFailures: test.failures}, Sequence: 7}
		if got := decide(events.Event{Build: test.last}, message); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// A publish that was broken off may be stored all the same: its writer is not fenced out by itself, but by others it
// is.
func TestPublishAfterOneThatWasBrokenOff(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.DiscardHandler)
	_, js := eventstest.Connect(t, eventstest.Start(t, natsserver.Options{}), events.StreamSettings{})
	ledger, err := events.NewLedger(t.Context(), js)
	testkit.Must(t, err)
	appended := func(kind events.Type, b rpmflow.Build, after uint64) uint64 {
		t.Helper()
		seq, err := ledger.Append(t.Context(), kind, b, after, "a")
		testkit.Must(t, err)
		return seq
	}
	b := rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: "b1", Project: "hello", Target: "x"},
		State: rpmflow.Running, Attempt: 1}
	claimed := appended(events.TypeStarted, b, 0)
	o := &owner{Builder: &Builder{ledger: ledger, instance: "a"}, log: quiet, held: ownedBuild{b, claimed}}
	phase := b
	phase.Phase = rpmflow.PhaseRoot
	stored := appended(events.TypePhase, phase, claimed) // and the answer is lost
	if err := o.stillOurs(t.Context()); err != nil {
		t.Error(err)
	}
	next := b
	next.Phase = rpmflow.PhaseSRPM
	if err := o.publish(t.Context(), events.TypePhase, next, "srpm"); err != nil || o.held.sequence <= stored {
		t.Fatalf("%v, at %d", err, o.held.sequence)
	}
	taken := b
	taken.Attempt = 2
	appended(events.TypeStarted, taken, o.held.sequence)
	waiting := b
	waiting.State = rpmflow.Queued
	if err := o.publish(t.Context(), events.TypeQueued, waiting); !errors.Is(err, events.ErrLost) {
		t.Errorf("published over another's claim: %v", err)
	}
	if err := o.stillOurs(t.Context()); !errors.Is(err, events.ErrLost) {
		t.Errorf("does not notice another's claim: %v", err)
	}
}

// The results of an attempt are not those of the next one, which may fail before it has any: the record of the
// next begins with an empty attempt and no result, and with the request as it was made.
func TestNextAttemptStartsEmpty(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	asked := rpmflow.BuildRequest{ID: "b1", Project: "hello", Layout: rpmflow.LayoutAuto, QueuedAt: at}
	found := asked
	found.Layout, found.Spec = rpmflow.LayoutDistGit, "hello.spec"
	lost := rpmflow.Build{
		BuildRequest: found, State: rpmflow.Running, Attempt: 1, InfrastructureFailures: 1, Notes: []string{"a remark"},
		BuildAttempt: rpmflow.BuildAttempt{
			Builder: "one", QueueSequence: 7, Engine: "mock", Containers: []string{"c"},
			Root:      &rpmflow.BuildRoot{Image: "i"},
			StartedAt: &at,
			Phase:     rpmflow.PhaseRPMs, Phases: []rpmflow.PhaseTime{{Phase: rpmflow.PhaseRPMs}},
			SourceFiles: []rpmflow.SourceFile{{Name: "s"}},
		},
		BuildResult: rpmflow.BuildResult{FinishedAt: &at, Outcome: &rpmflow.Outcome{}, Packages: []rpmflow.Package{{}},
			Artifacts: []rpmflow.Artifact{{}}},
	}
	later := at.Add(time.Minute)
	got := nextAttempt(lost, asked, rpmflow.BuildAttempt{Builder: "two", QueueSequence: 8, Engine: "hostrpm"}, later)
	want := rpmflow.Build{
		BuildRequest: asked, State: rpmflow.Running, Attempt: 2, InfrastructureFailures: 1, LostAttempts: 1,
		BuildAttempt: rpmflow.BuildAttempt{
			Builder: "two", QueueSequence: 8, Engine: "hostrpm", StartedAt: &later,
			Phase: rpmflow.PhaseClaim, Phases: []rpmflow.PhaseTime{{Phase: rpmflow.PhaseClaim, Started: later}},
		},
		Notes: []string{"a remark", "attempt 1 was interrupted: builder one stopped responding"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("next attempt:\n%+v\nwant\n%+v", got, want)
	}
	waits := requeued(lost, &events.Message{Build: rpmflow.Build{BuildRequest: asked}})
	want = rpmflow.Build{
		BuildRequest: asked, State: rpmflow.Queued, Attempt: 1, InfrastructureFailures: 1, Notes: lost.Notes,
		BuildAttempt: rpmflow.BuildAttempt{QueueSequence: 7, Engine: "mock"},
	}
	if !reflect.DeepEqual(waits, want) {
		t.Errorf("queued again:\n%+v\nwant\n%+v", waits, want)
	}
}

func TestDelayDoubles(t *testing.T) {
	t.Parallel()
	b := &Builder{o: Options{RetryDelay: 30 * time.Second}}
	for failures, want := range map[int]time.Duration{0: 30 * time.Second, 1: 30 * time.Second, 2: time.Minute,
		3: 2 * time.Minute, 200: maxDelay} {
		if got := b.delay(failures); got != want {
			t.Errorf("after %d failures %s, want %s", failures, got, want)
		}
	}
}

// Builders that share a data directory and start at the same moment leave each other alone, and what the dead have left
// is removed.
func TestWorkDirs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, dead := range []string{"builder-1.lock", "builder-2.lock"} {
		testkit.Must(t, os.WriteFile(filepath.Join(dir, dead), nil, 0o600))
	}
	testkit.Must(t, os.MkdirAll(filepath.Join(dir, "builder-1", "some-build-1"), 0o700))
	var wg sync.WaitGroup
	open := make(chan *dirlock.Temp, 32)
	for range cap(open) {
		wg.Go(func() {
			w, err := openWorkDir(dir, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
				return
			}
			open <- w
		})
	}
	wg.Wait()
	close(open)
	for w := range open {
		if attempt, err := attemptDir(w, rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: "x"},
			Attempt: 1}); err != nil {
			t.Errorf("%s: %v", attempt, err)
		}
		if err := w.Remove(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
