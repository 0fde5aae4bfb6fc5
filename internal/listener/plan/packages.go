package plan

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/printable"
	"github.com/rpmflow/rpmflow/internal/source"
)

// chosenPackage is one package of a project, with what its builds have of their own.
type chosenPackage struct {
	name string
	// key is part of the ids of its builds. Two source packages in a repository may have the same name.
	key     string
	layout  rpmflow.Layout
	spec    string
	sources rpmflow.Sources
}

// choice is which packages a push builds.
type choice struct {
	packages []chosenPackage
	reason   string   // why there are none
	note     string   // what the builds are to say of it
	not      []string // packages that are not built while others are, in words
}

// configuredPackages are those that a project's configuration names.
func configuredPackages(project rpmflow.Project) []chosenPackage {
	var all []chosenPackage
	for _, s := range project.PackageSources() {
		all = append(all, packageOf(project, s))
	}
	return all
}

func packageOf(project rpmflow.Project, s rpmflow.PackageSource) chosenPackage {
	sources := project.Sources
	sources.Directory = s.Directory
	return chosenPackage{name: s.Name, key: s.Name, layout: project.Layout, spec: s.SpecPath(), sources: sources}
}

// srpmPackage is a source package in a repository.
func srpmPackage(project rpmflow.Project, p source.SRPMFile) chosenPackage {
	sources := project.Sources
	sources.SRPM = p.Path
	return chosenPackage{name: srpmName(project, p), key: p.Path, layout: rpmflow.LayoutSRPM, sources: sources}
}

// srpmName is the name in the header, or else in the file's name. Without a valid name it is the project's: the build
// will fail with the reason.
func srpmName(project rpmflow.Project, p source.SRPMFile) string {
	file := path.Base(p.Path)
	for range 2 { // without release and version
		file = file[:max(strings.LastIndexByte(file, '-'), 0)]
	}
	for _, name := range []string{p.Name, file} {
		if rpmflow.CheckPackageName(name) == nil {
			return name
		}
	}
	return project.Name
}

// choose finds the packages that a push has changed. If that cannot be found out it takes all of them, with the reason
// as a note: a build too many is better than none.
func (pl *Planner) choose(ctx context.Context, project rpmflow.Project, c forge.Change) choice {
	if project.Layout == rpmflow.LayoutSRPM {
		return pl.chooseSRPMs(ctx, project, c)
	}
	if project.Layout == rpmflow.LayoutSplit { // either of its repositories is the one package
		return choice{packages: configuredPackages(project)}
	}
	if chosen, ok := pl.foundSRPMs(ctx, project, c); ok {
		return chosen
	}
	packages := project.PackageSources()
	if !slices.ContainsFunc(packages, func(s rpmflow.PackageSource) bool { return len(s.Filter()) > 0 }) {
		return pl.withoutAbsent(ctx, project, c, choice{packages: configuredPackages(project)}, false)
	}
	files, why := pl.changed(ctx, project, c)
	if why != "" {
		chosen := choice{packages: configuredPackages(project),
			note: "built regardless of the changed files: " + why}
		return pl.withoutAbsent(ctx, project, c, chosen, c.Before != "" && !rpmflow.IsZeroCommit(c.Before))
	}
	var chosen choice
	var filters []string
	for _, s := range packages {
		if s.Touched(files) {
			chosen.packages = append(chosen.packages, packageOf(project, s))
		}
		filters = append(filters, fmt.Sprintf("%s (%s)", s.Name, strings.Join(s.Filter(), ", ")))
	}
	if len(chosen.packages) == 0 {
		chosen.reason = fmt.Sprintf("no package is touched: %s, and looked for were those of %s", changedFiles(files),
			some(filters, 20))
	}
	return pl.withoutAbsent(ctx, project, c, chosen, false)
}

