package listener

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/listener/plan"
)

type problem = httpd.Problem

func problemf(status int, hint, format string, args ...any) *problem {
	return httpd.Problemf(status, hint, format, args...)
}

// unavailable is the answer when NATS, the storage or the read model does not work. The error is for the log only.
func (l *Listener) unavailable(what string, err error) *problem {
	l.log.Error(what, "error", err)
	// A push whose acknowledgement was lost may be stored all the same.
	hint := "send the same again in a moment: what was accepted already is not built twice; the listener's log says " +
		"more"
	if errors.Is(err, events.ErrFull) {
		hint = "nothing was accepted: " + events.ErrFull.Error()
	}
	return problemf(http.StatusServiceUnavailable, hint, "%s failed", what)
}

// body reads the whole body within listener.max_body.
func (l *Listener) body(r *http.Request) ([]byte, *problem) {
	return httpd.Body(r, l.o.MaxBody, "split the push, or raise listener.max_body")
}

// refused is the answer to a request that cannot be planned.
func refused(r *plan.Refusal) *problem {
	status := map[plan.Kind]int{
		plan.Invalid: http.StatusBadRequest, plan.NotFound: http.StatusNotFound, plan.Conflict: http.StatusConflict,
		plan.Unreachable: http.StatusBadGateway,
	}[r.Kind]
	return problemf(status, r.Hint, "%s", r.Message)
}

// idempotencyKey is what distinguishes a request from others. One without a key is like no other.
func idempotencyKey(r *http.Request) string {
	return cmp.Or(r.Header.Get("Idempotency-Key"), uuid.NewString())
}
