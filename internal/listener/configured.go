package listener

import (
	"context"
	"net/http"
	"slices"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/nearest"
	"github.com/rpmflow/rpmflow/internal/readmodel"
)

func (l *Listener) projects(http.ResponseWriter, *http.Request) (int, any, *problem) {
	all := make([]api.Project, 0, len(l.o.Projects))
	for _, p := range l.o.Projects {
		all = append(all, api.Project{
			Name: p.Name, Repository: p.URL, Packaging: p.Packaging.URL,
			Layout: p.Layout, Branches: notNil(p.Branches), Tags: notNil(p.Tags),
			Packages: notNil(packageNames(p)), Targets: notNil(p.Targets), RepoFiles: l.repoFiles(p),
			Webhooks: p.Secret != "", TimeoutSeconds: p.Timeout.Seconds(), Concurrency: p.Concurrency,
		})
	}
	return http.StatusOK, api.ProjectList{Projects: all}, nil
}

func (l *Listener) targets(http.ResponseWriter, *http.Request) (int, any, *problem) {
	all := make([]api.Target, 0, len(l.o.Targets))
	for _, t := range l.o.Targets {
		c := api.Target{Name: t.Name, Arch: t.Arch, Config: t.Config, Image: t.Image, Projects: []string{}}
		for _, p := range l.o.Projects {
			if slices.Contains(p.Targets, t.Name) {
				c.Projects = append(c.Projects, p.Name)
			}
		}
		all = append(all, c)
	}
	return http.StatusOK, api.TargetList{Targets: all}, nil
}

// packageNames are those of the configured packages; none in layout srpm, whose repository has them.
func packageNames(p rpmflow.Project) (names []string) {
	if p.Layout != rpmflow.LayoutSRPM {
		for _, s := range p.PackageSources() {
			names = append(names, s.Name)
		}
	}
	return names
}

func notNil(list []string) []string { return append([]string{}, list...) }

// checkFilters refuses names that are neither configured nor have builds. An empty list would mean that there are no
// builds yet.
func (l *Listener) checkFilters(ctx context.Context, q readmodel.Query) *problem {
	for _, f := range []struct {
		name, value string
		known       []string
	}{
		{"state", string(q.State), []string{string(rpmflow.Queued), string(rpmflow.Running), string(rpmflow.Finished)}},
		{"result", string(q.Result), names(rpmflow.Results())},
		{"kind", string(q.Kind), names(rpmflow.FailureKinds())},
	} {
		if f.value != "" && !slices.Contains(f.known, f.value) {
			message, hint := nearest.Unknown(f.name, f.value, f.known)
			return problemf(http.StatusBadRequest, hint, "%s", message)
		}
	}
	var packages []string
	for _, p := range l.o.Projects {
		packages = append(packages, packageNames(p)...)
	}
	for _, f := range []struct {
		column readmodel.Column
		value  string
		known  []string
	}{{readmodel.ColumnProject, q.Project, l.planner.ProjectNames()}, {readmodel.ColumnTarget, q.Target,
		l.planner.TargetNames()}, {readmodel.ColumnPackage, q.Package, packages}} {
		if f.value == "" || slices.Contains(f.known, f.value) {
			continue
		}
		built, err := l.projection.Model.Names(ctx, f.column) // what is not configured any more has builds, too
		if err != nil {
			return l.unavailable("listing builds", err)
		}
		if !slices.Contains(built, f.value) {
			known := append(f.known, built...)
			slices.Sort(known)
			message, hint := nearest.Unknown(string(f.column), f.value, slices.Compact(known))
			return problemf(http.StatusBadRequest, hint, "%s", message)
		}
	}
	return nil
}

func names[T ~string](list []T) (names []string) {
	for _, n := range list {
		names = append(names, string(n))
	}
	return names
}
