package builder

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestNext(t *testing.T) {
	t.Parallel()
	after := func(tried step, p published) situation {
		return situation{infrastructure: tried == stepRetry, interrupted: tried == stepHandBack, maxFailures: 3,
			tried: tried, published: p}
	}
	for name, test := range map[string]struct {
		situation situation
		want      step
	}{
		"an outcome":                      {situation{maxFailures: 3}, stepFinish},
		"an outcome after failures":       {situation{maxFailures: 3, failures: 2}, stepFinish},
		"interrupted":                     {situation{maxFailures: 3, interrupted: true}, stepHandBack},
		"interrupted, after failures":     {situation{maxFailures: 3, interrupted: true, failures: 2}, stepHandBack},
		"infrastructure":                  {situation{maxFailures: 3, infrastructure: true}, stepRetry},
		"infrastructure, the second time": {situation{maxFailures: 3, infrastructure: true, failures: 1}, stepRetry},
		"infrastructure, the last time":   {situation{maxFailures: 3, infrastructure: true, failures: 2}, stepFinish},
		"infrastructure, never retried":   {situation{maxFailures: 1, infrastructure: true}, stepFinish},
		"builders were lost": {situation{maxFailures: 3, infrastructure: true, lost: maxLost},
			stepRetry},
		"too many builders were lost": {situation{maxFailures: 3, infrastructure: true, lost: maxLost + 1},
			stepFinish},
		"canceled, with an outcome": {situation{maxFailures: 3, canceled: true}, stepCancel},
		"canceled, interrupted":     {situation{maxFailures: 3, canceled: true, interrupted: true}, stepCancel},
		"canceled, infrastructure": {situation{maxFailures: 3, canceled: true, infrastructure: true},
			stepCancel},
		"canceled before the outcome":       {after(stepFinish, publishedCanceled), stepCancel},
		"canceled before the retry":         {after(stepRetry, publishedCanceled), stepCancel},
		"canceled before the hand-over":     {after(stepHandBack, publishedCanceled), stepCancel},
		"outcome published":                 {after(stepFinish, publishedOK), stepSettle},
		"cancellation published":            {after(stepCancel, publishedOK), stepSettle},
		"short record published":            {after(stepShorten, publishedOK), stepSettle},
		"retry published":                   {after(stepRetry, publishedOK), stepSettle},
		"hand-over published":               {after(stepHandBack, publishedOK), stepSettle},
		"no space for the outcome":          {after(stepFinish, publishedFull), stepWait},
		"no space for the cancellation":     {after(stepCancel, publishedFull), stepWait},
		"no space for the short record":     {after(stepShorten, publishedFull), stepWait},
		"no space for the retry":            {after(stepRetry, publishedFull), stepLeave},
		"no space for the hand-over":        {after(stepHandBack, publishedFull), stepLeave},
		"the outcome is too large":          {after(stepFinish, publishedTooLarge), stepShorten},
		"the cancellation is too large":     {after(stepCancel, publishedTooLarge), stepShorten},
		"the short record is too large":     {after(stepShorten, publishedTooLarge), stepLeave},
		"the retry is too large":            {after(stepRetry, publishedTooLarge), stepLeave},
		"the hand-over is too large":        {after(stepHandBack, publishedTooLarge), stepLeave},
		"outcome of a build that is lost":   {after(stepFinish, publishedLost), stepLeave},
		"retry of a build that is lost":     {after(stepRetry, publishedLost), stepLeave},
		"hand-over of a build that is lost": {after(stepHandBack, publishedLost), stepLeave},
		"outcome while NATS is away":        {after(stepFinish, publishedFailed), stepLeave},
		"cancellation while NATS is away":   {after(stepCancel, publishedFailed), stepLeave},
		"hand-over while NATS is away":      {after(stepHandBack, publishedFailed), stepLeave},
	} {
		if got := next(test.situation); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestPublishedAs(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]published{
		nil: publishedOK, events.ErrFull: publishedFull, events.ErrTooLarge: publishedTooLarge,
		errCanceled:    publishedCanceled,
		events.ErrLost: publishedLost, context.DeadlineExceeded: publishedFailed,
	} {
		if got := publishedAs(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// A record that is too large for a message is published as a failure, without what makes it large; a canceled build
// stays canceled.
func TestShortened(t *testing.T) {
	t.Parallel()
	b := rpmflow.Build{Notes: []string{"x"}, BuildResult: rpmflow.BuildResult{
		Outcome: &rpmflow.Outcome{Result: rpmflow.Succeeded}, Packages: []rpmflow.Package{{}},
		Artifacts: []rpmflow.Artifact{{}},
	}}
	got := shortened(b, events.ErrTooLarge)
	if got.Outcome.Kind != rpmflow.FailureInfrastructure || len(got.Packages)+len(got.Artifacts)+len(got.Notes) > 0 {
		t.Errorf("%+v", got)
	}
	b.Cancel, b.Outcome = &rpmflow.Cancel{By: "ann"}, &rpmflow.Outcome{Result: rpmflow.Failed,
		Kind: rpmflow.FailureCanceled}
	if got := shortened(b, events.ErrTooLarge); got.Outcome.Kind != rpmflow.FailureCanceled || len(got.Artifacts) > 0 {
		t.Errorf("%+v", got)
	}
}

// records is a storage that takes final records and nothing else.
type records struct {
	build.Store
	refuse error // for every record that is not a failure of the infrastructure
	stored []rpmflow.Build
}

func (r *records) PutJSON(_ context.Context, _ string, v any) error {
	b := v.(rpmflow.Build)
	if r.refuse != nil && !isInfrastructure(b.Outcome) {
		return r.refuse
	}
	r.stored = append(r.stored, b)
	return nil
}

// ending makes a build that is claimed, with its owner, on a server of its own.
func ending(t *testing.T, store build.Store) *owner {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	nc, js := eventstest.Connect(t, eventstest.Start(t, natsserver.Options{}), events.StreamSettings{})
	b, err := New(t.Context(), Options{
		Name: "a", Jobs: 1, AckWait: time.Minute, RetryDelay: time.Second, MaxFailures: 3, DataDir: t.TempDir(),
		Logger: quiet,
	}, nc, js, &build.Runner{Store: store}, nil)
	testkit.Must(t, err)
	t.Cleanup(func() { testkit.Must(t, b.work.Remove()) })
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	t.Cleanup(func() { cancel(); following.Wait() })
	following.Go(func() { b.queue.Follow(ctx, quiet) })
	r := rpmflow.Build{State: rpmflow.Queued, BuildRequest: rpmflow.BuildRequest{
		ID: rpmflow.DeriveID(t.Name()), Project: "hello", Target: "x", Arch: "x86_64", Concurrency: 9,
	}}
	queued, err := b.ledger.Append(t.Context(), events.TypeQueued, r, 0)
	testkit.Must(t, err)
	testkit.Must(t, b.queue.Enqueue(t.Context(), r, time.Time{}))
	d, err := b.queue.Take(t.Context(), []string{"x86_64"}, quiet)
	if err != nil || d == nil {
		t.Fatal(d, err)
	}
	r.State, r.Attempt, r.Builder, r.QueueSequence = rpmflow.Running, 1, "a", d.Sequence
	r.EnterPhase(rpmflow.PhaseRoot, time.Now())
	sequence, err := b.ledger.Append(t.Context(), events.TypeStarted, r, queued)
	testkit.Must(t, err)
	return b.newOwner(d, ownedBuild{r, sequence}, quiet)
}

// ended returns the last event of the build, and whether its message is still in the queue.
func (o *owner) ended(t *testing.T) (events.Event, bool) {
	t.Helper()
	last, err := o.ledger.Last(t.Context(), o.held.build)
	testkit.Must(t, err)
	left, err := o.queue.Holds(t.Context(), o.d.Sequence)
	testkit.Must(t, err)
	return last, left
}

// A request to cancel was published before the owner's own event: the build ends as canceled, once, and no
// message is left.
func TestCancelOvertakesEveryOtherEnd(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(o *owner, b rpmflow.Build){
		"success": func(o *owner, b rpmflow.Build) {
			b.Outcome, b.Packages = &rpmflow.Outcome{Result: rpmflow.Succeeded}, []rpmflow.Package{{Name: "hello"}}
			b.Artifacts = []rpmflow.Artifact{{Name: "hello.rpm", Kind: rpmflow.KindRPM},
				{Name: "build.log", Kind: rpmflow.KindLog}}
			o.end(t.Context(), b, nil)
		},
		"another attempt": func(o *owner, b rpmflow.Build) {
			out := rpmflow.OutcomeOf(rpmflow.PhaseRoot, errors.New("no disk"))
			b.Outcome = &out
			o.end(t.Context(), b, nil)
		},
		"the last attempt": func(o *owner, b rpmflow.Build) {
			out := rpmflow.OutcomeOf(rpmflow.PhaseRoot, errors.New("no disk"))
			b.Outcome, b.InfrastructureFailures = &out, 2
			o.end(t.Context(), b, nil)
		},
		"hand-over": func(o *owner, b rpmflow.Build) { o.end(t.Context(), b, errDrained) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &records{}
			o := ending(t, store)
			b := o.current()
			asked := b.Clone()
			asked.Cancel = &rpmflow.Cancel{By: "ann", At: time.Now()}
			if _, err := o.ledger.Append(t.Context(), events.TypeCancelRequested, asked, o.held.sequence); err != nil {
				t.Fatal(err)
			}
			end(o, b)
			last, left := o.ended(t)
			g := last.Build
			if last.Type != events.TypeFinished || g.Outcome.Kind != rpmflow.FailureCanceled ||
				g.Outcome.Phase != rpmflow.PhaseRoot ||
				g.Cancel == nil || len(g.Packages) > 0 ||
				slices.ContainsFunc(g.Artifacts, func(a rpmflow.Artifact) bool { return a.Kind != rpmflow.KindLog }) {
				t.Errorf("%s: %+v", last.Type, g)
			}
			if n := len(store.stored); n == 0 || store.stored[n-1].Outcome.Kind != rpmflow.FailureCanceled {
				t.Errorf("stored: %+v", store.stored)
			}
			if left {
				t.Error("the message is left")
			}
		})
	}
}

// No outcome is published before its record is stored: where the storage refuses the record, the attempt has failed for
// reasons of the infrastructure, and only the last such attempt ends the build.
func TestRecordIsStoredFirst(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]events.Type{0: events.TypeQueued, 2: events.TypeFinished} {
		t.Run(string(want), func(t *testing.T) {
			t.Parallel()
			store := &records{refuse: errors.New("no space left")}
			o := ending(t, store)
			b := o.current()
			b.InfrastructureFailures = failures
			b.Outcome, b.Packages = &rpmflow.Outcome{Result: rpmflow.Succeeded}, []rpmflow.Package{{Name: "hello"}}
			b.Artifacts = []rpmflow.Artifact{{Name: "hello.rpm", Kind: rpmflow.KindRPM}}
			o.end(t.Context(), b, nil)
			last, left := o.ended(t)
			g := last.Build
			if last.Type != want || g.InfrastructureFailures != failures+1 || len(g.Packages)+len(g.Artifacts) > 0 ||
				left {
				t.Errorf("%s: %+v, message left: %v", last.Type, g, left)
			}
			switch want {
			case events.TypeQueued:
				if g.Outcome != nil || len(store.stored) > 0 || len(g.Notes) != 1 ||
					!strings.Contains(g.Notes[0], "store the record: no space left") {
					t.Errorf("waits as %+v, stored: %+v", g, store.stored)
				}
			default:
				if !isInfrastructure(g.Outcome) || g.Outcome.Phase != rpmflow.PhaseUpload || len(store.stored) != 1 {
					t.Errorf("ended as %+v, stored: %+v", g.Outcome, store.stored)
				}
			}
		})
	}
}
