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

// cancel ends a queued build at once, and a running one through its builder. After a successful answer the build can
// only end as canceled.
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
			return 0, nil, problemf(http.StatusConflict,
				"there is nothing to stop any more; GET /api/v1/builds/{id} has its outcome",
				"build %s has %s already, at %s",
				b.ID, b.Outcome.Result, b.FinishedAt.Format(time.RFC3339))
		case b.Cancel != nil:
			l.notifyOwner(b)
			return http.StatusAccepted, b, nil
		}
		b.Cancel = &rpmflow.Cancel{By: by, At: time.Now().UTC()}
		status, kind := http.StatusAccepted, events.TypeCancelRequested
		if b.State == rpmflow.Queued { // the builder that takes its message stores the record
			status, kind, b = http.StatusOK, events.TypeFinished, b.Canceled(time.Now())
		}
		_, err := l.ledger.Append(r.Context(), kind, b, last.Sequence, uuid.NewString())
		switch {
		case err == nil:
			l.log.Info("build canceled", "project", b.Project, "target", b.Target, "build", b.ID, "by", by, "state",
				last.Build.State)
			if kind == events.TypeFinished {
				l.endLog(r.Context(), b)
			} else {
				l.notifyOwner(b)
			}
			return status, b, nil
		case !errors.Is(err, events.ErrLost):
			return 0, nil, l.unavailable("canceling the build", err)
		}
		last, p = l.last(r.Context(), b.ID) // it has gone on meanwhile
	}
	return 0, nil, p
}

// asker returns the name in the body, or else the address of the client.
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

// notifyOwner wakes the owner of a build, which else reads the request with its next heartbeat.
func (l *Listener) notifyOwner(b rpmflow.Build) {
	if err := l.queue.NotifyCancel(b.ID); err != nil {
		l.log.Warn("the builder is not notified: it stops the build with its next heartbeat", "build", b.ID,
			"builder", b.Builder, "error", err)
	}
}

// endLog ends the live log of a build that was never claimed with the reason.
func (l *Listener) endLog(ctx context.Context, b rpmflow.Build) {
	w := l.logs.Writer(b.ID)
	fmt.Fprintf(w, "rpmflow: %s\n", b.Outcome.Message)
	w.Close(ctx, true)
}

// retry builds the commit, package and target of a finished build again, with the project's present settings.
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
