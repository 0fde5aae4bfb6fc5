package listener

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
)

// problem is the one shape of every error: what went wrong, and what to do about it.
type problem struct {
	Error  string `json:"error"`
	Hint   string `json:"hint"`
	status int
}

func problemf(status int, hint, format string, args ...any) *problem {
	return &problem{Error: fmt.Sprintf(format, args...), Hint: hint, status: status}
}

// handle turns a function that returns what to say into a handler. What is logged of an internal error is not what is told.
func (l *Listener) handle(f func(*http.Request) (status int, body any, p *problem)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), l.o.RequestTimeout)
		defer cancel()
		status, body, p := f(r.WithContext(ctx))
		if p != nil {
			l.refuse(w, r, p)
			return
		}
		l.answer(w, status, body)
	}
}

func (l *Listener) refuse(w http.ResponseWriter, r *http.Request, p *problem) {
	level := slog.LevelInfo
	if r.URL.Path == "/readyz" { // who waits for readiness asks again and again: that is no refusal
		level = slog.LevelDebug
	}
	l.log.Log(r.Context(), level, "request refused", "method", r.Method, "path", r.URL.Path, "status", p.status, "error", p.Error, "remote", r.RemoteAddr)
	l.answer(w, p.status, p)
}

func (l *Listener) answer(w http.ResponseWriter, status int, body any) {
	raw, err := rpmflow.EncodeJSON(body, "  ")
	if err != nil {
		l.log.Error("answer cannot be encoded", "error", err)
		http.Error(w, `{"error":"internal error","hint":"see the listener's log"}`, http.StatusInternalServerError)
		return
	}
	// A client that never reads would hold the request for ever. What cannot set a deadline needs none: the server's own can.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(streamWait))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(raw, '\n')) // the client is gone: nobody to tell
}

// unavailable is the answer when what we need ourselves does not work.
func (l *Listener) unavailable(what string, err error) *problem {
	l.log.Error(what, "error", err)
	// A push whose acknowledgement was lost may be stored all the same.
	hint := "send the same again in a moment: what was accepted already is not built twice; the listener's log says more"
	if errors.Is(err, events.ErrFull) {
		hint = "nothing was accepted: " + events.ErrFull.Error()
	}
	return problemf(http.StatusServiceUnavailable, hint, "%s failed", what)
}
