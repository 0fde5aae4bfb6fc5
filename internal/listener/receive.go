package listener

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/events"
)

// receive stores a push of the API and answers it.
func (l *Listener) receive(ctx context.Context, push rpmflow.Push) (int, any, *problem) {
	stored, again, p := l.store(ctx, push)
	if p != nil {
		return 0, nil, p
	}
	if again || len(stored.Builds) == 0 {
		return http.StatusOK, l.pushAnswer(stored, again), nil
	}
	return http.StatusAccepted, l.pushAnswer(stored, again), nil
}

// store returns after JetStream has acknowledged the push. The result is the push that was stored first under its id.
func (l *Listener) store(ctx context.Context, push rpmflow.Push) (stored rpmflow.Push, again bool, _ *problem) {
	stored, again, err := l.pushes.Receive(ctx, push)
	// without this the sender would send it again for ever
	if errors.Is(err, events.ErrTooLarge) && len(push.Builds) > 0 {
		push.Reason = fmt.Sprintf("%d builds at once are more than a message can hold: "+
			"build the packages in parts, with rpmflow submit --package",
			len(push.Builds))
		push.Builds, push.NotBuilt = nil, nil
		stored, again, err = l.pushes.Receive(ctx, push)
	}
	if err != nil {
		return stored, false, l.unavailable("storing the push", err)
	}
	return stored, again, nil
}

func (l *Listener) pushAnswer(push rpmflow.Push, again bool) api.Push {
	a := api.Push{
		Push: push.ID, Project: push.Project, Ref: push.Ref, Commit: push.Commit, Duplicate: again,
		Builds: []api.BuildRef{},
		Reason: push.Reason, NotBuilt: push.NotBuilt,
	}
	for _, b := range push.Builds {
		a.Builds = append(a.Builds, api.BuildRef{ID: b.ID, Package: b.Package, Target: b.Target, URL: l.o.PublicURL +
			"/api/v1/builds/" + b.ID})
	}
	l.log.Info("push received", "project", push.Project, "push", push.ID, "ref", push.Ref, "commit", push.Commit,
		"builds", len(push.Builds), "reason", push.Reason, "duplicate", again)
	return a
}
