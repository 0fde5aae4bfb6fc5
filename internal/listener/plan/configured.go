package plan

import (
	"slices"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/nearest"
)

// Project finds a configured project by its name.
func (pl *Planner) Project(name string) (rpmflow.Project, *Refusal) {
	i := slices.IndexFunc(pl.o.Projects, func(p rpmflow.Project) bool { return p.Name == name })
	if i < 0 {
		_, hint := nearest.Unknown("project", name, pl.ProjectNames(),
			"or add the project to the listener's configuration")
		return rpmflow.Project{}, refuse(NotFound, hint, "project %q is not configured", name)
	}
	return pl.o.Projects[i], nil
}

// ProjectNames returns the names of the configured projects.
func (pl *Planner) ProjectNames() (names []string) {
	for _, p := range pl.o.Projects {
		names = append(names, p.Name)
	}
	return names
}

// TargetNames returns the names of the configured targets.
func (pl *Planner) TargetNames() (names []string) {
	for _, t := range pl.o.Targets {
		names = append(names, t.Name)
	}
	return names
}

// targets are those that a request names, or the project's.
func (pl *Planner) targets(project rpmflow.Project, asked []string) ([]string, *Refusal) {
	targets := slices.Clone(asked) // sorted below: the configuration is shared by all requests
	if len(targets) == 0 {
		targets = slices.Clone(project.Targets)
	}
	if len(targets) == 0 {
		return nil, refuse(Invalid, "name some under targets: in the configuration",
			"project %q has no targets", project.Name)
	}
	slices.Sort(targets)
	targets = slices.Compact(targets)
	for _, t := range targets {
		if known := pl.TargetNames(); !slices.Contains(known, t) {
			message, hint := nearest.Unknown("target", t, known)
			return nil, refuse(Invalid, hint, "%s", message)
		}
	}
	return targets, nil
}
