package listener_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestHooks(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	good := string(payload("refs/heads/main", zero, commit, "d-good"))
	github := func(ref, after string) string {
		return fmt.Sprintf(`{"ref":%q,"before":%q,"after":%q,"pusher":{"name":"ann"}}`, ref, zero, after)
	}
	var ids []string
	for _, test := range []struct {
		name, path, body string
		header           []string // in addition to the signature; "-": no signature
		status           int
		builds           int
		says             string // part of reason, error or hint
	}{
		{"a branch", "generic/hello", good, nil, 202, 1, ""},
		{"a branch of a pattern", "generic/hello", string(payload("refs/heads/release-1", "", commit, "")), nil, 202, 1,
			""},
		{"a tag of a project that builds tags", "generic/tags", string(payload("refs/tags/v1", "", commit, "d-tag")),
			nil,
			202, 2, ""},
		{"GitHub", "github/hello", github("refs/heads/main", commit), []string{"X-GitHub-Event", "push",
			"X-GitHub-Delivery",
			"guid-1"}, 202, 1, ""},
		{"Gitea", "gitea/hello", github("refs/heads/main", commit), []string{"X-Gitea-Event", "push",
			"X-Gitea-Delivery", "guid-3"}, 202, 1, ""},
		{"GitHub's ping", "github/hello", `{"zen":"x"}`, []string{"X-GitHub-Event", "ping", "X-GitHub-Delivery",
			"guid-2"},
			200, 0, `event "ping" is not a push: nothing to build`},
		{"GitHub without its event", "github/hello", github("refs/heads/main", commit), nil, 400, 0, "X-GitHub-Event"},
		{"a deleted branch", "generic/hello", string(payload("refs/heads/main", commit, zero, "d-del")), nil, 200, 0,
			"refs/heads/main was deleted: nothing to build"},
		{"another branch", "generic/hello", string(payload("refs/heads/other", zero, commit, "d-other")), nil, 200, 0,
			`project "hello" builds branches main, release-* only`},
		{"a tag", "generic/hello", string(payload("refs/tags/v1", zero, commit, "d-tag")), nil, 200, 0,
			"configured for no tags"},
		{"a note", "generic/hello", string(payload("refs/notes/x", zero, commit, "d-note")), nil, 200, 0,
			"neither a branch nor a tag"},
		{"no such project", "generic/nosuch", good, nil, 404, 0, `project "nosuch" is not configured`},
		{"a project without a secret", "generic/bare", good, nil, 403, 0, "no webhook secret"},
		{"no signature", "generic/hello", good, []string{"-"}, 401, 0, "X-Rpmflow-Signature-256"},
		{"a wrong signature", "generic/hello", good, []string{"-", "X-Rpmflow-Signature-256",
			forge.Sign("another secret", []byte(good))}, 401, 0, "does not match"},
		{"GitHub without a signature", "github/hello", good, []string{"-", "X-GitHub-Event", "push"}, 401, 0,
			"X-Hub-Signature-256"},
		{"not JSON", "generic/hello", "ref=main", nil, 400, 0, "not JSON"},
		{"empty", "generic/hello", "", nil, 400, 0, "not JSON"},
		{"a ref that is none", "generic/hello", string(payload("main", zero, commit, "x")), nil, 400, 0,
			"not a full ref name"},
		{"a short commit", "generic/hello", string(payload("refs/heads/main", zero, "2222", "x")), nil, 400, 0,
			"not a full commit id"},
		{"a forge of tomorrow", "gitlab/hello", good, nil, 404, 0, "GET / lists"},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := test.header
			if len(header) > 0 && header[0] == "-" {
				header = header[1:]
			} else {
				header = append(slices.Clone(header), "X-Rpmflow-Signature-256", forge.Sign(secret, []byte(test.body)),
					"X-Hub-Signature-256", forge.Sign(secret, []byte(test.body)))
			}
			a := d.do(http.MethodPost, "/hooks/"+test.path, strings.NewReader(test.body),
				append(header, "Content-Type", "application/json")...)
			if a.status != test.status || !strings.Contains(strings.ReplaceAll(a.text, `\"`, `"`), test.says) {
				t.Fatalf("%d %s, want %d that says %q", a.status, a.text, test.status, test.says)
			}
			if test.status >= 400 {
				return
			}
			var p pushed
			a.into(&p)
			if len(p.Builds) != test.builds || (p.Reason == "") != (test.builds > 0) || p.Duplicate {
				t.Errorf("%s", a.text)
			}
			for _, b := range p.Builds {
				if b.URL != "https://rpmflow.test/api/v1/builds/"+b.ID || b.Target == "" {
					t.Errorf("build %+v", b)
				}
			}
			ids = append(ids, p.ids()...)
		})
	}
	w.queued(ids...)
}

