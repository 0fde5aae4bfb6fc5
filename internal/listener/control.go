package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/httpd"
)

// cancel ends a build: at once while it waits, else by telling the builder that has it. Who is answered with success can rely on it
// that the build ends as canceled.
func (l *Listener) cancel(_ http.ResponseWriter, r *http.Request) (int, any, *problem) {
	by, p := l.asker(r)
	if p != nil {
		return 0, nil, p
	}
	last, p := l.last(r.Context(), r.PathValue("id"))
	for p == nil {
		b := last.Build.Clone()
		switch {
		case b.State == rpmflow.Finished && b.Outcome.Kind == rpmflow.FailureCanceled:
			return http.StatusOK, b, nil // asked for twice
		case b.State == rpmflow.Finished:
			return 0, nil, problemf(http.StatusConflict, "there is nothing to stop any more; GET /api/v1/builds/{id} has its outcome", "build %s has %s already, at %s",
				b.ID, b.Outcome.Result, b.FinishedAt.Format(time.RFC3339))
		case b.Cancel != nil:
			l.stir(b)
			return http.StatusAccepted, b, nil
		}
		b.Cancel = &rpmflow.Cancel{By: by, At: time.Now().UTC()}
		status, kind := http.StatusAccepted, events.TypeCancelRequested
		if b.State == rpmflow.Queued { // its message is dropped by whoever takes it
			status, kind, b = http.StatusOK, events.TypeFinished, b.Canceled(time.Now())
		}
		_, err := l.ledger.Append(r.Context(), kind, b, last.Sequence, uuid.NewString())
		switch {
		case err == nil:
			l.log.Info("build canceled", "project", b.Project, "target", b.Target, "build", b.ID, "by", by, "state", last.Build.State)
			if kind == events.TypeFinished {
				l.say(r.Context(), b)
			} else {
				l.stir(b)
			}
			return status, b, nil
		case !errors.Is(err, events.ErrLost):
			return 0, nil, l.unavailable("canceling the build", err)
		}
		last, p = l.last(r.Context(), b.ID) // it has gone on meanwhile
	}
	return 0, nil, p
}

// asker reads who asks for something, as they call themselves, else by their address.
func (l *Listener) asker(r *http.Request) (string, *problem) {
	body, p := l.body(r)
	if p != nil {
		return "", p
	}
	var c api.Cancellation
	if p := httpd.Decode(body, &c, true, `send {"by": "your name"}, or nothing`); p != nil {
		return "", p
	}
	const longest = 200
	by := strings.Join(strings.FieldsFunc(c.By, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if len(by) > longest {
		return "", problemf(http.StatusBadRequest, "shorten it", "by is longer than %d bytes", longest)
	}
	if by == "" {
		by, _, _ = net.SplitHostPort(r.RemoteAddr)
	}
	return by, nil
}

// stir makes the owner of a build look. It looks by itself, only later.
func (l *Listener) stir(b rpmflow.Build) {
	if err := l.queue.NotifyCancel(b.ID); err != nil {
		l.log.Warn("the builder is not told that its build is canceled: it finds out with its next heartbeat", "build", b.ID, "builder", b.Builder, "error", err)
	}
}

// say tells those who follow the log of a build that nobody has begun why there is nothing to follow.
func (l *Listener) say(ctx context.Context, b rpmflow.Build) {
	w := l.logs.Writer(b.ID)
	fmt.Fprintf(w, "rpmflow: %s\n", b.Outcome.Message)
	w.Close(ctx, true)
}

// retry makes a new build of what a finished one was made of: the same commit, package and target, with the project's present settings.
func (l *Listener) retry(_ http.ResponseWriter, r *http.Request) (int, any, *problem) {
	last, p := l.last(r.Context(), r.PathValue("id"))
	if p != nil {
		return 0, nil, p
	}
	push, refusal := l.planner.Retry(last.Build, idempotencyKey(r))
	if refusal != nil {
		return 0, nil, refused(refusal)
	}
	return l.receive(r.Context(), push)
}
