package listener

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/hub"
	"github.com/rpmflow/rpmflow/internal/retry"
)

// buildLog sends the stored log of a finished build. For other builds, and if none was stored, it sends what there is
// of the live log, and with ?follow=true also what comes until the build ends.
func (l *Listener) buildLog(w http.ResponseWriter, r *http.Request) (int, any, *problem) {
	changes := l.projection.Hub.Now() // before the record is read, so that no change is missed
	b, p := l.build(r.Context(), r.PathValue("id"))
	if p != nil {
		return 0, nil, p
	}
	follow, err := strconv.ParseBool(r.URL.Query().Get("follow"))
	if err != nil && r.URL.Query().Has("follow") {
		return 0, nil, problemf(http.StatusBadRequest, "use true or false", "follow=%q is neither true nor false",
			r.URL.Query().Get("follow"))
	}
	stored := slices.IndexFunc(b.Artifacts, func(a rpmflow.Artifact) bool { return a.Name == "build.log" })
	finished := b.State == rpmflow.Finished
	if finished && stored >= 0 {
		return 0, nil, l.send(w, r, b.Artifacts[stored].Key)
	}
	follow = follow && !finished
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(l.stopping, func() { cancel(nil) })()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // a stream outlives the server's ReadTimeout
	if follow {
		_ = control.Flush() // the client sees that there is such a build, though it may be silent for long
		var watch sync.WaitGroup
		defer watch.Wait()
		defer cancel(nil)
		watch.Go(func() { cancel(untilFinished(ctx, l.projection.Hub, changes, l.ledger.LastOf, b.ID)) })
	}
	shown := false
	err = events.FollowLog(ctx, l.js, b.ID, follow, func(chunk []byte) error {
		shown = true
		_ = control.SetWriteDeadline(time.Now().Add(httpd.WriteWait))
		if _, err := w.Write(chunk); err != nil {
			return err
		}
		return control.Flush()
	})
	if finished && !shown && err == nil { // canceled while it waited it would have a line
		return 0, nil, problemf(http.StatusNotFound, "the record's outcome says why", "build %s ended without a log",
			b.ID)
	}
	cause := context.Cause(ctx)
	unknown := cause != nil && !errors.Is(cause, context.Canceled) // whether the build has ended
	if err != nil && cause == nil || unknown || follow && l.stopping.Err() != nil {
		l.log.Info("live log interrupted", "build", b.ID, "error", errors.Join(err, cause))
		panic(http.ErrAbortHandler) // so that the client sees that it does not have all
	}
	return 0, nil, nil
}

// untilFinished returns some seconds after the build has finished. It fails when ctx ends, or when it cannot tell. The
// live log's own end comes before that, unless it was lost with a connection or a builder.
func untilFinished(ctx context.Context, h *hub.Hub, changes *hub.Reader,
	lastOf func(context.Context, string) (events.Event, error), id string,
) error {
	const grace, bound = 3 * time.Second, time.Minute
	for {
		e, err := changes.Next(ctx)
		if errors.Is(err, hub.ErrBehind) { // the record has what was missed, which may be the last event of all
			changes = h.Now()
			err = retry.Policy{First: time.Second, Limit: bound}.Do(ctx, func() (err error) {
				e, err = lastOf(ctx, id)
				return err
			})
		}
		switch {
		case err != nil:
			return err
		case e.Build.ID == id && e.Build.State == rpmflow.Finished:
			retry.Sleep(ctx, grace)
			return nil
		}
	}
}