// counter counts what of a body was read.
type counter struct {
	io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// A client that sends too much gets to read why, whether it asks first, says how much it is, or does neither.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	const size = 30 << 20
	for name, test := range map[string]struct {
		header []string
		length int64
		most   int64 // bytes that the client may need to send
	}{
		"asks first":           {[]string{"Expect", "100-continue"}, size, 0},
		"says how much":        {nil, size, size},
		"does not say":         {nil, -1, size},
		"asks, in chunks":      {[]string{"Expect", "100-continue"}, -1, size},
		"asks before it sends": {[]string{"Expect", "100-continue", "Authorization", "Bearer " + token}, size, 0},
	} {
		t.Run(name, func(t *testing.T) {
			body := &counter{Reader: io.LimitReader(zeros{}, size)}
			path := "/hooks/generic/hello"
			if len(test.header) > 2 {
				path = "/api/v1/builds"
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.base+path, body)
			testkit.Must(w.t, err)
			req.ContentLength = test.length
			req.Header.Set("Content-Type", "application/json")
			for i := 0; i < len(test.header); i += 2 {
				req.Header.Set(test.header[i], test.header[i+1])
			}
			res, err := w.client.Do(req)
			testkit.Must(w.t, err)
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			testkit.Must(w.t, err)
			if res.StatusCode != http.StatusRequestEntityTooLarge || !bytes.Contains(text,
				[]byte(`"hint": "split the push, or raise listener.max_body"`)) {
				t.Errorf("%s %s", res.Status, text)
			}
			if sent := body.n.Load(); sent > test.most {
				t.Errorf("%d bytes were sent", sent)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// The first answer to a delivery stands: on any replica, with any configuration, after any restart.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	first := w.listen(w.options())
	body := payload("refs/heads/main", zero, commit, "d1")
	a, p := first.deliver("hello", body)
	if a.status != http.StatusAccepted || p.Duplicate || len(p.Builds) != 1 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	w.queued(p.ids()...)
	same := func(where string, d *testListener) {
		t.Helper()
		a, again := d.deliver("hello", body)
		if a.status != http.StatusOK || !again.Duplicate || again.Push != p.Push ||
			!slices.Equal(again.ids(), p.ids()) {
			t.Errorf("%s: %d %s", where, a.status, a.text)
		}
	}
	same("at once", first)

	changed := w.options()
	changed.Projects[0].Branches, changed.Projects[0].Targets = []string{"never"}, []string{"opensuse-leap-15.6-x86_64"}
	second := w.listen(changed)
	same("another replica with another configuration", second)
	first.stop()
	second.stop()
	third := w.listen(changed)
	same("after a restart", third)
	w.queued(p.ids()...)
	if n := len(w.messages(events.StreamPushes)); n != 1 {
		t.Errorf("%d pushes are stored", n)
	}
}

// A push that led to no builds is decided again when it is delivered again, by what is configured then; once it has
// builds they stand.
func TestPushWithoutBuildsIsDecidedAgain(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options()
	body := payload("refs/heads/dev", zero, commit, "same")
	d := w.listen(o)
	_, refused := d.deliver("hello", body)
	_, same := d.deliver("hello", body)
	if len(refused.Builds) > 0 || refused.Duplicate || !same.Duplicate || same.Reason != refused.Reason {
		t.Fatalf("%+v, %+v", refused, same)
	}
	if n := len(w.messages(events.StreamPushes)); n != 1 {
		t.Fatalf("the same decision is stored %d times", n)
	}
	d.stop()

	other := w.options()
	other.Projects[0].Branches = []string{"release-*"}
	d = w.listen(other)
	_, reason := d.deliver("hello", body)
	if reason.Push != refused.Push || reason.Duplicate || !strings.HasSuffix(reason.Reason,
		"builds branches release-* only") {
		t.Fatalf("a reason that is not true any more: %+v", reason)
	}
	d.stop()

	now := w.options()
	now.Projects[0].Branches = []string{"main", "dev"}
	var wg sync.WaitGroup
	answers := make([]pushed, 8)
	elsewhere := now
	elsewhere.DataDir = t.TempDir()
	replicas := []*testListener{w.listen(now), w.listen(elsewhere)}
	for i := range answers {
		wg.Go(func() { _, answers[i] = replicas[i%2].deliver("hello", body) })
	}
	wg.Wait()
	first := 0
	for _, a := range answers {
		if a.Push != refused.Push || len(a.Builds) != 1 || a.Builds[0].ID != answers[0].Builds[0].ID || a.Reason != "" {
			t.Errorf("%+v", a)
		}
		if !a.Duplicate {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d of the deliveries were the first", first)
	}
	w.queued(answers[0].ids()...)
	for _, r := range replicas {
		r.stop()
	}
	d = w.listen(o) // the branch is not built any more, and the push has its builds for ever
	if _, again := d.deliver("hello", body); !again.Duplicate || !slices.Equal(again.ids(), answers[0].ids()) {
		t.Errorf("%+v", again)
	}
	w.queued(answers[0].ids()...)
}

// JSON is for programs: < is not escaped as web pages need it, neither in answers nor in what is stored.
func TestJSONHasNoEscapesForWebPages(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options()
	o.Projects[0].Branches = []string{"**"}
	d := w.listen(o)
	a, p := d.deliver("hello", payload("refs/heads/a<b&c", zero, commit, "1"))
	if len(p.Builds) != 1 || !strings.Contains(a.text, `"refs/heads/a<b&c"`) {
		t.Errorf("%d %s", a.status, a.text)
	}
	w.queued(p.ids()...)
	for _, stream := range []string{events.StreamPushes, events.StreamBuilds, events.StreamEvents} {
		for _, msg := range w.messages(stream) {
			if !strings.Contains(string(msg.Data), `"refs/heads/a<b&c"`) {
				t.Errorf("%s: %s", stream, msg.Data)
			}
		}
	}
}

// A refused push was not stored: of a project that is not there yet, without a secret, with another one.
func TestRedeliveryAfterARefusal(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	body := payload("refs/heads/main", zero, commit, "same")
	o := w.options()
	o.Projects[0].Name, o.Projects[2].Secret = "later", "another"
	d := w.listen(o)
	for project, status := range map[string]int{"hello": http.StatusNotFound, "bare": http.StatusForbidden,
		"tags": http.StatusUnauthorized} {
		if a, _ := d.deliver(project, body); a.status != status {
			t.Errorf("%s: %d %s", project, a.status, a.text)
		}
	}
	d.stop()
	d = w.listen(w.options())
	a, p := d.deliver("hello", body)
	if a.status != http.StatusAccepted || p.Duplicate || len(p.Builds) != 1 {
		t.Errorf("%d %s", a.status, a.text)
	}
	w.queued(p.ids()...)
}

// A delivery without an id is known by its ref and commits.
func TestDeliveriesWithoutIDs(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	_, p := d.deliver("hello", payload("refs/heads/main", zero, commit, ""))
	_, again := d.deliver("hello", payload("refs/heads/main", zero, commit, ""))
	_, other := d.deliver("hello", payload("refs/heads/main", commit, strings.Repeat("3", 40), ""))
	if !again.Duplicate || again.Push != p.Push || other.Duplicate || other.Push == p.Push {
		t.Errorf("%+v, %+v, %+v", p, again, other)
	}
	w.queued(append(p.ids(), other.ids()...)...)
}

// changes is a delivery in rpmflow's own form that changes several refs.
func changes(delivery string, refs ...string) []byte {
	var list []map[string]string
	for _, ref := range refs {
		list = append(list, map[string]string{"ref": ref, "before": zero, "after": commit})
	}
	raw, err := json.Marshal(map[string]any{"delivery": delivery, "pusher": "ann", "changes": list})
	if err != nil {
		panic(err)
	}
	return raw
}

// A delivery that changes several refs is answered with all of its pushes, and each of them is stored once.
func TestDeliveryOfSeveralRefs(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	type answers struct {
		Project   string
		Duplicate bool
		Reason    string
		Builds    []struct{ ID string }
		Pushes    []struct {
			pushed
			Ref string
		}
	}
	deliver := func(body []byte) (answer, answers) {
		t.Helper()
		a, _ := d.deliver("hello", body)
		var all answers
		a.into(&all)
		return a, all
	}
	body := changes("d1", "refs/heads/main", "refs/heads/other", "refs/heads/release-1")
	a, all := deliver(body)
	if a.status != http.StatusAccepted || all.Project != "hello" || all.Duplicate || all.Reason != "" ||
		len(all.Builds) != 2 || len(all.Pushes) != 3 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	ids := map[string]bool{}
	for i, ref := range []string{"refs/heads/main", "refs/heads/other", "refs/heads/release-1"} {
		p := all.Pushes[i]
		ids[p.Push] = true
		if p.Ref != ref || p.Duplicate || (p.Reason == "") != (ref != "refs/heads/other") || len(p.Builds) > 1 ||
			(len(p.Builds) == 0) != (p.Reason != "") {
			t.Errorf("%s: %+v", ref, p)
		}
	}
	if len(ids) != 3 || all.Builds[0].ID != all.Pushes[0].Builds[0].ID ||
		all.Builds[1].ID != all.Pushes[2].Builds[0].ID {
		t.Errorf("%s", a.text)
	}
	w.queued(all.Builds[0].ID, all.Builds[1].ID)

	a, again := deliver(body)
	if a.status != http.StatusOK || !again.Duplicate || len(again.Builds) != 2 ||
		again.Pushes[1].Push != all.Pushes[1].Push {
		t.Errorf("sent twice: %d %s", a.status, a.text)
	}
	// One of its refs alone is the same push, in the answer of one push.
	a, one := d.deliver("hello", payload("refs/heads/main", zero, commit, "d1"))
	if a.status != http.StatusOK || !one.Duplicate || one.Push != all.Pushes[0].Push ||
		strings.Contains(a.text, `"pushes"`) {
		t.Errorf("one of them: %d %s", a.status, a.text)
	}
	// Another ref under the same id of a delivery is another push.
	_, other := d.deliver("hello", payload("refs/heads/release-2", zero, commit, "d1"))
	if other.Duplicate || len(other.Builds) != 1 {
		t.Errorf("another ref: %+v", other)
	}
	a, none := deliver(changes("d2", "refs/heads/x", "refs/heads/y", "refs/tags/v1"))
	if a.status != http.StatusOK || len(none.Builds) > 0 || strings.Count(none.Reason, "; ") != 2 {
		t.Errorf("none is built: %d %s", a.status, a.text)
	}
	w.queued(append(other.ids(), all.Builds[0].ID, all.Builds[1].ID)...)
}
