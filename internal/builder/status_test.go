package builder_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/builder"
	"github.com/rpmflow/rpmflow/internal/events"
)

// statusOf asks a builder that serves its status.
type statusOf string

func served(t *testing.T, s *builder.Status) statusOf {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	stop, err := s.Listen(address, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if _, err := s.Listen(address, quiet); err == nil || !strings.Contains(err.Error(), "set builder.status_listen") {
		t.Errorf("a second one on that address: %v", err)
	}
	return statusOf("http://" + address)
}

// get gives the status code, and what was said: the state, or the reason and the hint.
func (s statusOf) get(t *testing.T, path string) (code int, said string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(string(s) + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body struct{ Status, Error, Hint string }
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode == http.StatusServiceUnavailable && (body.Error == "" || body.Hint == "" || res.Header.Get("Retry-After") == "") {
		t.Errorf("%s: no reason or no hint: %+v", path, body)
	}
	return res.StatusCode, body.Status + body.Error + " | " + body.Hint
}

func TestStatusBeforeTheStart(t *testing.T) {
	s := builder.NewStatus()
	at := served(t, s)
	if code, said := at.get(t, "/healthz"); code != http.StatusOK || !strings.HasPrefix(said, "alive") {
		t.Errorf("%d %s", code, said)
	}
	if code, said := at.get(t, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(said, "starting") {
		t.Errorf("%d %s", code, said)
	}
	s.Waiting(rpmflow.Advise(errors.New("connect to NATS: refused"), "start it"))
	if code, said := at.get(t, "/readyz"); code != http.StatusServiceUnavailable || said != "connect to NATS: refused | start it" {
		t.Errorf("%d %s", code, said)
	}
}

// A builder is ready when it could take a build, says why when it could not, and that it drains.
func TestStatus(t *testing.T) {
	w := newWorld(t, events.StreamSettings{})
	var mu sync.Mutex
	full := errors.New("the disk is full")
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
	w.eventually("the reason", says("/readyz", http.StatusServiceUnavailable, "the disk is full"))
	mu.Lock()
	full = nil
	mu.Unlock()
	w.eventually("ready", says("/readyz", http.StatusOK, "ready"))

	w.enqueue("p1")
	w.entered(g)
	w.eventually("ready while it builds", says("/readyz", http.StatusOK, "ready"))
	w.nats.Close()
	w.eventually("no NATS", says("/readyz", http.StatusServiceUnavailable, "NATS is not connected"))
	w.startNATS(strings.TrimPrefix(w.url, "nats://"))
	w.eventually("NATS again", says("/readyz", http.StatusOK, "ready"))
	p.soft()
	w.eventually("draining", says("/readyz", http.StatusServiceUnavailable, "shutting down"))
	w.eventually("alive", says("/healthz", http.StatusOK, "alive"))
	close(g.open)
	p.ended()
}

// A main loop that does not move within its bound is told.
func TestHanging(t *testing.T) {
	s := builder.NewStatus()
	builder.Moved(s, time.Now().Add(-time.Hour), 59*time.Minute)
	at := served(t, s)
	if code, said := at.get(t, "/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(said, "hangs") || !strings.Contains(said, "SIGQUIT") {
		t.Errorf("%d %s", code, said)
	}
	builder.Moved(s, time.Now(), time.Hour)
	if code, said := at.get(t, "/healthz"); code != http.StatusOK {
		t.Errorf("%d %s", code, said)
	}
}
