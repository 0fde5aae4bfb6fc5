package listener

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
)

// pushAnswer is what the sender of a push is told.
type pushAnswer struct {
	Push      string        `json:"push"`
	Project   string        `json:"project"`
	Ref       string        `json:"ref"`
	Commit    string        `json:"commit"`
	Duplicate bool          `json:"duplicate"` // the same delivery was answered before
	Builds    []buildAnswer `json:"builds"`
	Reason    string        `json:"reason,omitempty"` // why there are no builds
	NotBuilt  []string      `json:"not_built,omitempty"`
}

type buildAnswer struct {
	ID      string `json:"id"`
	Package string `json:"package"`
	Target  string `json:"target"`
	URL     string `json:"url"`
}

// ignored is the answer to a delivery that is no push.
type ignored struct {
	Builds []buildAnswer `json:"builds"`
	Reason string        `json:"reason"`
}

// receive stores the push and says what came of it. Nothing is said before JetStream has acknowledged.
func (l *Listener) receive(ctx context.Context, push rpmflow.Push) (int, any, *problem) {
	stored, again, err := l.pushes.Receive(ctx, push)
	if errors.Is(err, events.ErrTooLarge) && len(push.Builds) > 0 { // else it would be sent again and again, and refused each time
		push.Builds, push.NotBuilt, push.Reason = nil, nil, fmt.Sprintf("%d builds at once are more than a message can hold: build the packages in parts, with rpmflow submit --package", len(push.Builds))
		stored, again, err = l.pushes.Receive(ctx, push)
	}
	if err != nil {
		return 0, nil, l.unavailable("storing the push", err)
	}
	a := pushAnswer{Push: stored.ID, Project: stored.Project, Ref: stored.Ref, Commit: stored.Commit, Duplicate: again, Builds: []buildAnswer{}, Reason: stored.Reason, NotBuilt: stored.NotBuilt}
	for _, b := range stored.Builds {
		a.Builds = append(a.Builds, buildAnswer{ID: b.ID, Package: b.Package, Target: b.Target, URL: l.o.PublicURL + "/api/v1/builds/" + b.ID})
	}
	l.log.Info("push received", "project", stored.Project, "push", stored.ID, "ref", stored.Ref, "commit", stored.Commit, "builds", len(stored.Builds), "reason", stored.Reason, "duplicate", again)
	if again || len(stored.Builds) == 0 {
		return http.StatusOK, a, nil
	}
	return http.StatusAccepted, a, nil
}
