package listenerd

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow/internal/hint"
)

// waitingServer answers on the listener's socket while the listener waits for NATS: it is alive, it is not ready, and
// why. Without it a container's health check and a forge would wait for an answer, too. It opens with the first reason:
// when nothing is missing at the start, requests wait for a few milliseconds instead.
type waitingServer struct {
	socket net.Listener
	log    *slog.Logger

	mu     sync.Mutex
	reason error
	server *http.Server // nil: not open
	done   chan struct{}
}

// setReason sets what the listener waits for.
func (w *waitingServer) setReason(reason error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reason = reason
	socket, ok := w.socket.(*net.TCPListener)
	if w.server != nil || !ok {
		return
	}
	w.server = &http.Server{
		Handler:           http.HandlerFunc(w.answer),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(w.log.Handler(), slog.LevelDebug),
	}
	w.done = make(chan struct{})
	go func() { // ends with the server, for which close waits
		defer close(w.done)
		if err := w.server.Serve(borrowed{socket}); !errors.Is(err, http.ErrServerClosed) {
			w.log.Warn("requests are not answered while the listener waits", "error", err)
		}
	}()
}

func (w *waitingServer) answer(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	what, do := hint.Split(w.reason)
	w.mu.Unlock()
	status, body := http.StatusServiceUnavailable, map[string]string{"error": "the listener waits: " + what, "hint": do}
	switch {
	case r.URL.Path == "/healthz":
		status, body = http.StatusOK, map[string]string{"status": "alive"}
	case r.URL.Path != "/readyz": // what is missing is not shown to those who push
		body = map[string]string{
			"error": "the listener is not ready",
			"hint":  "nothing was accepted: send the same again in a moment; GET /readyz says why",
		}
	case do == "":
		body["hint"] = "the listener's log says more"
	}
	out.Header().Set("Content-Type", "application/json; charset=utf-8")
	out.Header().Set("X-Content-Type-Options", "nosniff")
	if status != http.StatusOK {
		out.Header().Set("Retry-After", "5")
	}
	out.WriteHeader(status)
	_ = json.NewEncoder(out).Encode(body) // the client is gone
}

// close ends the server and leaves the socket open.
func (w *waitingServer) close() error {
	w.mu.Lock()
	server := w.server
	w.mu.Unlock()
	if server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close() // slow clients ask again
	}
	<-w.done
	return w.socket.(*net.TCPListener).SetDeadline(time.Time{})
}

// borrowed is a socket that stays open for its owner.
type borrowed struct{ *net.TCPListener }

func (l borrowed) Close() error { return l.SetDeadline(time.Now()) }
