package listener_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// NATS is away: nothing is accepted, and a client that tries again when it is back is served, once.
func TestNATSIsAway(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options()
	o.RequestTimeout = time.Second
	d := w.listen(o)
	w.nats.Close()
	testkit.Eventually(w.t, "unreadiness",
		func() bool { return d.get("/readyz").status == http.StatusServiceUnavailable })
	body := payload("refs/heads/main", zero, commit, "d1")
	if a, _ := d.deliver("hello", body); a.status != http.StatusServiceUnavailable ||
		a.header.Get("Retry-After") == "" ||
		!strings.Contains(a.text, "send the same again") {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := d.get("/healthz"); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.text)
	}
	w.startNATS(strings.TrimPrefix(w.url, "nats://"))
	testkit.Eventually(w.t, "readiness", func() bool { return d.get("/readyz").status == http.StatusOK })
	a, p := d.deliver("hello", body)
	if a.status >= 300 || len(p.Builds) != 1 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if _, again := d.deliver("hello", body); !again.Duplicate || !slices.Equal(again.ids(), p.ids()) {
		t.Errorf("%+v", again)
	}
	testkit.Eventually(w.t, "the test's own connection", w.nc.IsConnected)
	w.queued(p.ids()...)
}

func TestFullStreams(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{MaxBytes: 64 << 10})
	d := w.listen(w.options())
	var a answer
	accepted := []string{}
	for i := 0; a.status != http.StatusServiceUnavailable; i++ {
		if i > 1000 {
			t.Fatal("it never gets full")
		}
		var p pushed
		a, p = d.deliver("hello", payload("refs/heads/main", zero, commit, fmt.Sprint(i, strings.Repeat("x", 5000))))
		accepted = append(accepted, p.ids()...)
	}
	if !strings.Contains(a.text, "raise nats.max_bytes") || a.header.Get("Retry-After") == "" {
		t.Errorf("%s", a.text)
	}
	testkit.Must(w.t, events.EnsureStreams(t.Context(), w.js, events.StreamSettings{}))
	_, p := d.deliver("hello", payload("refs/heads/main", zero, commit, "after"))
	w.queued(append(accepted, p.ids()...)...)
}

// A full EVENTS keeps no push from being taken: its builds are queued when there is room again.
func TestFullEvents(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	s, err := w.js.Stream(t.Context(), events.StreamEvents)
	testkit.Must(w.t, err)
	config := s.CachedInfo().Config
	config.MaxBytes = 1
	_, err = w.js.UpdateStream(t.Context(), config)
	testkit.Must(w.t, err)
	d := w.listen(w.options())
	a, p := d.deliver("hello", payload("refs/heads/main", zero, commit, "d1"))
	if a.status != http.StatusAccepted {
		t.Fatalf("%d %s", a.status, a.text)
	}
	testkit.Eventually(w.t, "a dispatch that failed", func() bool {
		cons, err := w.js.Consumer(t.Context(), events.StreamPushes, "dispatcher")
		return err == nil && cons.CachedInfo().Delivered.Consumer > 0
	})
	config.MaxBytes = -1
	_, err = w.js.UpdateStream(t.Context(), config)
	testkit.Must(w.t, err)
	w.queued(p.ids()...)
}

// A request in hand is answered when the listener is stopped.
func TestStopAnswersRequestsInHand(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	body := payload("refs/heads/main", zero, commit, "d1")
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.base, "http://"))
	testkit.Must(w.t, err)
	defer conn.Close()
	testkit.Must(w.t, conn.SetDeadline(time.Now().Add(patience)))
	fmt.Fprintf(conn, "POST /hooks/generic/hello HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"+
		"Content-Length: %d\r\nX-Rpmflow-Signature-256: %s\r\n\r\n", len(body), forge.Sign(secret, body))
	word := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, word); err != nil || !strings.Contains(string(word), "100") { // the handler reads
		t.Fatalf("%q, %v", word, err)
	}
	done := make(chan struct{})
	go func() { defer close(done); d.stop() }()
	testkit.Eventually(w.t, "a closed listener", func() bool {
		c, err := net.Dial("tcp", conn.RemoteAddr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	_, err = conn.Write(body)
	testkit.Must(w.t, err)
	text, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(text, []byte("HTTP/1.1 202 ")) {
		t.Errorf("%s, %v", text, err)
	}
	<-done
}

// Readiness is asked for again and again, so its refusals are not logged.
func TestReadinessIsNotARefusal(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	var log strings.Builder
	o := w.options()
	o.RequestTimeout = time.Second
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	d := w.listen(o)
	w.nats.Close()
	testkit.Eventually(w.t, "unreadiness",
		func() bool { return d.get("/readyz").status == http.StatusServiceUnavailable })
	d.get("/nothing")
	w.startNATS(strings.TrimPrefix(w.url, "nats://"))
	testkit.Eventually(w.t, "readiness", func() bool { return d.get("/readyz").status == http.StatusOK })
	d.stop()
	if text := log.String(); strings.Contains(text, "/readyz") || !strings.Contains(text, "request refused") {
		t.Errorf("%s", text)
	}
}
