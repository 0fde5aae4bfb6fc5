package listener_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// ask sends a request about a build.
func (d *testListener) ask(id, what, body string, header ...string) (answer, rpmflow.Build) {
	d.t.Helper()
	a := d.do(http.MethodPost, "/api/v1/builds/"+id+"/"+what, strings.NewReader(body),
		append([]string{"Content-Type", "application/json", "Authorization", "Bearer " + token}, header...)...)
	var b rpmflow.Build
	if what == "cancel" && a.status < 400 {
		a.into(&b)
	}
	return a, b
}

// one submits a build and returns its last event.
func (d *testListener) one() events.Event {
	d.t.Helper()
	_, p := d.submit(`{"project":"hello"}`)
	if len(p.Builds) != 1 {
		d.t.Fatalf("%+v", p)
	}
	var last events.Event
	testkit.Eventually(d.t, "the queued event", func() (ok bool) {
		var err error
		last, err = d.ledger.LastOf(d.t.Context(), p.Builds[0].ID)
		return err == nil
	})
	return last
}

// claim does what a builder does.
func (d *testListener) claim(last events.Event) events.Event {
	d.t.Helper()
	now := time.Now().UTC()
	b := last.Build.Clone()
	b.State, b.Attempt, b.Builder, b.QueueSequence, b.Engine, b.StartedAt = rpmflow.Running, b.Attempt+1, "b1", 1,
		"mock",
		&now
	b.EnterPhase(rpmflow.PhaseClaim, now)
	sequence, err := d.ledger.Append(d.t.Context(), events.TypeStarted, b, last.Sequence, "b1")
	testkit.Must(d.t, err)
	return events.Event{Type: events.TypeStarted, Sequence: sequence, Build: b}
}

// end finishes a running build as failed.
func (d *testListener) end(last events.Event, kind rpmflow.FailureKind) rpmflow.Build {
	d.t.Helper()
	now := time.Now().UTC()
	b := last.Build.Clone()
	b.LeavePhase(now)
	b.State, b.FinishedAt = rpmflow.Finished, &now
	b.Outcome = &rpmflow.Outcome{Result: rpmflow.Failed, Kind: kind, Phase: rpmflow.PhaseRPMs, Message: "x"}
	_, err := d.ledger.Append(d.t.Context(), events.TypeFinished, b, last.Sequence, "b1")
	testkit.Must(d.t, err)
	return b
}

func TestCancelWhileQueued(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	last := d.one()
	log := make(chan string, 1)
	go func() { log <- d.get("/api/v1/builds/" + last.Build.ID + "/log?follow=true").text }()
	a, b := d.ask(last.Build.ID, "cancel", `{"by":"ann@desk"}`)
	if a.status != http.StatusOK || b.State != rpmflow.Finished || b.Cancel == nil || b.Cancel.By != "ann@desk" ||
		time.Since(b.Cancel.At) > time.Minute {
		t.Fatalf("%d %s", a.status, a.text)
	}
	got, err := w.ledger.LastOf(t.Context(), b.ID)
	testkit.Must(w.t, err)
	if o := got.Build.Outcome; got.Type != events.TypeFinished || o.Result != rpmflow.Failed ||
		o.Kind != rpmflow.FailureCanceled || o.Message != "canceled by ann@desk" || o.Hint == "" {
		t.Errorf("%s: %+v", got.Type, got.Build)
	}
	if text := <-log; !strings.Contains(text, "rpmflow: canceled by ann@desk") {
		t.Errorf("log %q", text)
	}
	// Once more is the same.
	if a, again := d.ask(last.Build.ID, "cancel", `{"by":"bob"}`); a.status != http.StatusOK ||
		again.Cancel.By != "ann@desk" {
		t.Errorf("%d %s", a.status, a.text)
	}
	testkit.Eventually(w.t, "the list to have it", func() bool {
		return strings.Contains(d.get("/api/v1/builds?kind=canceled").text, b.ID)
	})
}

func TestCancelWhileRunning(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	last := d.claim(d.one())
	queue, err := events.NewQueue(t.Context(), w.nc, w.js, time.Minute)
	testkit.Must(w.t, err)
	notices, stop, err := queue.CancelNotices(last.Build.ID)
	testkit.Must(w.t, err)
	defer stop()
	testkit.Must(w.t, w.nc.Flush())
	a, b := d.ask(last.Build.ID, "cancel", "") // without a name
	if a.status != http.StatusAccepted || b.State != rpmflow.Running || b.Cancel == nil || b.Cancel.By != "127.0.0.1" ||
		b.Attempt != 1 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	testkit.Receive(t, "the notice to its owner", notices)
	if a, again := d.ask(last.Build.ID, "cancel", `{"by":"bob"}`); a.status != http.StatusAccepted ||
		again.Cancel.By != "127.0.0.1" {
		t.Errorf("%d %s", a.status, a.text)
	}
	got, err := w.ledger.LastOf(t.Context(), b.ID)
	testkit.Must(w.t, err)
	if got.Type != events.TypeCancelRequested || got.Sequence != last.Sequence+1 {
		t.Errorf("%s at %d", got.Type, got.Sequence)
	}
}