// changed lists the files that a push has changed, or the reason why they are unknown.
func (pl *Planner) changed(ctx context.Context, project rpmflow.Project, c forge.Change) (files []string, why string) {
	switch {
	case rpmflow.IsZeroCommit(c.Before):
		return nil, c.Ref + " is new"
	case c.Before == "":
		return nil, "the push does not say what was there before"
	case c.Complete:
		return c.Files, ""
	}
	files, err := read(ctx, pl, project.Name, func(ctx context.Context) ([]string, error) {
		return pl.o.Repositories.Changed(ctx, sourceRequest(project, c), c.Before)
	})
	if err != nil {
		return nil, pl.whyNot(project, c, err)
	}
	return files, ""
}

// sourceRequest names the commit of a change for the repository.
func sourceRequest(project rpmflow.Project, c forge.Change) source.Request {
	return source.Request{Project: project.Name, URL: project.URL, Ref: c.Ref, Commit: c.Commit, Layout: project.Layout,
		Spec: project.Spec, Sources: project.Sources}
}

// sourcePackages lists those of a commit.
func (pl *Planner) sourcePackages(ctx context.Context, project rpmflow.Project, c forge.Change) ([]source.SRPMFile,
	error) {
	return read(ctx, pl, project.Name, func(ctx context.Context) ([]source.SRPMFile, error) {
		return pl.o.Repositories.SourcePackages(ctx, sourceRequest(project, c))
	})
}

// chooseSRPMs takes the source packages that a push has added or changed.
func (pl *Planner) chooseSRPMs(ctx context.Context, project rpmflow.Project, c forge.Change) choice {
	list, err := pl.sourcePackages(ctx, project, c)
	if err != nil {
		return pl.guessSRPMs(project, c, pl.whyNot(project, c, err))
	}
	return pl.changedSRPMs(ctx, project, c, list)
}

func (pl *Planner) changedSRPMs(ctx context.Context, project rpmflow.Project, c forge.Change,
	list []source.SRPMFile) choice {
	patterns := strings.Join(project.Sources.SRPMPatterns(), ", ")
	if len(list) == 0 {
		return choice{reason: fmt.Sprintf("there is no source package (%s) at %.12s%s", patterns, c.Commit,
			removedSRPMs(project, c.Files, nil))}
	}
	files, why := pl.changed(ctx, project, c)
	var chosen choice
	if why != "" {
		chosen.note = "built regardless of the changed files: " + why
	}
	for _, p := range list {
		if why != "" || slices.Contains(files, p.Path) {
			chosen.packages = append(chosen.packages, srpmPackage(project, p))
		}
	}
	if len(chosen.packages) == 0 {
		chosen.reason = fmt.Sprintf("no source package (%s) was added or changed: %s%s", patterns, changedFiles(files),
			removedSRPMs(project, files, list))
	}
	return chosen
}

// guessSRPMs goes by the files of the delivery when the repository cannot be read. Without them there is one build, and
// the builder finds the source package.
func (pl *Planner) guessSRPMs(project rpmflow.Project, c forge.Change, why string) choice {
	note := "the listener could not look for source packages: " + why
	if !c.Complete {
		return choice{packages: []chosenPackage{{name: project.Name, key: project.Name, layout: rpmflow.LayoutSRPM,
			sources: project.Sources}}, note: note}
	}
	chosen := choice{note: note + "; the package's name is that of its file"}
	for _, f := range c.Files {
		if project.Sources.TakesSRPM(f) && !slices.Contains(c.Gone, f) {
			chosen.packages = append(chosen.packages, srpmPackage(project, source.SRPMFile{Path: f}))
		}
	}
	if len(chosen.packages) == 0 {
		chosen.reason = fmt.Sprintf("no source package (%s) was added or changed: %s",
			strings.Join(project.Sources.SRPMPatterns(), ", "), changedFiles(c.Files)+removedSRPMs(project, c.Gone,
				nil))
	}
	return chosen
}

