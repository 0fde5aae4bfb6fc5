package assembly

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
)

// waitingRoom answers on the listener's socket while the listener waits for NATS: it lives, it is not ready, and why. Otherwise
// whoever asks would be kept waiting too, a container's health check and a forge among them. It opens with the first reason:
// at a start where nothing is missing requests just wait for the few milliseconds that it takes.
type waitingRoom struct {
	socket net.Listener
	log    *slog.Logger

	mu     sync.Mutex
	reason error
	server *http.Server // nil: not open
	done   chan struct{}
}

// say takes the reason in.
func (w *waitingRoom) say(reason error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reason = reason
	socket, ok := w.socket.(*net.TCPListener)
	if w.server != nil || !ok {
		return
	}
	w.server = &http.Server{
		Handler: http.HandlerFunc(w.answer), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(w.log.Handler(), slog.LevelDebug),
	}
	w.done = make(chan struct{})
	go func() { // ends with the server, for which close waits
		defer close(w.done)
		if err := w.server.Serve(lent{socket}); !errors.Is(err, http.ErrServerClosed) {
			w.log.Warn("requests are not answered while the listener waits", "error", err)
		}
	}()
}

func (w *waitingRoom) answer(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	what, do := rpmflow.Advice(w.reason)
	w.mu.Unlock()
	status, body := http.StatusServiceUnavailable, map[string]string{"error": "the listener waits: " + what, "hint": do}
	switch {
	case r.URL.Path == "/healthz":
		status, body = http.StatusOK, map[string]string{"status": "alive"}
	case r.URL.Path != "/readyz": // what is needed is nobody's business who only wants to push
		body = map[string]string{"error": "the listener is not ready", "hint": "nothing was accepted: send the same again in a moment; GET /readyz says why"}
	case do == "":
		body["hint"] = "the listener's log says more"
	}
	out.Header().Set("Content-Type", "application/json; charset=utf-8")
	out.Header().Set("X-Content-Type-Options", "nosniff")
	if status != http.StatusOK {
		out.Header().Set("Retry-After", "5")
	}
	out.WriteHeader(status)
	_ = json.NewEncoder(out).Encode(body) // the client is gone: nobody to tell
}

// close gives the socket back, as open as it was.
func (w *waitingRoom) close() error {
	w.mu.Lock()
	server := w.server
	w.mu.Unlock()
	if server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close() // who reads too slowly asks again
	}
	<-w.done
	return w.socket.(*net.TCPListener).SetDeadline(time.Time{})
}

// lent is a socket that stays open for its owner.
type lent struct{ *net.TCPListener }

func (l lent) Close() error { return l.SetDeadline(time.Now()) }
