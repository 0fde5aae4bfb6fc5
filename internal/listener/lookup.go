package listener

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hub"
)

const (
	// The answer to a push has ids of builds whose first events follow some milliseconds later. A request between them
	// waits for so long before it is answered with 404.
	lookupWait = 1500 * time.Millisecond
	// maxCandidates is how many builds the answer to an ambiguous id lists.
	maxCandidates = 10
)

// shortID matches beginnings of ids that are long enough.
var shortID = regexp.MustCompile(`^[0-9a-f-]{4,36}$`)

// last reads a build's last event from EVENTS itself, by its id or the beginning of one.
func (l *Listener) last(ctx context.Context, id string) (events.Event, *problem) {
	if !rpmflow.IsID(id) && (!shortID.MatchString(id) || len(id) == 36) {
		return events.Event{}, problemf(http.StatusBadRequest,
			"take the id from the answer to a push or from the list of builds; its first 8 characters are enough",
			"%q is not a build id", id)
	}
	changes := l.projection.News() // before the first look, so that no event is missed
	wait, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	for {
		over := wait.Err() != nil // the last look finds what the hub has missed, while NATS was away
		last, found, p := l.lookUp(ctx, id)
		switch {
		case found || p != nil:
			return last, p
		case over && !l.projection.CaughtUp() && !rpmflow.IsID(id):
			return events.Event{}, problemf(http.StatusServiceUnavailable,
				"give the whole id, or wait: the list of builds is being read from the event stream",
				"whether a build begins with %s is not known yet", id)
		case over:
			return events.Event{}, problemf(http.StatusNotFound,
				"GET /api/v1/builds, or rpmflow list, lists the builds",
				"there is no build %s", id)
		}
		var e events.Event
		var err error
		for err == nil && (e.Build.ID == "" || !strings.HasPrefix(e.Build.ID, id)) {
			e, err = changes.Next(wait)
		}
		switch {
		case err == nil:
			id = e.Build.ID // the read model may not have it yet
		case errors.Is(err, hub.ErrBehind):
			changes = l.projection.News()
		}
	}
}

func (l *Listener) lookUp(ctx context.Context, id string) (last events.Event, found bool, _ *problem) {
	if !rpmflow.IsID(id) {
		builds, err := l.projection.Model.Beginning(ctx, id, maxCandidates+1)
		switch {
		case err != nil:
			return last, false, l.unavailable("looking the build up", err)
		case len(builds) == 0:
			return last, false, nil
		case len(builds) > 1:
			return last, false, ambiguous(id, builds)
		}
		id = builds[0].ID
	}
	last, err := l.ledger.LastOf(ctx, id)
	if errors.Is(err, events.ErrNone) {
		return last, false, nil
	}
	if err != nil {
		return last, false, l.unavailable("reading the build", err)
	}
	return last, true, nil
}

func ambiguous(id string, builds []rpmflow.Build) *problem {
	var names []string
	for _, b := range builds[:min(len(builds), maxCandidates)] {
		names = append(names, fmt.Sprintf("%s (%s for %s, %s)", b.ID, b.Project, b.Target,
			b.QueuedAt.UTC().Format(time.DateTime)))
	}
	count := fmt.Sprint(len(builds))
	if len(builds) > maxCandidates {
		count, names = "more than "+fmt.Sprint(maxCandidates), append(names, "…")
	}
	return problemf(http.StatusBadRequest, "use more characters of the one that you mean: "+strings.Join(names, "; "),
		"%s matches the ids of %s builds", id, count)
}
