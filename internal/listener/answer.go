package listener

import (
	"errors"
	"net/http"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/httpd"
)

type problem = httpd.Problem

func problemf(status int, hint, format string, args ...any) *problem {
	return httpd.Problemf(status, hint, format, args...)
}

// unavailable is the answer when NATS, the storage or the read model does not work. The error is for the log only.
func (l *Listener) unavailable(what string, err error) *problem {
	l.log.Error(what, "error", err)
	// A push whose acknowledgement was lost may be stored all the same.
	hint := "send the same again in a moment: what was accepted already is not built twice; the listener's log says more"
	if errors.Is(err, events.ErrFull) {
		hint = "nothing was accepted: " + events.ErrFull.Error()
	}
	return problemf(http.StatusServiceUnavailable, hint, "%s failed", what)
}

// body reads the whole body within listener.max_body.
func (l *Listener) body(r *http.Request) ([]byte, *problem) {
	return httpd.Body(r, l.o.MaxBody, "split the push, or raise listener.max_body")
}
