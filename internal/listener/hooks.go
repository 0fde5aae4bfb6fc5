package listener

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/source"
)

// reader reads one forge's deliveries.
type reader func(h http.Header, body []byte, secret string) (forge.Change, error)

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

// plan decides what a push leads to.
func (l *Listener) plan(ctx context.Context, project rpmflow.Project, c forge.Change, half rpmflow.Half, forgeName string, received time.Time) rpmflow.Push {
	if half == rpmflow.HalfPackaging { // the same words from the other repository are another push
		c.Delivery = "packaging " + c.Delivery
	}
	push := newPush(project, c, forgeName, received)
	push.Half = half
	if c.Deleted() {
		push.Reason = fmt.Sprintf("%s was deleted: nothing to build", c.Ref)
		return push
	}
	// The fallback packages branches that are built, whether it is one itself or not.
	fallback := half == rpmflow.HalfPackaging && project.Sources.Fallback != "" && c.Ref == "refs/heads/"+project.Sources.Fallback
	if reason, ok := project.Wants(c.Ref); !ok && !fallback {
		push.Reason = reason
		return push
	}
	if len(project.Targets) == 0 {
		push.Reason = fmt.Sprintf("project %q has no targets: name some under targets:", project.Name)
		return push
	}
	chosen := l.choose(ctx, project, c)
	push.Builds, push.Reason = l.builds(project, push, chosen, project.Targets), chosen.reason
	push.NotBuilt = chosen.not
	return push
}

func newPush(project rpmflow.Project, c forge.Change, forgeName string, received time.Time) rpmflow.Push {
	return rpmflow.Push{
		ID: rpmflow.PushID(project.Name, c.Delivery), Project: project.Name, Ref: c.Ref, Before: c.Before, Commit: c.Commit,
		Delivery: c.Delivery, Forge: forgeName, Pusher: c.Pusher, Received: received.UTC(),
	}
}

func (l *Listener) builds(project rpmflow.Project, push rpmflow.Push, chosen choice, targets []string) []rpmflow.Build {
	var builds []rpmflow.Build
	for _, p := range chosen.parts {
		for _, name := range targets {
			b := l.request(project, push, p, name)
			if chosen.note != "" {
				b.Notes = []string{chosen.note}
			}
			builds = append(builds, b)
		}
	}
	return builds
}

// request is the record of a build that a push leads to.
func (l *Listener) request(project rpmflow.Project, push rpmflow.Push, p part, target string) rpmflow.Build {
	i := slices.IndexFunc(l.o.Targets, func(t rpmflow.Target) bool { return t.Name == target })
	b := rpmflow.Build{
		ID: rpmflow.BuildID(push.ID, p.key, target), Push: push.ID, Project: project.Name, Package: p.name,
		Target: target, Arch: l.o.Targets[i].Arch, // it has been checked that the target is defined: by the configuration, or on request
		Repository: source.CleanURL(project.URL), Ref: push.Ref, Commit: push.Commit, Layout: p.layout, Spec: p.spec, Sources: p.sources, Options: project.OptionsFor(l.o.Targets[i]),
		TimeoutSeconds: project.Timeout.Seconds(), Concurrency: project.Concurrency,
		State: rpmflow.Queued, QueuedAt: push.Received,
	}
	if b.Split = split(project, push); b.Split != nil {
		pushed, _ := b.Split.Halves()
		b.Repository, b.Sources.Directory = pushed.Repository, cmp.Or(project.Packaging.Directory(target), project.Sources.Directory)
	}
	return b
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

// body reads the whole body within the limit.
func (l *Listener) body(r *http.Request) ([]byte, *problem) {
	if r.ContentLength > l.o.MaxBody && r.Header.Get("Expect") != "" { // it waits for our word before it sends anything
		return nil, l.tooLarge()
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, l.o.MaxBody+1))
	if err != nil {
		return nil, problemf(http.StatusBadRequest, "send it again", "the body could not be read: %v", err)
	}
	if int64(len(body)) > l.o.MaxBody {
		// Read on for a while, so that a client that sends everything before it listens gets to see the answer.
		_, _ = io.CopyN(io.Discard, r.Body, l.o.MaxBody)
		return nil, l.tooLarge()
	}
	return body, nil
}

func (l *Listener) tooLarge() *problem {
	return problemf(http.StatusRequestEntityTooLarge, "split the push, or raise listener.max_body", "the body is larger than %d bytes", l.o.MaxBody)
}

// isJSON guards against forms that a web page of somebody else makes a browser send.
func isJSON(r *http.Request) bool {
	return strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "application/json")
}
