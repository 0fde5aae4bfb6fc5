package builder_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/builder"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// statusOf asks a builder that serves its status.
type statusOf string

func served(t *testing.T, s *builder.Status) statusOf {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	address := l.Addr().String()
	l.Close()
	stop, err := s.Listen(address, quiet)
	testkit.Must(t, err)
	t.Cleanup(stop)
	if _, err := s.Listen(address, quiet); err == nil || !strings.Contains(err.Error(), "set builder.status_listen") {
		t.Errorf("a second one on that address: %v", err)
	}
	return statusOf("http://" + address)
}

// get returns the status code, and what was said: the state, or the reason and the hint.
func (s statusOf) get(t *testing.T, path string) (code int, said string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(string(s) + path)
	testkit.Must(t, err)
	defer res.Body.Close()
	var body struct{ Status, Error, Hint string }
	testkit.Must(t, json.NewDecoder(res.Body).Decode(&body))
	if res.StatusCode == http.StatusServiceUnavailable && (body.Error == "" || body.Hint == "" ||
		res.Header.Get("Retry-After") == "") {
		t.Errorf("%s: no reason or no hint: %+v", path, body)
	}
	return res.StatusCode, body.Status + body.Error + " | " + body.Hint
}

func TestStatusBeforeTheStart(t *testing.T) {
	t.Parallel()
	s := builder.NewStatus()
	at := served(t, s)
	if code, said := at.get(t, "/healthz"); code != http.StatusOK || !strings.HasPrefix(said, "alive") {
		t.Errorf("%d %s", code, said)
	}
	if code, said := at.get(t, "/readyz"); code != http.StatusServiceUnavailable ||
		!strings.Contains(said, "starting") {
		t.Errorf("%d %s", code, said)
	}
	s.Waiting(hint.Add(errors.New("connect to NATS: refused"), "start it"))
	if code, said := at.get(t, "/readyz"); code != http.StatusServiceUnavailable ||
		said != "connect to NATS: refused | start it" {
		t.Errorf("%d %s", code, said)
	}
}

// metrics returns the samples, without comments.
func (s statusOf) metrics(t *testing.T) map[string]string {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(string(s) + "/metrics")
	testkit.Must(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v: %s", res.StatusCode, err, text)
	}
	samples := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if i := strings.LastIndex(line, " "); i > 0 && !strings.HasPrefix(line, "#") {
			samples[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return samples
}

func (s statusOf) want(t *testing.T, want map[string]string) {
	t.Helper()
	got := s.metrics(t)
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %s", name, got[name], value)
		}
	}
}

// Metrics tell what readyz tells, what is free, and what is measured where a measure fails.
func TestMetricsOfFloors(t *testing.T) {
	t.Parallel()
	s := builder.NewStatus()
	at := served(t, s)
	at.want(t, map[string]string{`rpmflow_builder_taking`: "0", `rpmflow_builder_not_taking{reason="starting"}`: "1",
		`rpmflow_builder_not_taking{reason="disk"}`: "0"})
	var broken error
	s.Levels(func(context.Context) ([]builder.Level, error) {
		return []builder.Level{{Reason: builder.ReasonDisk, Where: "/data", Free: 5, Floor: 10},
			{Reason: builder.ReasonMemory, Free: 20, Floor: 10}}, broken
	})
	s.Waiting(fmt.Errorf("wrapped: %w", builder.Because(builder.ReasonDisk, errors.New("the disk is full"))))
	floors := map[string]string{
		`rpmflow_builder_taking`: "0", `rpmflow_builder_not_taking{reason="starting"}`: "0",
		`rpmflow_builder_not_taking{reason="disk"}`:              "1",
		`rpmflow_builder_free_bytes{what="disk",where="/data"}`:  "5",
		`rpmflow_builder_floor_bytes{what="disk",where="/data"}`: "10",
		`rpmflow_builder_free_bytes{what="memory",where=""}`:     "20",
		`rpmflow_builder_floor_bytes{what="memory",where=""}`:    "10",
	}
	at.want(t, floors)
	broken = errors.New("no such disk")
	at.want(t, floors)
	s.Waiting(nil)
	at.want(t, map[string]string{`rpmflow_builder_taking`: "1", `rpmflow_builder_not_taking{reason="disk"}`: "0"})
	if err := builder.Because(builder.ReasonDisk, nil); err != nil {
		t.Errorf("no reason became %v", err)
	}
}

// A builder is ready when it could take a build, says why when it could not, and that it drains.
func TestStatus(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	var mu sync.Mutex
	full := builder.Because(builder.ReasonMemory, errors.New("the disk is full"))
	o := w.options("a")
	o.Status = builder.NewStatus()
	o.Room = func() error {
		mu.Lock()
		defer mu.Unlock()
		return full
	}
	at := served(t, o.Status)
	g := newGate(enginetest.RPMs)
	p := w.run(o, "", g.step)
	says := func(path string, code int, what string) func() bool {
		return func() bool { c, said := at.get(t, path); return c == code && strings.Contains(said, what) }
	}
	testkit.Eventually(w.t, "the reason", says("/readyz", http.StatusServiceUnavailable, "the disk is full"))
	at.want(t, map[string]string{`rpmflow_builder_taking`: "0", `rpmflow_builder_not_taking{reason="memory"}`: "1",
		`rpmflow_builder_builds_in_hand`: "0"})
	mu.Lock()
	full = nil
	mu.Unlock()
	testkit.Eventually(w.t, "ready", says("/readyz", http.StatusOK, "ready"))

	w.enqueue("p1")
	w.entered(g)
	testkit.Eventually(w.t, "ready while it builds", says("/readyz", http.StatusOK, "ready"))
	at.want(t, map[string]string{`rpmflow_builder_taking`: "1", `rpmflow_builder_builds_in_hand`: "1"})
	w.nats.Close()
	testkit.Eventually(w.t, "no NATS", says("/readyz", http.StatusServiceUnavailable, "NATS is not connected"))
	w.startNATS(strings.TrimPrefix(w.url, "nats://"))
	testkit.Eventually(w.t, "NATS again", says("/readyz", http.StatusOK, "ready"))
	p.soft()
	testkit.Eventually(w.t, "draining", says("/readyz", http.StatusServiceUnavailable, "shutting down"))
	testkit.Eventually(w.t, "alive", says("/healthz", http.StatusOK, "alive"))
	close(g.open)
	testkit.Eventually(w.t, "the finished build", func() bool {
		m := at.metrics(t)
		return m[`rpmflow_builder_builds_finished_total{kind="",result="succeeded"}`] == "1" &&
			m[`rpmflow_builder_phase_duration_seconds_count{phase="rpms"}`] == "1"
	})
	p.ended()
}

// A main loop that does not move within its bound is reported.
func TestHanging(t *testing.T) {
	t.Parallel()
	s := builder.NewStatus()
	builder.Moved(s, time.Now().Add(-time.Hour), 59*time.Minute)
	at := served(t, s)
	if code, said := at.get(t, "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(said, "hangs") ||
		!strings.Contains(said, "SIGQUIT") {
		t.Errorf("%d %s", code, said)
	}
	builder.Moved(s, time.Now(), time.Hour)
	if code, said := at.get(t, "/healthz"); code != http.StatusOK {
		t.Errorf("%d %s", code, said)
	}
}
