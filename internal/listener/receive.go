package listener

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
)

// pushAnswer is the answer to a push.
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

// deliveryAnswer is the answer to a delivery that changes several refs: each push as if it had come alone, and the sums of all.
type deliveryAnswer struct {
	Project   string        `json:"project"`
	Duplicate bool          `json:"duplicate"` // all of them
	Builds    []buildAnswer `json:"builds"`
	Reason    string        `json:"reason,omitempty"` // why there are no builds at all
	Pushes    []pushAnswer  `json:"pushes"`
}

// ignored is the answer to a delivery that is not a push.
type ignored struct {
	Builds []buildAnswer `json:"builds"`
	Reason string        `json:"reason"`
}

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
	if errors.Is(err, events.ErrTooLarge) && len(push.Builds) > 0 { // else it would be sent again and again, and refused each time
		push.Reason = fmt.Sprintf("%d builds at once are more than a message can hold: build the packages in parts, with rpmflow submit --package",
			len(push.Builds))
		push.Builds, push.NotBuilt = nil, nil
		stored, again, err = l.pushes.Receive(ctx, push)
	}
	if err != nil {
		return stored, false, l.unavailable("storing the push", err)
	}
	return stored, again, nil
}

func (l *Listener) pushAnswer(push rpmflow.Push, again bool) pushAnswer {
	a := pushAnswer{
		Push: push.ID, Project: push.Project, Ref: push.Ref, Commit: push.Commit, Duplicate: again, Builds: []buildAnswer{},
		Reason: push.Reason, NotBuilt: push.NotBuilt,
	}
	for _, b := range push.Builds {
		a.Builds = append(a.Builds, buildAnswer{ID: b.ID, Package: b.Package, Target: b.Target, URL: l.o.PublicURL + "/api/v1/builds/" + b.ID})
	}
	l.log.Info("push received", "project", push.Project, "push", push.ID, "ref", push.Ref, "commit", push.Commit,
		"builds", len(push.Builds), "reason", push.Reason, "duplicate", again)
	return a
}
