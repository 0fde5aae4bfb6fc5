package builder

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
)

func TestDecide(t *testing.T) {
	for name, test := range map[string]struct {
		last    rpmflow.Build
		message rpmflow.Build
		want    move
	}{
		"first":                           {rpmflow.Build{State: rpmflow.Queued}, rpmflow.Build{}, moveClaim},
		"handed back":                     {rpmflow.Build{State: rpmflow.Queued, Attempt: 2, QueueSequence: 7}, rpmflow.Build{}, moveClaim},
		"retry":                           {rpmflow.Build{State: rpmflow.Queued, Attempt: 1, InfrastructureFailures: 1}, rpmflow.Build{InfrastructureFailures: 1}, moveClaim},
		"retry, old message":              {rpmflow.Build{State: rpmflow.Queued, Attempt: 1, InfrastructureFailures: 1, QueueSequence: 7}, rpmflow.Build{}, moveRequeue},
		"second retry, oldest message":    {rpmflow.Build{State: rpmflow.Queued, InfrastructureFailures: 2}, rpmflow.Build{}, moveRequeue},
		"its owner is silent":             {rpmflow.Build{State: rpmflow.Running, QueueSequence: 7}, rpmflow.Build{}, moveClaim},
		"running under another message":   {rpmflow.Build{State: rpmflow.Running, QueueSequence: 6}, rpmflow.Build{}, moveAsk},
		"running under a message to come": {rpmflow.Build{State: rpmflow.Running, QueueSequence: 8, InfrastructureFailures: 1}, rpmflow.Build{}, moveAsk},
		"finished":                        {rpmflow.Build{State: rpmflow.Finished, QueueSequence: 7}, rpmflow.Build{}, moveDrop},
		"finished under another message":  {rpmflow.Build{State: rpmflow.Finished, QueueSequence: 3}, rpmflow.Build{}, moveDrop},
	} {
		if got := decide(events.Event{Build: test.last}, &events.Delivery{Build: test.message, Sequence: 7}); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// A publish that was broken off may be stored all the same: its writer is not fenced out by itself, but by others it is.
func TestPublishAfterOneThatWasBrokenOff(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	server, err := natsserver.Start(natsserver.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	nc, js, err := events.Connect(t.Context(), events.Access{URL: server.URL(), Name: "test"}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ledger, err := events.NewLedger(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	appended := func(kind events.Type, b rpmflow.Build, after uint64) uint64 {
		t.Helper()
		seq, err := ledger.Append(t.Context(), kind, b, after, "a")
		if err != nil {
			t.Fatal(err)
		}
		return seq
	}
	b := rpmflow.Build{ID: "b1", Project: "hello", Target: "x", State: rpmflow.Running, Attempt: 1}
	claimed := appended(events.TypeStarted, b, 0)
	o := &owner{Builder: &Builder{ledger: ledger, instance: "a"}, log: quiet, held: held{b, claimed}}
	phase := b
	phase.Phase = rpmflow.PhaseRoot
	stored := appended(events.TypePhase, phase, claimed) // and nobody has told us
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

func TestDelayDoubles(t *testing.T) {
	b := &Builder{o: Options{RetryDelay: 30 * time.Second}}
	for failures, want := range map[int]time.Duration{0: 30 * time.Second, 1: 30 * time.Second, 2: time.Minute, 3: 2 * time.Minute, 200: maxDelay} {
		if got := b.delay(failures); got != want {
			t.Errorf("after %d failures %s, want %s", failures, got, want)
		}
	}
}

// Builders that share a data directory and start at the same moment leave each other alone, and what the dead have left is removed.
func TestWorkDirs(t *testing.T) {
	dir := t.TempDir()
	for _, dead := range []string{"builder-1.lock", "builder-2.lock"} {
		if err := os.WriteFile(filepath.Join(dir, dead), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "builder-1", "some-build-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	open := make(chan *workDir, 32)
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
		if attempt, err := w.attempt(rpmflow.Build{ID: "x", Attempt: 1}); err != nil {
			t.Errorf("%s: %v", attempt, err)
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
