package builder_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// of is a request of another project, on the same repository.
func (w *fixture) of(project, push string, concurrency int) rpmflow.Build {
	b := w.build(push)
	b.Project, b.Package, b.Push, b.Concurrency = project, project, rpmflow.PushID(project, push), concurrency
	b.ID = rpmflow.BuildID(b.Push, project, b.Target)
	return b
}

func (w *fixture) send(b rpmflow.Build) rpmflow.Build {
	w.t.Helper()
	_, err := w.ledger.Append(w.t.Context(), events.TypeQueued, b, 0)
	testkit.Must(w.t, err)
	testkit.Must(w.t, w.queue.Enqueue(w.t.Context(), b, time.Time{}))
	return b
}

// stepper lets builds pass a step one by one, and records which have come.
type stepper struct {
	came chan rpmflow.Build
	pass chan struct{}
}

func newStepper() *stepper {
	return &stepper{make(chan rpmflow.Build, 64), make(chan struct{})}
}

func (s *stepper) step(ctx context.Context, step string, job build.Job) error {
	if step != enginetest.RPMs {
		return nil
	}
	s.came <- job.Build
	select {
	case <-s.pass:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *fixture) next(s *stepper) rpmflow.Build {
	w.t.Helper()
	return testkit.Receive(w.t, "a build", s.came)
}

func TestSeveralBuildsAtATime(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	s := newStepper()
	o := w.options("a")
	o.Jobs = 3
	p := w.run(o, "", s.step)
	var builds []rpmflow.Build
	for i := range 4 {
		builds = append(builds, w.enqueue(fmt.Sprint(i)))
	}
	for range o.Jobs {
		w.next(s)
	}
	running := func() (n int) {
		for _, b := range builds {
			last, err := w.ledger.Last(t.Context(), b)
			testkit.Must(w.t, err)
			if last.Build.State == rpmflow.Running {
				n++
			}
		}
		return n
	}
	if n := running(); n != o.Jobs {
		t.Errorf("%d builds are begun in %d slots", n, o.Jobs)
	}
	s.pass <- struct{}{}
	w.next(s) // the fourth takes the free slot
	// A drain lets all of them end.
	p.soft()
	for range o.Jobs {
		s.pass <- struct{}{}
	}
	p.ended()
	for _, b := range builds {
		if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 1 ||
			!w.stored(b, 1, "build.json") {
			t.Errorf("%+v", got)
		}
	}
	w.emptyQueue()
}

// One build of several is canceled, the others go on; a second signal hands all of them back.
func TestSeveralBuildsStopApart(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	s := newStepper()
	o := w.options("a")
	o.Jobs = 3
	p := w.run(o, "", s.step)
	builds := []rpmflow.Build{w.enqueue("0"), w.enqueue("1"), w.enqueue("2")}
	for range builds {
		w.next(s)
	}
	w.request(builds[1])
	testkit.Must(w.t, w.queue.NotifyCancel(builds[1].ID))
	w.finished(builds[1])
	p.soft()
	p.hard()
	p.ended()
	w.run(w.options("b"), "", nil)
	for _, b := range []rpmflow.Build{builds[0], builds[2]} {
		if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 2 ||
			got.InfrastructureFailures+got.LostAttempts != 0 {
			t.Errorf("%+v", got)
		}
	}
	w.canceled(builds[1])
}

// One project queues 3,000 builds, then another one queues one: it takes the next slot that gets free.
func TestAMassRebuildDelaysOthersByOneSlot(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	const many, known = 3000, 8
	for i := range known {
		w.send(w.of("mass", fmt.Sprint(i), many))
	}
	for i := known; i < many; i++ { // no builder gets as far as those, so their events may be missing
		raw, err := json.Marshal(w.of("mass", fmt.Sprint(i), many))
		testkit.Must(w.t, err)
		_, err = w.js.PublishAsync("rpmflow.builds.x86_64.mass", raw)
		testkit.Must(w.t, err)
	}
	testkit.Receive(t, "all builds in the queue", w.js.PublishAsyncComplete())
	s := newStepper()
	a, b := w.options("a"), w.options("b")
	a.Jobs = 2
	w.run(a, "", s.step)
	w.run(b, "", s.step)
	for range 3 {
		if got := w.next(s); got.Project != "mass" {
			t.Errorf("%+v", got)
		}
	}
	small := w.send(w.of("small", "1", 4))
	s.pass <- struct{}{}
	if got := w.next(s); got.ID != small.ID {
		t.Errorf("project %s has got the free slot", got.Project)
	}
	if n := w.messages(); n != many {
		t.Errorf("%d messages are left, want %d", n, many)
	}
}

// A project's limit holds over all builders and slots.
func TestAProjectsLimit(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	const limit = 2
	var now, most atomic.Int32
	var mu sync.Mutex
	var met = make(chan struct{}) // closed when the limit is reached: the builds wait for each other
	step := func(ctx context.Context, step string, _ build.Job) error {
		if step != enginetest.RPMs {
			return nil
		}
		n := now.Add(1)
		defer now.Add(-1)
		mu.Lock()
		most.Store(max(most.Load(), n))
		if n == limit {
			select {
			case <-met:
			default:
				close(met)
			}
		}
		mu.Unlock()
		select {
		case <-met:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	var builds []rpmflow.Build
	for i := range 8 {
		builds = append(builds, w.send(w.of("limited", fmt.Sprint(i), limit)))
	}
	for _, name := range []string{"a", "b"} {
		o := w.options(name)
		o.Jobs = 3
		w.run(o, "", step)
	}
	for _, b := range builds {
		if got := w.finished(b); got.Outcome.Result != rpmflow.Succeeded || got.Attempt != 1 {
			t.Errorf("%+v", got)
		}
	}
	if most.Load() != limit {
		t.Errorf("%d at once, the limit is %d", most.Load(), limit)
	}
	w.emptyQueue()
}

// Without room nothing is taken, and the log says why; with room again all goes on.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	var log testkit.Log
	var asked, full atomic.Int32
	full.Store(1)
	o := w.options("a")
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	o.Room = func() error {
		asked.Add(1)
		if full.Load() == 1 {
			return errors.New("the disk is almost full")
		}
		return nil
	}
	w.run(o, "", nil)
	b := w.enqueue("p1")
	testkit.Eventually(w.t, "three questions", func() bool { return asked.Load() >= 3 })
	if types := w.types(b); len(types) > 1 || w.messages() != 1 || !strings.Contains(log.String(),
		"taking no builds for now") || !strings.Contains(log.String(), "the disk is almost full") {
		t.Errorf("events %v, %d messages, log %s", types, w.messages(), log.String())
	}
	full.Store(0)
	w.finished(b)
	if !strings.Contains(log.String(), "taking builds again") {
		t.Errorf("log %s", log.String())
	}
}
