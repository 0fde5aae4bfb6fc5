package listener_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hub"
	"github.com/rpmflow/rpmflow/internal/listener"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// live begins a live log as a builder does, and writes its first line.
func (w *fixture) live(b rpmflow.Build, first string) *events.LogWriter {
	w.t.Helper()
	logs, err := events.NewLogs(w.nc, quiet)
	testkit.Must(w.t, err)
	log := logs.Writer(b.ID)
	fmt.Fprint(log, first)
	return log
}

func (w *fixture) closeLog(log *events.LogWriter, end bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log.Close(ctx, end)
}

// follow opens a stream; its headers must be there at once.
func (d *testListener) follow(b rpmflow.Build) (*http.Response, *bufio.Reader) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet,
		d.base+"/api/v1/builds/"+b.ID+"/log?follow=true",
		nil)
	testkit.Must(d.t, err)
	res, err := d.client.Do(req)
	testkit.Must(d.t, err)
	d.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		d.t.Fatalf("%s %v", res.Status, res.Header)
	}
	return res, bufio.NewReader(res.Body)
}

// A builder writes a log for each build over one connection: only the first one costs a subscription.
func TestLogWritersLeaveNothing(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	logs, err := events.NewLogs(w.nc, quiet)
	testkit.Must(w.t, err)
	var before int
	for i := range 4 {
		log := logs.Writer(fmt.Sprint("b", i))
		fmt.Fprint(log, "one\n")
		w.closeLog(log, true)
		if i == 0 {
			before = w.nc.NumSubscriptions()
		}
	}
	if after := w.nc.NumSubscriptions(); after != before {
		t.Errorf("%d subscriptions, %d before", after, before)
	}
}

func TestLiveLog(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	b := w.build(1, rpmflow.Running, nil)
	if a := d.get("/api/v1/builds/" + b.ID + "/log"); a.status != http.StatusOK || a.text != "" {
		t.Errorf("before its first line: %d %q", a.status, a.text)
	}
	_, stream := d.follow(b) // nothing has been written yet
	log := w.live(b, "one\n")
	if line, err := stream.ReadString('\n'); err != nil || line != "one\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if a := d.get("/api/v1/builds/" + b.ID + "/log"); a.status != http.StatusOK || a.text != "one\n" {
		t.Errorf("until now: %d %q", a.status, a.text)
	}
	fmt.Fprint(log, "two\n")
	w.closeLog(log, true)
	if rest, err := io.ReadAll(stream); err != nil || string(rest) != "two\n" {
		t.Errorf("the rest: %q, %v", rest, err)
	}
	if a := d.get("/api/v1/builds/" + b.ID + "/log?follow=maybe"); a.status != http.StatusBadRequest {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// The end of the live log was lost with the connection; the build's own end is in EVENTS.
func TestLiveLogWithoutAnEnd(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	b := w.build(1, rpmflow.Running, nil)
	_, stream := d.follow(b)
	w.closeLog(w.live(b, "one\n"), false)
	last, err := w.ledger.LastOf(t.Context(), b.ID)
	testkit.Must(w.t, err)
	w.finish(b, last.Sequence, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if text, err := io.ReadAll(stream); err != nil || string(text) != "one\n" {
			t.Errorf("%q, %v", text, err)
		}
	}()
	testkit.Receive(t, "the stream's end", done)
}

// A listener that stops breaks a stream off, so that it is not taken for the whole log.
func TestStopEndsStreams(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	b := w.build(1, rpmflow.Running, nil)
	log := w.live(b, "one\n")
	_, stream := d.follow(b)
	if line, err := stream.ReadString('\n'); err != nil || line != "one\n" {
		t.Fatalf("%q, %v", line, err)
	}
	begun := time.Now()
	d.stop()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if rest, err := io.ReadAll(stream); err == nil {
		t.Errorf("ended like a whole log: %q", rest)
	}
	w.closeLog(log, true)
}

func TestStoredLog(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.startS3()
	d := w.listen(w.options())
	text := strings.Repeat("all of it\n", 100_000)
	b := w.finishedBuild(1, text)
	path := "/api/v1/builds/" + b.ID + "/log"
	for _, query := range []string{"", "?follow=true"} {
		if a := d.get(path + query); a.status != http.StatusOK || a.text != text ||
			a.header.Get("Content-Encoding") != "" ||
			a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("unpacked: %d %v, %d bytes", a.status, a.header, len(a.text))
		}
	}
	a := d.get(path, "Accept-Encoding", "br, gzip")
	if a.status != http.StatusOK || a.header.Get("Content-Encoding") != "gzip" ||
		a.header.Get("Vary") != "Accept-Encoding" || a.header.Get("Content-Length") != fmt.Sprint(len(a.text)) {
		t.Fatalf("packed: %d %v", a.status, a.header)
	}
	z, err := gzip.NewReader(strings.NewReader(a.text))
	testkit.Must(w.t, err)
	if plain, err := io.ReadAll(z); err != nil || string(plain) != text {
		t.Errorf("%d bytes, %v", len(plain), err)
	}
	if a := d.get("/api/v1/builds/" + w.build(2, rpmflow.Finished, nil).ID + "/log"); a.status != http.StatusNotFound ||
		!strings.Contains(a.text, "ended without a log") {
		t.Errorf("no log: %d %s", a.status, a.text)
	}
	w.finishedBuild(3, "")
}

var errAway = errors.New("NATS is away")

// A follower has missed the build's end, and the record that has it cannot be read at first.
func TestAMissedEndIsReadFromTheRecord(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		failures int
		want     error
	}{
		"at once": {0, nil}, "at the third try": {2, nil}, "never": {1 << 20, errAway},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				end := events.Event{Sequence: 1}
				end.Build.ID, end.Build.State = "a", rpmflow.Finished
				h := hub.New(func(_ context.Context, _ uint64, _ func(), handle func(events.Event) error) error {
					return errors.Join(handle(end), handle(events.Event{Sequence: 2}),
						handle(events.Event{Sequence: 3}))
				}, 0, 1, 1<<20)
				changes := h.Now()
				testkit.Must(t, h.Run(t.Context()))
				lastOf := func(context.Context, string) (events.Event, error) {
					if test.failures--; test.failures >= 0 {
						return events.Event{}, errAway
					}
					return end, nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if err := listener.UntilFinished(ctx, h, changes, lastOf, "a"); !errors.Is(err, test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
			})
		})
	}
}
