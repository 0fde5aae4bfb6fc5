package listener

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/listener/plan"
)

func (l *Listener) hook(f forge.Forge) httpd.Handler {
	return func(_ http.ResponseWriter, r *http.Request) (int, any, *problem) {
		received := time.Now()
		project, refusal := l.planner.Project(r.PathValue("project"))
		if refusal != nil {
			return 0, nil, refused(refusal)
		}
		if project.Secret == "" {
			return 0, nil, problemf(http.StatusForbidden,
				"set secret, secret_file or secret_env of the project in the configuration, and the same secret at "+
					"the forge",
				"project %q has no webhook secret", project.Name)
		}
		body, p := l.body(r)
		if p != nil {
			return 0, nil, p
		}
		delivery, err := f.Read(r.Header, body, project.Secret)
		var other forge.NotAPush
		switch {
		case errors.As(err, &other):
			return http.StatusOK, api.Ignored{Builds: []api.BuildRef{}, Reason: err.Error() + ": nothing to build"}, nil
		case errors.Is(err, forge.ErrSignature):
			return 0, nil, problemf(http.StatusUnauthorized,
				"set the project's secret at the forge; "+f.Header+" must be: "+f.Signature,
				"project %q: %v", project.Name, err)
		case err != nil:
			return 0, nil, problemf(http.StatusBadRequest,
				"check that the webhook's address is the one for this forge, and that it sends push events as JSON",
				"project %q: %v", project.Name, err)
		}
		half, refusal := plan.Half(project, r.URL.Query().Get("repository"), delivery)
		if refusal != nil {
			return 0, nil, refused(refusal)
		}
		return l.deliver(r.Context(), project, delivery, half, received)
	}
}

// deliver plans and stores a push for each change of a delivery. When it fails in between, the sender sends all of them
// again.
func (l *Listener) deliver(ctx context.Context, project rpmflow.Project, d forge.Delivery, half rpmflow.Half,
	received time.Time) (int, any, *problem) {
	planning, cancel := context.WithTimeoutCause(ctx, l.o.RequestTimeout/2, plan.ErrSlow) // the rest is for storing
	defer cancel()
	a := api.Pushes{Project: project.Name, Duplicate: true, Builds: []api.BuildRef{}}
	var reasons []string
	for _, c := range d.Changes {
		key := d.Key(c)
		if half == rpmflow.HalfPackaging { // the same change in the other repository is another push
			key = "packaging " + key
		}
		push := plan.NewPush(project, key, c, d.Forge, received)
		push.Half, push.Pusher = half, d.Pusher
		stored, again, p := l.store(ctx, l.planner.Push(planning, project, push, c))
		if p != nil {
			return 0, nil, p
		}
		one := l.pushAnswer(stored, again)
		a.Pushes = append(a.Pushes, one)
		a.Builds = append(a.Builds, one.Builds...)
		a.Duplicate = a.Duplicate && again
		if !slices.Contains(reasons, one.Reason) {
			reasons = append(reasons, one.Reason)
		}
	}
	status := http.StatusOK
	if slices.ContainsFunc(a.Pushes, func(one api.Push) bool { return !one.Duplicate && len(one.Builds) > 0 }) {
		status = http.StatusAccepted
	}
	if len(a.Pushes) == 1 {
		return status, a.Pushes[0], nil
	}
	if len(a.Builds) == 0 {
		a.Reason = strings.Join(reasons, "; ")
	}
	return status, a, nil
}
