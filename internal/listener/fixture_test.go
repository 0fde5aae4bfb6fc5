package listener_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow"
	eventschema "github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/listener"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) {
	storagetest.Main()
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

const (
	patience = 30 * time.Second // bounds every wait
	secret   = "a secret of the project"
	token    = "a token of the users"
	commit   = "2222222222222222222222222222222222222222"
	zero     = "0000000000000000000000000000000000000000"
)

// fixture has what listeners need: NATS, a git repository, and S3 if it is started.
type fixture struct {
	t       *testing.T
	natsDir string
	nats    *natsserver.Server
	url     string
	nc      *nats.Conn
	js      jetstream.JetStream
	ledger  *events.Ledger
	store   *storage.Store
	repo    string
	head    string // the commit of its branch main
	client  *http.Client
	api     *contract

	validated bool
}

func newFixture(t *testing.T, streams events.StreamSettings) *fixture {
	t.Helper()
	w := &fixture{t: t, natsDir: t.TempDir(), api: newContract(t)}
	w.startNATS("127.0.0.1:0")
	w.url = w.nats.URL()
	w.nc, w.js = eventstest.Connect(t, w.nats, streams)
	t.Cleanup(w.validate)
	w.ledger = testkit.Value(events.NewLedger(t.Context(), w.js))(t)
	w.openStore(storage.Config{Endpoint: "http://127.0.0.1:1", Bucket: "rpmflow", AccessKey: "nobody",
		SecretKey: "listens there"})
	w.repo = filepath.Join(t.TempDir(), "hello")
	w.git("init", "--quiet", "--initial-branch=main", w.repo)
	w.git("-C", w.repo, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "x")
	w.head = w.git("-C", w.repo, "rev-parse", "HEAD")
	transport := &http.Transport{ExpectContinueTimeout: patience, DisableCompression: true}
	w.client = &http.Client{Transport: transport, Timeout: 2 * patience}
	t.Cleanup(transport.CloseIdleConnections)
	return w
}

func (w *fixture) openStore(cfg storage.Config) {
	w.t.Helper()
	var err error
	w.store, err = storage.Open(cfg)
	testkit.Must(w.t, err)
	w.t.Cleanup(w.store.Close)
}

// startS3 starts the storage, for tests that need one; before any listener.
func (w *fixture) startS3() { w.t.Helper(); w.openStore(storagetest.Start(w.t)) }

func (w *fixture) startNATS(listen string) {
	w.t.Helper()
	w.nats = eventstest.Start(w.t, natsserver.Options{Dir: w.natsDir, Listen: listen})
	if w.nc != nil { // again: before this server ends
		w.t.Cleanup(w.validate)
	}
}

func (w *fixture) git(args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// messages reads a stream from its beginning.
func (w *fixture) messages(stream string) (all []*jetstream.RawStreamMsg) {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context()) // also when the test is over
	s, err := w.js.Stream(ctx, stream)
	testkit.Must(w.t, err)
	for seq := s.CachedInfo().State.FirstSeq; seq <= s.CachedInfo().State.LastSeq; seq++ {
		if msg, err := s.GetMsg(ctx, seq); err == nil {
			all = append(all, msg)
		}
	}
	return all
}

// validate checks everything that was published against its schema, while there is a server that has it.
func (w *fixture) validate() {
	again := w.validated
	w.validated = true
	if again || !w.nc.IsConnected() {
		return
	}
	for _, stream := range []string{events.StreamPushes, events.StreamEvents} {
		for _, msg := range w.messages(stream) {
			if err := eventschema.Validate(msg.Data); err != nil {
				w.t.Errorf("%s: %v", msg.Subject, err)
			}
		}
	}
}

// queued waits until the builds, and no others, are in EVENTS and in the queue, each once.
func (w *fixture) queued(ids ...string) {
	w.t.Helper()
	testkit.Eventually(w.t, fmt.Sprintf("builds %v in the queue", ids),
		func() bool { return len(w.messages(events.StreamBuilds)) >= len(ids) })
	inEvents, inQueue := map[string]int{}, map[string]int{}
	for _, msg := range w.messages(events.StreamEvents) {
		ev, err := events.Parse(msg.Data)
		testkit.Must(w.t, err)
		inEvents[ev.Build.ID]++
	}
	for _, msg := range w.messages(events.StreamBuilds) {
		var b rpmflow.Build
		testkit.Must(w.t, json.Unmarshal(msg.Data, &b))
		inQueue[b.ID]++
	}
	for _, id := range ids {
		if inEvents[id] != 1 || inQueue[id] != 1 {
			w.t.Errorf("build %s: %d events and %d messages, want one each", id, inEvents[id], inQueue[id])
		}
	}
	if len(inEvents) != len(ids) || len(inQueue) != len(ids) {
		w.t.Errorf("events of %d builds and messages of %d, want %d", len(inEvents), len(inQueue), len(ids))
	}
}

// options of a listener for three projects: hello builds main and release-*; bare has nothing set; tags builds tags.
func (w *fixture) options() listener.Options {
	project := rpmflow.Project{
		Name: "hello", URL: w.repo, Branches: []string{"main", "release-*"}, Layout: rpmflow.LayoutAuto,
		Targets: []string{"fedora-42-x86_64"},
		Secret:  secret, Timeout: time.Hour, Concurrency: 4,
	}
	bare, tags := project, project
	bare.Name, bare.Secret, bare.Targets = "bare", "", nil
	tags.Name, tags.Branches, tags.Tags, tags.Targets = "tags", nil, []string{"v*"},
		[]string{"opensuse-leap-15.6-x86_64", "fedora-42-x86_64"}
	return listener.Options{
		PublicURL: "https://rpmflow.test", Token: token, MaxBody: 25 << 20, RequestTimeout: 10 * time.Second,
		DataDir:  w.t.TempDir(),
		Projects: []rpmflow.Project{project, bare, tags},
		Targets: []rpmflow.Target{{Name: "fedora-42-x86_64", Arch: "x86_64"},
			{Name: "opensuse-leap-15.6-x86_64", Arch: "x86_64"}},
		Version: "test", Logger: quiet, MaxUpload: 8 << 20,
	}
}

// testListener is a running listener.
type testListener struct {
	*fixture
	base string
	stop func() // tells it to stop, and waits for its end
}

func (w *fixture) listen(o listener.Options) *testListener {
	w.t.Helper()
	return w.listenOn(o, "127.0.0.1:0", true)
}

func (w *fixture) listenOn(o listener.Options, address string, ready bool) *testListener {
	w.t.Helper()
	socket, err := net.Listen("tcp", address)
	testkit.Must(w.t, err)
	nc, js, err := events.Dial(events.Access{URL: w.url, Name: "listener"}, quiet)
	testkit.Must(w.t, err)
	l, err := listener.New(w.t.Context(), o, socket, nc, js, w.store, git.Resolver(nil))
	testkit.Must(w.t, err)
	_, port, err := net.SplitHostPort(socket.Addr().String())
	testkit.Must(w.t, err)
	d := &testListener{fixture: w, base: "http://127.0.0.1:" + port}
	d.stop = testkit.Run(w.t, "the listener", func(ctx context.Context) error { defer nc.Close(); return l.Run(ctx) })
	if ready {
		testkit.Eventually(w.t, "readiness", func() bool { return d.get("/readyz").status == http.StatusOK })
	}
	return d
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	text   string
	t      *testing.T
}

// into decodes the answer.
func (a answer) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.text), v); err != nil {
		a.t.Fatalf("%d: %q: %v", a.status, a.text, err)
	}
}