// foundSRPMs recognises source packages in a project of layout auto, if the delivery lists some. For other pushes the
// repository is not read: the builder finds a single source package itself.
func (pl *Planner) foundSRPMs(ctx context.Context, project rpmflow.Project, c forge.Change) (choice, bool) {
	if project.Layout != rpmflow.LayoutAuto || project.Spec != "" || len(project.Packages) > 0 ||
		!slices.ContainsFunc(c.Files, project.Sources.TakesSRPM) {
		return choice{}, false
	}
	list, err := pl.sourcePackages(ctx, project, c)
	if err != nil || len(list) == 0 {
		return choice{}, false
	}
	return pl.changedSRPMs(ctx, project, c, list), true
}

// named finds the packages with these names, or takes all.
func (pl *Planner) named(ctx context.Context, project rpmflow.Project, c forge.Change, names []string) (choice,
	*Refusal) {
	all := configuredPackages(project)
	if project.Layout == rpmflow.LayoutSRPM {
		list, err := pl.sourcePackages(ctx, project, c)
		var f *rpmflow.Failure
		switch {
		case errors.As(err, &f):
			return choice{}, refuse(Invalid, f.Hint, "project %q: %v", project.Name, f)
		case err != nil:
			return choice{}, refuse(Unreachable, "try again in a moment",
				"project %q: cannot list its source packages: %s", project.Name, pl.whyNot(project, c, err))
		case len(list) == 0:
			return choice{}, refuse(Invalid, "add one, or set srpm: in the project's configuration",
				"project %q: there is no source package (%s) at %.12s",
				project.Name, strings.Join(project.Sources.SRPMPatterns(), ", "), c.Commit)
		}
		all = nil
		for _, p := range list {
			all = append(all, srpmPackage(project, p))
		}
	}
	if len(names) == 0 {
		return choice{packages: all}, nil
	}
	var chosen choice
	for _, name := range names {
		before := len(chosen.packages)
		for _, p := range all {
			if p.name == name {
				chosen.packages = append(chosen.packages, p)
			}
		}
		if len(chosen.packages) == before {
			var known []string
			for _, p := range all {
				known = append(known, p.name)
			}
			return choice{}, refuse(Invalid, "its packages are: "+some(known, 50), "project %q has no package %q",
				project.Name,
				name)
		}
	}
	slices.SortStableFunc(chosen.packages, func(a, b chosenPackage) int { return strings.Compare(a.key, b.key) })
	chosen.packages = slices.CompactFunc(chosen.packages, func(a, b chosenPackage) bool { return a.key == b.key })
	return chosen, nil
}

// repeated is the package of an old build, with the project's present settings.
func repeated(project rpmflow.Project, old rpmflow.Build) (chosenPackage, *Refusal) {
	if old.Sources.SRPM != "" && (project.Layout == rpmflow.LayoutSRPM || project.Layout == rpmflow.LayoutAuto) {
		p := srpmPackage(project, source.SRPMFile{Path: old.Sources.SRPM, Name: old.Package})
		return p, nil
	}
	if s, ok := project.PackageSource(old.Package); ok {
		return packageOf(project, s), nil
	}
	return chosenPackage{}, refuse(Conflict, "build it under the name that it has now, with rpmflow submit",
		"project %q has no package %q any more", project.Name, old.Package)
}

// changedFiles describes what was changed.
func changedFiles(files []string) string {
	switch len(files) {
	case 0:
		return "no file was changed"
	case 1:
		return "one file was changed (" + some(files, 1) + ")"
	}
	return fmt.Sprintf("%d files were changed (%s)", len(files), some(files, 3))
}

// some lists names, of many only the first.
func some(names []string, most int) string {
	var shown []string
	for _, n := range names[:min(len(names), most)] {
		shown = append(shown, printable.Name(n))
	}
	if len(names) > most {
		shown = append(shown, "…")
	}
	return strings.Join(shown, ", ")
}
