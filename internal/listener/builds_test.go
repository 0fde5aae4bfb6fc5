package listener_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to hold the read model's database

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", 200, ""},
		{"GET", "/healthz", 200, ""},
		{"HEAD", "/healthz", 200, ""},
		{"GET", "/readyz", 200, ""},
		{"GET", "/nosuch", 404, ""},
		{"GET", "/api/v1/nosuch", 404, ""},
		{"DELETE", "/nosuch", 404, ""},
		{"POST", "/", 405, "GET"},
		{"GET", "/hooks/generic/hello", 405, "POST"},
		{"PUT", "/hooks/github/hello", 405, "POST"},
		{"DELETE", "/api/v1/builds", 405, "GET, POST"},
		{"POST", "/api/v1/builds/x", 405, "GET"},
		{"POST", "/artifacts/builds/x", 405, "GET"},
	} {
		a := d.do(test.method, test.path, nil)
		if a.status != test.status || a.header.Get("Allow") != test.allow ||
			!strings.HasPrefix(a.header.Get("Content-Type"),
				"application/json") {
			t.Errorf("%s %s: %d, allow %q: %s", test.method, test.path, a.status, a.header.Get("Allow"), a.text)
		}
	}
}

func TestSubmit(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.git("-C", w.repo, "branch", "both")
	w.git("-C", w.repo, "tag", "both")
	d := w.listen(w.options())
	var ids []string
	for _, test := range []struct {
		name, body string
		header     []string
		status     int
		says       string
	}{
		{"the project alone", `{"project":"hello"}`, nil, 202, w.head},
		{"a branch", `{"project":"hello","ref":"main"}`, nil, 202, "refs/heads/main"},
		{"a commit of a full ref", `{"project":"hello","ref":"refs/heads/gone","commit":"` + commit + `"}`, nil, 202,
			commit},
		{"targets", `{"project":"tags","targets":["fedora-42-x86_64","fedora-42-x86_64"]}`, nil, 202,
			"fedora-42-x86_64"},
		{"a project without a secret", `{"project":"bare","targets":["fedora-42-x86_64"]}`, nil, 202, ""},
		{"no targets at all", `{"project":"bare"}`, nil, 400, "has no targets"},
		{"no token", `{"project":"hello"}`, []string{"Authorization", ""}, 401, "token is missing"},
		{"a wrong token", `{"project":"hello"}`, []string{"Authorization", "Bearer no"}, 401,
			"token is missing or wrong"},
		{"a form", `project=hello`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415,
			"not declared as JSON"},
		{"text", `{"project":"hello"}`, []string{"Content-Type", "text/plain"}, 415, "not declared as JSON"},
		{"bad JSON", `{"project":`, nil, 400, "cannot be read"},
		{"an unknown field", `{"project":"hello","branch":"main"}`, nil, 400, "unknown field"},
		{"nothing", ``, nil, 400, "cannot be read"},
		{"no such project", `{"project":"nosuch"}`, nil, 404, `nosuch`},
		{"no such target", `{"project":"hello","targets":["rawhide"]}`, nil, 400,
			"known are: fedora-42-x86_64, opensuse-leap-15.6-x86_64"},
		{"no such branch", `{"project":"hello","ref":"nosuch"}`, nil, 400, `has no branch or tag \"nosuch\"`},
		{"branch and tag", `{"project":"hello","ref":"both"}`, nil, 400, "both a branch and a tag"},
		{"a short commit", `{"project":"hello","commit":"2222"}`, nil, 400, "not a full commit id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, p := d.submit(test.body, test.header...)
			if a.status != test.status || !strings.Contains(strings.ReplaceAll(a.text, `\\"`, `\"`), test.says) {
				t.Fatalf("%d %s, want %d that says %q", a.status, a.text, test.status, test.says)
			}
			if test.status < 400 && len(p.Builds) == 0 {
				t.Errorf("%s", a.text)
			}
			ids = append(ids, p.ids()...)
		})
	}
	w.queued(ids...)
}