func (d *testListener) get(path string, header ...string) answer {
	d.t.Helper()
	return d.do(http.MethodGet, path, nil, header...)
}

// do sends a request with headers in pairs. Of every refusal it checks that it says what is wrong and what to do.
func (d *testListener) do(method, path string, body io.Reader, header ...string) answer {
	d.t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(d.t.Context()), method, d.base+path, body)
	testkit.Must(d.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	req.Host = req.Header.Get("Host")
	res, err := d.client.Do(req)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatalf("%s %s: %v after %q", method, path, err, text)
	}
	a := answer{res.StatusCode, res.Header, string(text), d.t}
	if err := d.api.check(method, path, a.status, a.header.Get("Content-Type"), a.text); err != nil {
		d.t.Errorf("%s %s: %v", method, path, err)
	}
	if a.status >= 400 && method != http.MethodHead {
		var p struct{ Error, Hint string }
		a.into(&p)
		if p.Error == "" || p.Hint == "" || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
			d.t.Errorf("%s %s: %d without error or hint: %s", method, path, a.status, text)
		}
		if a.header.Get("Cache-Control") != "" {
			d.t.Errorf("%s %s: a refusal may be cached: %s", method, path, a.header.Get("Cache-Control"))
		}
	}
	return a
}

// pushed is the answer to a push.
type pushed struct {
	Push      string
	Duplicate bool
	Reason    string
	NotBuilt  []string `json:"not_built"`
	Builds    []struct{ ID, Target, URL string }
}

func (p pushed) ids() (all []string) {
	for _, b := range p.Builds {
		all = append(all, b.ID)
	}
	return all
}

// payload is a push in rpmflow's own form.
func payload(ref, before, after, delivery string) []byte {
	raw, err := json.Marshal(map[string]string{"ref": ref, "before": before, "after": after, "delivery": delivery,
		"pusher": "ann"})
	if err != nil {
		panic(err)
	}
	return raw
}

// deliver sends a signed push to a project.
func (d *testListener) deliver(project string, body []byte) (answer, pushed) {
	d.t.Helper()
	a := d.do(http.MethodPost, "/hooks/generic/"+project, bytes.NewReader(body), "Content-Type", "application/json",
		"X-Rpmflow-Signature-256", forge.Sign(secret, body))
	var p pushed
	if a.status < 400 {
		a.into(&p)
	}
	return a, p
}

// submit asks for a build.
func (d *testListener) submit(body string, header ...string) (answer, pushed) {
	d.t.Helper()
	a := d.do(http.MethodPost, "/api/v1/builds", strings.NewReader(body), append([]string{"Content-Type",
		"application/json", "Authorization", "Bearer " + token}, header...)...)
	var p pushed
	if a.status < 400 {
		a.into(&p)
	}
	return a, p
}
