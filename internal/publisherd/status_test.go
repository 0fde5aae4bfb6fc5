package publisherd

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestStatus asks a publisher that waits for NATS.
func TestStatus(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	s, quiet := newStatus(), slog.New(slog.DiscardHandler)
	stop, err := s.listen(address, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, err := s.listen(address, quiet); err == nil || !strings.Contains(err.Error(), "set publisher.status_listen") {
		t.Errorf("a second one on that address: %v", err)
	}
	s.waiting(errors.New("NATS does not answer"))
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/healthz": {http.StatusOK, "alive"}, "/readyz": {http.StatusServiceUnavailable, "NATS does not answer"},
		"/metrics": {http.StatusOK, "process_"},
	} {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(res.Body)
		if err != nil || res.Body.Close() != nil || res.StatusCode != want.code ||
			!strings.Contains(string(raw), want.text) {
			t.Errorf("%s: %d %v %s", path, res.StatusCode, err, raw)
		}
	}
}