func TestCancelIsRefused(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	last := d.one()
	id := last.Build.ID
	for _, test := range []struct {
		name, id, body string
		header         []string
		status         int
		says           string
	}{
		{"no token", id, "", []string{"Authorization", ""}, 401, "token is missing"},
		{"a form of a web page", id, "by=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415,
			"not declared as JSON"},
		{"bad JSON", id, `{"by":`, nil, 400, "cannot be read"},
		{"an unknown field", id, `{"why":"x"}`, nil, 400, "unknown field"},
		{"a very long name", id, `{"by":"` + strings.Repeat("x", 300) + `"}`, nil, 400, "longer than 200"},
		{"no such build", rpmflow.DeriveID("nosuch"), "", nil, 404, "there is no build"},
		{"no id", "x", "", nil, 400, "not a build id"},
	} {
		if a, _ := d.ask(test.id, "cancel", test.body, test.header...); a.status != test.status ||
			!strings.Contains(a.text, test.says) {
			t.Errorf("%s: %d %s", test.name, a.status, a.text)
		}
	}
	d.end(d.claim(last), rpmflow.FailureBuild)
	if a, _ := d.ask(id, "cancel", ""); a.status != http.StatusConflict ||
		!strings.Contains(a.text, "has failed already") {
		t.Errorf("a finished build: %d %s", a.status, a.text)
	}
}

// A builder claims the build in the same moment: one of both wins, and the request has effect in any case.
func TestCancelRacesWithAClaim(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	for range 20 {
		last := d.one()
		claimed := make(chan error, 1)
		go func() {
			now := time.Now().UTC()
			b := last.Build.Clone()
			b.State, b.Attempt, b.Builder, b.QueueSequence, b.Engine, b.StartedAt = rpmflow.Running, 1, "b1", 1, "mock",
				&now
			b.EnterPhase(rpmflow.PhaseClaim, now)
			_, err := w.ledger.Append(t.Context(), events.TypeStarted, b, last.Sequence, "b1")
			claimed <- err
		}()
		a, b := d.ask(last.Build.ID, "cancel", "")
		lost := <-claimed
		if lost == nil && (a.status != http.StatusAccepted || b.State != rpmflow.Running) || lost != nil &&
			(a.status != http.StatusOK || b.State != rpmflow.Finished) || b.Cancel == nil {
			t.Errorf("claim: %v, answer: %d %s", lost, a.status, a.text)
		}
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options()
	d := w.listen(o)
	first := d.one()
	if a, _ := d.ask(first.Build.ID, "retry", "{}"); a.status != http.StatusConflict ||
		!strings.Contains(a.text, "is not finished") {
		t.Errorf("%d %s", a.status, a.text)
	}
	old := d.end(d.claim(first), rpmflow.FailureBuild)
	var p, again, other pushed
	a, _ := d.ask(old.ID, "retry", "{}", "Idempotency-Key", "k1")
	if a.status != http.StatusAccepted {
		t.Fatalf("%d %s", a.status, a.text)
	}
	a.into(&p)
	if a, _ = d.ask(old.ID, "retry", "{}", "Idempotency-Key", "k1"); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.text)
	}
	a.into(&again)
	a, _ = d.ask(old.ID, "retry", "{}")
	a.into(&other)
	if len(p.Builds) != 1 || !slices.Equal(p.ids(), again.ids()) || !again.Duplicate || p.Builds[0].ID == old.ID ||
		slices.Equal(p.ids(), other.ids()) {
		t.Fatalf("%+v, then %+v, then %+v", p, again, other)
	}
	_, submitted := d.submit(`{"project":"hello"}`, "Idempotency-Key", "k1") // the same key for something else
	if slices.Equal(submitted.ids(), p.ids()) {
		t.Error("a submission has got the answer of a retry")
	}
	var b rpmflow.Build
	d.get("/api/v1/builds/" + p.Builds[0].ID).into(&b)
	if b.RetryOf != old.ID || b.Commit != old.Commit || b.Ref != old.Ref || b.Target != old.Target ||
		b.Package != old.Package || b.State != rpmflow.Queued || b.Attempt != 0 || b.Cancel != nil {
		t.Errorf("%+v", b)
	}
	for name, test := range map[string]struct {
		header []string
		status int
	}{
		"no token":             {[]string{"Authorization", ""}, 401},
		"a form of a web page": {[]string{"Content-Type", "text/plain"}, 415},
	} {
		if a, _ := d.ask(old.ID, "retry", "{}", test.header...); a.status != test.status {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	// The configuration has changed meanwhile.
	d.stop()
	o.Targets = o.Targets[1:]
	o.Projects = o.Projects[1:]
	o.Projects[0].Name, o.Projects[1].Targets = "hello", []string{"opensuse-leap-15.6-x86_64"}
	d = w.listen(o)
	if a, _ := d.ask(old.ID, "retry", "{}"); a.status != http.StatusConflict ||
		!strings.Contains(a.text, "is not defined any more") {
		t.Errorf("the target is gone: %d %s", a.status, a.text)
	}
	d.stop()
	o.Projects = o.Projects[1:]
	d = w.listen(o)
	if a, _ := d.ask(old.ID, "retry", "{}"); a.status != http.StatusNotFound {
		t.Errorf("the project is gone: %d %s", a.status, a.text)
	}
}
