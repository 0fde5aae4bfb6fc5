package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
)

// NewPush is a push without its builds. Its key distinguishes it from all others.
func NewPush(project rpmflow.Project, key string, c forge.Change, forgeName string, received time.Time) rpmflow.Push {
	return rpmflow.Push{
		ID: rpmflow.PushID(project.Name, key), Project: project.Name, Ref: c.Ref, Before: c.Before, Commit: c.Commit,
		Delivery: key, Forge: forgeName, Received: received.UTC(),
	}
}

func (pl *Planner) builds(project rpmflow.Project, push rpmflow.Push, chosen choice, targets []string) []rpmflow.Build {
	var builds []rpmflow.Build
	for _, p := range chosen.packages {
		for _, name := range targets {
			b := pl.request(project, push, p, name)
			if chosen.note != "" {
				b.Notes = []string{chosen.note}
			}
			builds = append(builds, b)
		}
	}
	return builds
}

// request is the record of a build that a push leads to.
func (pl *Planner) request(project rpmflow.Project, push rpmflow.Push, p chosenPackage, target string) rpmflow.Build {
	i := slices.IndexFunc(pl.o.Targets, func(t rpmflow.Target) bool { return t.Name == target })
	b := rpmflow.Build{
		BuildRequest: rpmflow.BuildRequest{
			ID: rpmflow.BuildID(push.ID, p.key, target), Push: push.ID, Project: project.Name, Package: p.name,
			// the target is defined: the configuration or the request was checked
			Target: target, Arch: pl.o.Targets[i].Arch,
			Repository: project.URL, Ref: push.Ref, Commit: push.Commit, Layout: p.layout, Spec: p.spec,
			Sources: p.sources, Options: project.OptionsFor(pl.o.Targets[i]),
			TimeoutSeconds: project.Timeout.Seconds(), Concurrency: project.Concurrency,
			QueuedAt: push.Received,
		},
		State: rpmflow.Queued,
	}
	if b.Split = split(project, push); b.Split != nil {
		pushed, _ := b.Split.Halves()
		b.Repository, b.Sources.Directory = pushed.Repository, cmp.Or(project.Packaging.Directory(target),
			project.Sources.Directory)
	}
	return b
}

// SourcePackage is a push that builds an uploaded source package with this name in its header.
func (pl *Planner) SourcePackage(project rpmflow.Project, pkg rpmflow.SourcePackage, name string, targets []string,
	key string) rpmflow.Push {
	push := NewPush(project, forge.SubmissionKey(key), forge.Change{}, forge.API, time.Now())
	for _, t := range targets {
		push.Builds = append(push.Builds, pl.uploaded(project, push, pkg, name, t))
	}
	return push
}

// uploaded is the record of a build of an uploaded source package.
func (pl *Planner) uploaded(project rpmflow.Project, push rpmflow.Push, pkg rpmflow.SourcePackage, name,
	target string) rpmflow.Build {
	b := pl.request(project, push, chosenPackage{name: name, key: pkg.SHA512, layout: rpmflow.LayoutSRPM,
		sources: rpmflow.Sources{SRPM: pkg.Name}}, target)
	b.Repository, b.Ref, b.Commit, b.Split, b.SourcePackage = "", "", "", nil, &pkg
	return b
}