// Without a ref it is the configured branch where the repository's HEAD names none that is there.
func TestSubmitWithoutHEAD(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.git("-C", w.repo, "branch", "stable")
	w.git("-C", w.repo, "symbolic-ref", "HEAD", "refs/heads/nosuch")
	o := w.options()
	for i := range o.Projects {
		o.Projects[i].Branches = []string{"rel-*", "gone", "stable"}
	}
	a, p := w.listen(o).submit(`{"project":"hello"}`)
	if a.status != http.StatusAccepted || len(p.Builds) == 0 || !strings.Contains(a.text, "refs/heads/stable") {
		t.Errorf("%d %s", a.status, a.text)
	}
	w.queued(p.ids()...)
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	_, first := d.submit(`{"project":"hello"}`, "Idempotency-Key", "k1")
	a, again := d.submit(`{"project":"hello"}`, "Idempotency-Key", "k1")
	_, other := d.submit(`{"project":"hello"}`, "Idempotency-Key", "k2")
	_, none := d.submit(`{"project":"hello"}`)
	if a.status != http.StatusOK || first.Duplicate || !again.Duplicate || !slices.Equal(first.ids(), again.ids()) {
		t.Errorf("%+v, then %+v", first, again)
	}
	w.queued(append(append(first.ids(), other.ids()...), none.ids()...)...)
}

// Requests share the configuration: none of them may change it.
func TestSubmitLeavesTheConfigurationAlone(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options()
	d := w.listen(o)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { d.submit(`{"project":"tags"}`) })
		wg.Go(func() { d.deliver("tags", payload("refs/tags/v1", zero, commit, fmt.Sprint(i))) })
	}
	wg.Wait()
	if want := []string{"opensuse-leap-15.6-x86_64", "fedora-42-x86_64"}; !slices.Equal(o.Projects[2].Targets, want) {
		t.Errorf("targets are now %v", o.Projects[2].Targets)
	}
}

