package publisher

import (
	"context"
	"errors"
	"slices"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// publishEach publishes builds for a target that do not depend on each other, and announces it.
func (p *Publisher) publishEach(ctx context.Context, d desk, batch []events.Finish) ([]Place, error) {
	builds := make([]rpmflow.Build, len(batch))
	for i, f := range batch {
		builds[i] = f.Build
	}
	told, places, err := p.publish(ctx, builds, nil)
	if err != nil {
		return nil, err
	}
	if n := told[d.target]; n != nil {
		err = p.announce(ctx, d.project, d.target, n)
	}
	return places, err
}

// errNotAll means that a package of a set is refused.
var errNotAll = errors.New("not all packages can be published")

// publish puts builds of a project into the repositories of their targets, all in one revision of each. What is to be
// announced of the targets is returned. Packages that are refused stay out, and if the builds are a set, everything.
func (p *Publisher) publish(
	ctx context.Context, builds []rpmflow.Build, all *set,
) (told map[string]*news, places []Place, err error) {
	var changes []*change
	for _, kind := range kinds() {
		for _, target := range targets(builds) {
			of := slices.DeleteFunc(slices.Clone(builds), func(b rpmflow.Build) bool { return b.Target != target })
			if !wanted(of, kind) {
				continue
			}
			c := &change{place: Place{of[0].Project, target, kind}}
			c.from, c.edit = p.orNew(c.place, arches(c.place, of)), p.addBuilds(c.place, of, all, &c.refused)
			changes, places = append(changes, c), append(places, c.place)
		}
	}
	err = p.changeAll(ctx, changes, func() error {
		if all != nil && slices.ContainsFunc(changes, func(c *change) bool { return len(c.refused) > 0 }) {
			return errNotAll
		}
		return nil
	})
	held := errors.Is(err, errNotAll)
	if held {
		places, err = nil, p.withdraw(ctx, changes)
	}
	if err != nil {
		return nil, nil, err
	}
	told = map[string]*news{}
	for _, c := range changes {
		n := told[c.place.Target]
		if n == nil {
			n = &news{}
			told[c.place.Target] = n
		}
		n.refused = append(n.refused, c.refused...)
		if !held {
			n.kinds = append(n.kinds, c.place.Kind)
		}
		if !held && c.wrote > 0 {
			d := p.difference(c.place, c.state, c.wrote-1)
			p.o.Log.Info("published", "project", c.place.Project, "target", c.place.Target, "kind", c.place.Kind,
				"revision", d.Revision, "added", len(d.Added), "removed", len(d.Removed))
		}
		for _, r := range c.refused {
			p.o.Log.Error("a package is not published", "project", c.place.Project, "target", c.place.Target,
				"error", hint.Full(r))
		}
	}
	return told, places, nil
}

// targets of builds, in their order.
func targets(builds []rpmflow.Build) (all []string) {
	for _, b := range builds {
		if !slices.Contains(all, b.Target) {
			all = append(all, b.Target)
		}
	}
	return all
}

// wanted reports whether builds have packages for a repository.
func wanted(builds []rpmflow.Build, kind Kind) bool {
	for _, b := range builds {
		for _, a := range b.Artifacts {
			if k, ok := kindOf(a); ok && k == kind {
				return true
			}
		}
	}
	return false
}
