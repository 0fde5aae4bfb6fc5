package listenerd

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/httpd"
)

// waitingServer answers on the listener's socket while the listener waits for NATS: it is alive, it is not ready, and
// why. Without it a container's health check and a forge would wait for an answer, too. It opens with the first reason:
// when nothing is missing at the start, requests wait for a few milliseconds instead.
type waitingServer struct {
	socket net.Listener
	log    *slog.Logger

	mu     sync.Mutex
	reason error
	stop   context.CancelFunc // nil: not open
	done   chan struct{}
}

// setReason sets what the listener waits for.
func (w *waitingServer) setReason(reason error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reason = reason
	socket, ok := w.socket.(*net.TCPListener)
	if w.stop != nil || !ok {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop, w.done = cancel, make(chan struct{})
	go func() { // ends with the server, for which close waits
		defer close(w.done)
		if err := httpd.Serve(ctx, keptSocket{socket}, http.HandlerFunc(w.answer), httpd.StatusLimits(),
			w.log); err != nil {
			w.log.Warn("requests are not answered while the listener waits", "error", err)
		}
	}()
}

func (w *waitingServer) answer(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	what, do := hint.Split(w.reason)
	w.mu.Unlock()
	switch r.URL.Path {
	case "/healthz":
		httpd.WriteJSON(out, http.StatusOK, map[string]string{"status": "alive"})
	case "/readyz":
		httpd.Problemf(http.StatusServiceUnavailable, cmp.Or(do, "the listener's log says more"),
			"the listener waits: %s",
			what).Write(out)
	default: // what is missing is not shown to those who push
		httpd.Problemf(http.StatusServiceUnavailable,
			"nothing was accepted: send the same again in a moment; GET /readyz says why",
			"the listener is not ready").Write(out)
	}
}

// close ends the server and leaves the socket open.
func (w *waitingServer) close() error {
	w.mu.Lock()
	stop := w.stop
	w.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	<-w.done
	return w.socket.(*net.TCPListener).SetDeadline(time.Time{})
}

// keptSocket is a socket that stays open for its owner.
type keptSocket struct{ *net.TCPListener }

func (l keptSocket) Close() error { return l.SetDeadline(time.Now()) }