// Without a token only a listener that this machine alone can reach takes submissions.
func TestSubmitWithoutAToken(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	for address, want := range map[string]int{"127.0.0.1:0": http.StatusAccepted, "0.0.0.0:0": http.StatusForbidden} {
		o := w.options()
		o.Token = ""
		d := w.listenOn(o, address, true)
		if a, _ := d.submit(`{"project":"hello"}`, "Authorization", ""); a.status != want {
			t.Errorf("on %s: %d %s", address, a.status, a.text)
		}
		d.stop()
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	for i := range 20 { // the id works the moment it is known
		_, p := d.deliver("hello", payload("refs/heads/main", zero, commit, fmt.Sprint(i)))
		a := d.get("/api/v1/builds/" + p.Builds[0].ID)
		var b rpmflow.Build
		a.into(&b)
		if a.status != http.StatusOK || b.ID != p.Builds[0].ID || b.State != rpmflow.Queued || b.Push != p.Push ||
			b.Commit != commit {
			t.Fatalf("%d %s", a.status, a.text)
		}
	}
	for id, want := range map[string]int{
		rpmflow.BuildID("x", "y", "z"): 404, "x": 400, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11": 400, "%2e%2e": 400,
		"*": 400,
	} {
		if a := d.get("/api/v1/builds/" + id); a.status != want {
			t.Errorf("%s: %d %s, want %d", id, a.status, a.text, want)
		}
		if a := d.get("/api/v1/builds/" + id + "/log"); a.status != want {
			t.Errorf("log of %s: %d %s, want %d", id, a.status, a.text, want)
		}
	}
}

// build adds a build to EVENTS, in the given state.
func (w *fixture) build(n int, state rpmflow.State, change func(*rpmflow.Build)) rpmflow.Build {
	w.t.Helper()
	push := rpmflow.PushID("hello", fmt.Sprint("seed", n))
	at := time.Date(2026, 1, 2, 3, 4, n, 0, time.UTC)
	b := rpmflow.Build{
		BuildRequest: rpmflow.BuildRequest{
			ID: rpmflow.BuildID(push, "hello", "fedora-42-x86_64"), Push: push, Project: "hello", Package: "hello",
			Target: "fedora-42-x86_64", Arch: "x86_64",
			Repository: w.repo, Ref: "refs/heads/main", Commit: commit, Layout: rpmflow.LayoutAuto, TimeoutSeconds: 60,
			Concurrency: 1, QueuedAt: at,
		},
		State: rpmflow.Queued,
	}
	seq, err := w.ledger.Append(w.t.Context(), events.TypeQueued, b, 0)
	testkit.Must(w.t, err)
	if state == rpmflow.Queued {
		return b
	}
	b.State, b.Attempt, b.Builder, b.QueueSequence, b.StartedAt, b.Engine = rpmflow.Running, 1, "a", 1, &at, "mock"
	b.EnterPhase(rpmflow.PhaseClaim, at)
	seq, err = w.ledger.Append(w.t.Context(), events.TypeStarted, b, seq, "a")
	testkit.Must(w.t, err)
	if state == rpmflow.Finished {
		w.finish(b, seq, change)
	}
	return b
}

// finish adds the end of a build; it has failed unless change says otherwise.
func (w *fixture) finish(b rpmflow.Build, after uint64, change func(*rpmflow.Build)) {
	w.t.Helper()
	now := time.Now().UTC()
	b.LeavePhase(now)
	b.State, b.FinishedAt = rpmflow.Finished, &now
	b.Outcome = &rpmflow.Outcome{Result: rpmflow.Failed, Kind: rpmflow.FailureSource, Phase: rpmflow.PhaseClaim,
		Message: "x", Hint: "y"}
	if change != nil {
		change(&b)
	}
	_, err := w.ledger.Append(w.t.Context(), events.TypeFinished, b, after, "a")
	testkit.Must(w.t, err)
}

type page struct {
	Builds []rpmflow.Build
	Next   string
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	var ids []string
	for i := range 5 {
		ids = append(ids, w.build(i, []rpmflow.State{rpmflow.Queued, rpmflow.Running, rpmflow.Finished, rpmflow.Queued,
			rpmflow.Finished}[i], nil).ID)
	}
	slices.Reverse(ids) // newest first
	d := w.listen(w.options())
	list := func(query string) (p page) {
		t.Helper()
		a := d.get("/api/v1/builds?" + query)
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", query, a.status, a.text)
		}
		a.into(&p)
		return p
	}
	of := func(p page) (got []string) {
		for _, b := range p.Builds {
			got = append(got, b.ID)
		}
		return got
	}
	for query, want := range map[string][]string{
		"": ids, "project=hello": ids, "project=bare": nil, "state=finished": {ids[0], ids[2]},
		"state=running":         {ids[3]},
		"kind=source":           {ids[0], ids[2]},
		"result=failed&limit=1": {ids[0]}, "result=succeeded": nil, "target=fedora-42-x86_64": ids,
		"ref=refs/heads/main": ids, "commit=" + commit: ids, "commit=x": nil,
		"push=" + rpmflow.PushID("hello", "seed0"): {ids[4]}, "ref=" + url.QueryEscape("' OR 1 --"): nil,
	} {
		if got := of(list(query)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	if a := d.get("/api/v1/builds?project=bare"); !strings.Contains(a.text, `"builds": []`) {
		t.Errorf("no builds are %s", a.text)
	}
	var paged []string
	pages, cursor := 0, ""
	for {
		p := list("limit=2&cursor=" + url.QueryEscape(cursor))
		paged = append(paged, of(p)...)
		pages++
		if cursor = p.Next; cursor == "" {
			break
		}
		if pages == 1 { // what comes meanwhile does not shift the pages
			w.build(50, rpmflow.Queued, nil)
			testkit.Eventually(w.t, "the newest in the list", func() bool { return len(list("").Builds) == 6 })
		}
	}
	if !slices.Equal(paged, ids) || pages != 3 {
		t.Errorf("%d pages of %v, want %v", pages, paged, ids)
	}
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "cursor=x", "cursor=eA", "page=2",
		"Project=hello"} {
		if a := d.get("/api/v1/builds?" + query); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, a.status, a.text)
		}
	}
}

// A listener is ready when its list of builds has caught up with the events.
func TestReady(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options()
	w.listen(o).stop() // makes the database
	w.build(1, rpmflow.Queued, nil)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(o.DataDir, "listener", "builds.db"))
	testkit.Must(w.t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.Exec("BEGIN EXCLUSIVE") // nothing can be written
	testkit.Must(w.t, err)
	d := w.listenOn(o, "127.0.0.1:0", false)
	if a := d.get("/readyz"); a.status != http.StatusServiceUnavailable || !strings.Contains(a.text, "not caught up") {
		t.Errorf("%d %s", a.status, a.text)
	}
	_, err = db.Exec("ROLLBACK")
	testkit.Must(w.t, err)
	testkit.Eventually(w.t, "readiness", func() bool { return d.get("/readyz").status == http.StatusOK })
}
