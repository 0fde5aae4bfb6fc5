package listener

import (
	"errors"
	"net/http"
	"time"

	"github.com/rpmflow/rpmflow/internal/forge"
)

// reader reads one forge's deliveries.
type reader func(h http.Header, body []byte, secret string) (forge.Change, error)

func (l *Listener) hook(name string, read reader) http.HandlerFunc {
	return l.handle(func(r *http.Request) (int, any, *problem) {
		received := time.Now()
		project, p := l.project(r.PathValue("project"))
		if p != nil {
			return 0, nil, p
		}
		if project.Secret == "" {
			return 0, nil, problemf(http.StatusForbidden, "set secret, secret_file or secret_env of the project in the configuration, and the same secret at the forge", "project %q has no webhook secret", project.Name)
		}
		body, p := l.body(r)
		if p != nil {
			return 0, nil, p
		}
		change, err := read(r.Header, body, project.Secret)
		var other forge.NotAPush
		switch {
		case errors.As(err, &other):
			return http.StatusOK, ignored{Builds: []buildAnswer{}, Reason: err.Error() + ": nothing to build"}, nil
		case errors.Is(err, forge.ErrSignature):
			return 0, nil, problemf(http.StatusUnauthorized, "sign the raw body with the project's webhook secret (HMAC-SHA256, sha256=<hex>)", "project %q: %v", project.Name, err)
		case err != nil:
			return 0, nil, problemf(http.StatusBadRequest, "send a push in the form that docs/architecture.md and the forge's documentation describe", "project %q: %v", project.Name, err)
		}
		half, p := half(project, r, body)
		if p != nil {
			return 0, nil, p
		}
		push := l.plan(r.Context(), project, change, half, name, received)
		return l.receive(r.Context(), push)
	})
}
