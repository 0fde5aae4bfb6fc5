package listener

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/giturl"
)

// plan decides what a push leads to.
func (l *Listener) plan(ctx context.Context, project rpmflow.Project, push rpmflow.Push, c forge.Change) rpmflow.Push {
	if c.Deleted() {
		push.Reason = fmt.Sprintf("%s was deleted: nothing to build", c.Ref)
		return push
	}
	// The fallback packages branches that are built, whether it is one itself or not.
	fallback := push.Half == rpmflow.HalfPackaging && project.Sources.Fallback != "" && c.Ref == "refs/heads/"+project.Sources.Fallback
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

// newPush is a push without its builds. Its key tells it from all others.
func newPush(project rpmflow.Project, key string, c forge.Change, forgeName string, received time.Time) rpmflow.Push {
	return rpmflow.Push{
		ID: rpmflow.PushID(project.Name, key), Project: project.Name, Ref: c.Ref, Before: c.Before, Commit: c.Commit,
		Delivery: key, Forge: forgeName, Received: received.UTC(),
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
		BuildRequest: rpmflow.BuildRequest{
			ID: rpmflow.BuildID(push.ID, p.key, target), Push: push.ID, Project: project.Name, Package: p.name,
			Target: target, Arch: l.o.Targets[i].Arch, // it has been checked that the target is defined: by the configuration, or on request
			Repository: giturl.Redact(project.URL), Ref: push.Ref, Commit: push.Commit, Layout: p.layout, Spec: p.spec, Sources: p.sources, Options: project.OptionsFor(l.o.Targets[i]),
			TimeoutSeconds: project.Timeout.Seconds(), Concurrency: project.Concurrency,
			QueuedAt: push.Received,
		},
		State: rpmflow.Queued,
	}
	if b.Split = split(project, push); b.Split != nil {
		pushed, _ := b.Split.Halves()
		b.Repository, b.Sources.Directory = pushed.Repository, cmp.Or(project.Packaging.Directory(target), project.Sources.Directory)
	}
	return b
}
