package events_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestQueueHandsOutEachMessageOnce(t *testing.T) {
	t.Parallel()
	h := newQueueFixture(t, time.Minute)
	a := h.builder()
	h.push("mass", 5, 1)
	first := a.claim()
	if first == nil || first.record.Project != "mass" {
		t.Fatalf("first is %+v", first)
	}
	h.push("small", 1, 1)
	// the same again
	testkit.Must(t, a.queue.Enqueue(t.Context(), build("small", fmt.Sprint("p", first.event)), time.Time{}))
	wantOrder(t, a.order(), "small") // then both projects are at their limit of 1
	first.handBack()
	back := a.claim()
	if back == nil || back.Build.ID != first.Build.ID || back.Deliveries != 2 {
		t.Fatalf("the build that was handed back came as %+v", back)
	}
	testkit.Must(t, back.Done(t.Context()))
	if held := testkit.Value(a.queue.Holds(t.Context(), back.Sequence))(t); held {
		t.Fatal("done, and still in the queue")
	}
}

// The project that runs least on all builders together comes first; of several the one that has waited the longest.
func TestWhoIsNext(t *testing.T) {
	t.Parallel()
	h := newQueueFixture(t, time.Minute)
	builders := []*testBuilder{h.builder(), h.builder()}
	for _, p := range []string{"d", "b", "a", "c"} { // in this order
		h.push(p, 3, 2)
	}
	running := map[string]*job{}
	var order []string
	for i := range 8 { // two builders, by turns
		j := builders[i%2].claim()
		if j == nil {
			t.Fatalf("nothing after %v", order)
		}
		order, running[j.record.Project] = append(order, j.record.Project), j
	}
	wantOrder(t, strings.Join(order, ""), "dbacdbac")
	wantOrder(t, builders[0].order(), "") // all are at their limit
	running["a"].finish()
	wantOrder(t, builders[1].order(), "a")
}

// A build that was handed back is the next one, for every builder, before all that waits.
func TestHandedBackComesFirst(t *testing.T) {
	t.Parallel()
	h := newQueueFixture(t, time.Minute)
	a, b := h.builder(), h.builder()
	for i := range 14 {
		h.push(fmt.Sprint("p", 10+i), 1, 1)
	}
	first := a.claim()
	if first == nil || first.record.Project != "p10" {
		t.Fatalf("first came %+v", first)
	}
	first.handBack()
	wantOrder(t, b.claim().record.Project, "p10")
	wantOrder(t, a.claim().record.Project, "p11")
}

// A builder that starts after a build was handed back finds that in the past.
func TestHandedBackBeforeTheStart(t *testing.T) {
	t.Parallel()
	h := newQueueFixture(t, time.Minute)
	a := h.builder()
	for _, p := range []string{"b1", "b2", "b3"} {
		h.push(p, 1, 1)
	}
	h.push("over", 1, 1)
	a.claim().handBack()
	wantOrder(t, h.builder().order(), "b1 b2 b3 over")
}

// Builds of the same project stay behind the one that was handed back, and other projects are not passed over for them.
func TestHandedBackWithOthersOfItsProject(t *testing.T) {
	t.Parallel()
	h := newQueueFixture(t, time.Minute)
	a := h.builder()
	h.push("mass", 4, 3)
	one, _ := a.claim(), a.claim()
	h.push("small", 1, 1)
	one.handBack()
	back := a.claim()
	if back == nil || back.Build.ID != one.Build.ID {
		t.Fatalf("%+v", back)
	}
	wantOrder(t, a.order(), "small mass")
}

// What was handed back is begun once, and next, while others claim.
func TestHandedBackWhileOthersClaim(t *testing.T) {
	t.Parallel()
	h := newQueueFixture(t, time.Minute)
	builders := []*testBuilder{h.builder(), h.builder(), h.builder()}
	for i := range 6 {
		h.push(fmt.Sprint("p", i), 2, 1)
	}
	first := builders[0].claim()
	first.handBack()
	for _, b := range builders { // without waiting until the others have seen it
		d := take(t, b.queue)
		if d == nil {
			t.Fatal("nothing to do")
		}
		if back := d.Build.ID == first.Build.ID; back != (b == builders[0]) {
			t.Errorf("builder %v has got %s", b == builders[0], d.Build.Project)
		}
	}
}

// A retry is a request like any other.
func TestARetryWaitsInLine(t *testing.T) {
	t.Parallel()
	h := newQueueFixture(t, time.Minute)
	a := h.builder()
	h.push("a", 1, 1)
	first := a.claim()
	h.push("b", 1, 1)
	h.push("c", 1, 1)
	first.retry()
	wantOrder(t, a.order(), "b c a")
}

