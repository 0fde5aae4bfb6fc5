package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/nearest"
)

// Known fails if a project, or a target of it, is neither configured nor has a repository: it is mistyped. An empty
// name is not checked.
func (p *Publisher) Known(ctx context.Context, project, target string) error {
	if project == "" {
		return nil
	}
	var projects, targets []string
	for _, c := range p.o.Projects {
		projects = append(projects, c.Name)
		if c.Name == project {
			targets = slices.Clone(c.Targets)
		}
	}
	configured := slices.Contains(projects, project)
	if configured && (target == "" || slices.Contains(targets, target)) {
		return nil
	}
	places, err := p.Places(ctx, project, "")
	if err != nil {
		return err
	}
	for _, place := range places {
		if target == "" || place.Target == target {
			return nil
		}
		targets = append(targets, place.Target)
	}
	if configured || len(places) > 0 {
		message, do := nearest.Unknown("target", target, compact(targets))
		return hint.Add(fmt.Errorf("project %q: %s", project, message), do)
	}
	all, err := p.Places(ctx, "", "")
	if err != nil {
		return err
	}
	for _, place := range all {
		projects = append(projects, place.Project)
	}
	message, do := nearest.Unknown("project", project, compact(projects), "or add it to projects of the configuration")
	return hint.Add(errors.New(message), do)
}

func compact(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }
