package builder_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/builder"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestDrain(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	g := newGate(enginetest.RPMs)
	p := w.run(w.options("a"), "", g.step)
	b := w.enqueue("p1")
	w.entered(g)
	second := w.enqueue("p2")
	p.soft()
	close(g.open)
	p.ended()
	if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 1 {
		t.Errorf("%+v", got)
	}
	if types := w.types(second); !slices.Equal(types, []string{"queued"}) || w.messages() != 1 {
		t.Errorf("took another one: %v, %d messages", types, w.messages())
	}
}

// An interruption costs no attempt, and others have the build at once, long before the ack wait is over.
func TestHandedBack(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(o *builder.Options) func(p *program){
		"hard stop": func(*builder.Options) func(*program) { return func(p *program) { p.soft(); p.hard() } },
		"drain time over": func(o *builder.Options) func(*program) {
			o.DrainTime = 100 * time.Millisecond
			return func(p *program) { p.soft() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t, events.StreamSettings{})
			o := w.options("a")
			do := stop(&o)
			p := w.run(o, "", hang(enginetest.Dependencies))
			b := w.enqueue("p1")
			w.until("the phase dependencies", func(e events.Event) bool {
				return e.Build.ID == b.ID &&
					e.Build.Phase == rpmflow.PhaseDependencies
			})
			do(p)
			p.ended()
			begun := time.Now()
			w.run(w.options("b"), "", nil)
			got := w.finished(b)
			if got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 2 ||
				got.InfrastructureFailures+got.LostAttempts != 0 || got.Builder != "b" {
				t.Errorf("%+v", got)
			}
			if took := time.Since(begun); took > o.AckWait/2 {
				t.Errorf("the other one had it after %s", took)
			}
			if !slices.ContainsFunc(got.Notes, func(n string) bool {
				return strings.Contains(n,
					"interrupted: the builder is shutting down")
			}) {
				t.Errorf("notes %q", got.Notes)
			}
			w.emptyQueue()
			if w.stored(b, 1, "build.log.gz") || w.stored(b, 1, "build.json") {
				t.Error("the interrupted attempt has uploaded something")
			}
		})
	}
}

// A builder that is cut off from NATS builds on, and keeps what it has made to itself when another one has taken over
// meanwhile.
func TestTakeover(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	link, g := w.proxy(), newGate(enginetest.RPMs)
	o := w.options("a")
	o.AckWait = 3 * time.Second
	a := w.run(o, link.url(), g.step)
	b := w.enqueue("p1")
	w.entered(g)
	link.set(true)
	o2 := w.options("b")
	o2.AckWait = o.AckWait
	w.run(o2, "", nil)
	got := w.finished(b)
	if got.Builder != "b" || got.Attempt != 2 || got.LostAttempts != 1 {
		t.Errorf("%+v", got)
	}
	close(g.open) // the first one's build ends well, too late
	link.set(false)
	a.soft()
	a.ended()
	for _, name := range []string{"build.json", "build.log.gz", "hello-1.0-1.src.rpm", "hello-1.0-1.x86_64.rpm"} {
		if w.stored(b, 1, name) {
			t.Errorf("the builder that lost the build has stored %s", name)
		}
	}
	w.emptyQueue() // the watcher sees whether anything came after the end
}

// The one that has lost its build finds out by itself, and stops it.
func TestTakeoverIsNoticed(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options("a")
	o.AckWait = 3 * time.Second
	stopped := newGate(enginetest.RPMs)
	w.run(o, "", stopped.step)
	b := w.enqueue("p1")
	w.entered(stopped)
	last, err := w.ledger.LastOf(t.Context(), b.ID)
	testkit.Must(w.t, err)
	taken := last.Build.Clone()
	taken.Attempt, taken.Builder, taken.LostAttempts, taken.Containers, taken.Root = 2, "other", 1, nil, nil
	taken.Phases = nil
	taken.EnterPhase(rpmflow.PhaseClaim, time.Now())
	_, err = w.ledger.Append(t.Context(), events.TypeStarted, taken, last.Sequence, "other")
	testkit.Must(w.t, err)
	// The message comes again, to this one as it is the only one, and the build is begun again.
	w.entered(stopped)
	close(stopped.open)
	if got := w.finished(b); got.Attempt != 3 || got.LostAttempts != 2 || w.stored(b, 1, "build.log.gz") {
		t.Errorf("%+v", got)
	}
	w.emptyQueue()
}

func TestNATSRestarts(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	g := newGate(enginetest.RPMs)
	w.run(w.options("a"), "", g.step)
	b := w.enqueue("p1")
	w.entered(g)
	w.run(w.options("b"), "", nil) // would take it if it could
	w.nats.Close()
	close(g.open) // the build ends while NATS is out of reach
	w.startNATS(strings.TrimPrefix(w.url, "nats://"))
	if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 1 {
		t.Errorf("%+v", got)
	}
	w.emptyQueue()
}