// A build whose builder has died comes first as soon as its message may be had, and not before: meanwhile it counts as
// running.
func TestOrphanComesFirst(t *testing.T) {
	t.Parallel()
	const ackWait = 2 * time.Second
	h := newQueueFixture(t, ackWait)
	dead, living := h.builder(), h.builder()
	for _, p := range []string{"a", "b", "c", "d", "e"} {
		h.push(p, 1, 1)
	}
	lost := dead.claim()
	kept := living.claim()
	heart(kept)
	wantOrder(t, living.claim().record.Project, "c")
	time.Sleep(ackWait + ackWait/4) // the time itself is what is tested
	var next []string
	for range 3 {
		j := living.claim()
		heart(j)
		next = append(next, j.record.Project)
	}
	wantOrder(t, strings.Join(next, " "), "a c d") // of c no heartbeat was sent either
	if last := testkit.Value(living.ledger.Last(t.Context(), lost.record))(t); last.Build.Attempt != 2 {
		t.Errorf("attempt %d", last.Build.Attempt)
	}
}

// A builder that starts after another has died has not received its last heartbeat. It takes its build after an ack
// wait at the latest; an idle one sooner.
func TestOrphanOfThePast(t *testing.T) {
	t.Parallel()
	const ackWait = 2 * time.Second
	h := newQueueFixture(t, ackWait)
	h.push("a", 1, 1)
	h.builder().claim()
	late := h.builder()
	var j *job
	begun := time.Now()
	testkit.Eventually(t, "the orphan is not taken", func() bool { j = late.claim(); return j != nil })
	if j.record.Attempt != 2 || time.Since(begun) > ackWait+ackWait/2 {
		t.Errorf("attempt %d after %s", j.record.Attempt, time.Since(begun))
	}
}

// A project that is at its limit is not asked, nor is one whose messages are all held: otherwise a take would cost the
// more the more there are.
func TestProjectsWithoutWorkAreNotAsked(t *testing.T) {
	t.Parallel()
	h := newQueueFixture(t, time.Minute)
	a := h.builder()
	for i := range 20 {
		h.push(fmt.Sprint("busy", i), 1+i%2, 1)
	}
	a.order()
	p := newRecorder(t, h.nc)
	begun := time.Now()
	wantOrder(t, a.order(), "")
	if took := time.Since(begun); took > 10*time.Second { // asking 20 projects without work takes 500 ms each
		t.Errorf("it took %s", took)
	}
	if asked := p.count("$JS.API.CONSUMER."); asked > 0 {
		t.Errorf("%d requests about consumers", asked)
	}
}

// The cost of a take does not depend on how many projects there are.
func TestRequestsOfATake(t *testing.T) {
	t.Parallel()
	cost := map[int]int{}
	for _, projects := range []int{2, 50} {
		h := newQueueFixture(t, time.Minute)
		a := h.builder()
		for i := range projects {
			h.push(fmt.Sprint("p", i), 2, 2)
		}
		a.claim()
		p := newRecorder(t, h.nc)
		take(t, a.queue)
		testkit.Must(t, h.nc.Flush())
		cost[projects] = p.count("$JS.API.")
	}
	if cost[2] == 0 || cost[2] != cost[50] {
		t.Errorf("requests by projects: %v", cost)
	}
}

// A new limit of a project holds as soon as a build is queued with it.
func TestANewLimit(t *testing.T) {
	t.Parallel()
	h := newQueueFixture(t, time.Minute)
	a := h.builder()
	h.push("p", 3, 1)
	wantOrder(t, a.order(), "p")
	h.push("p", 1, 3)
	wantOrder(t, a.order(), "p p")
}

// Without EVENTS nothing is handed out, and the reason is logged.
func TestTakeWithoutFollowing(t *testing.T) {
	t.Parallel()
	h := newQueueFixture(t, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	q := testkit.Value(events.NewQueue(t.Context(), h.nc, h.js, time.Minute))(t)
	if d, err := q.Take(ctx, []string{"x86_64"}, quiet); d != nil || err == nil {
		t.Errorf("%+v, %v", d, err)
	}
}

// The server loses the consumer: nothing is missed.
func TestFollowingGoesOn(t *testing.T) {
	t.Parallel()
	h := newQueueFixture(t, time.Minute)
	a, b := h.builder(), h.builder()
	h.push("mass", 3, 3)
	first := b.claim()
	loseReaders(t, h.js, events.StreamEvents)
	h.push("small", 1, 1)
	wantOrder(t, a.claim().record.Project, "small")
	first.finish()
	wantOrder(t, b.order(), "mass mass")
}

func TestScheduledBuildComesLater(t *testing.T) {
	t.Parallel()
	nc, js := connect(t)
	q := testkit.Value(events.NewQueue(t.Context(), nc, js, 30*time.Second))(t)
	follow(t, q)
	b := build("hello", "p1")
	b.InfrastructureFailures = 1
	due := time.Now().Add(1500 * time.Millisecond)
	testkit.Must(t, q.Enqueue(t.Context(), b, due))
	if d := take(t, q); d != nil {
		t.Fatalf("taken %s early", time.Until(due))
	}
	var d *events.Message
	testkit.Eventually(t, "the scheduled build", func() bool { d = take(t, q); return d != nil })
	if d == nil || d.Build.ID != b.ID || d.Build.InfrastructureFailures != 1 {
		t.Fatalf("scheduled build came as %+v", d)
	}
	if time.Now().Before(due) {
		t.Fatal("came early")
	}
	testkit.Must(t, d.Done(t.Context()))
}
