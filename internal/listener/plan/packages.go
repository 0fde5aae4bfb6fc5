package plan

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/source"
)

// part is one package of a project: what its builds have that those of another do not.
type part struct {
	name string
	// key is what the ids of its builds are derived from: two source packages in a repository may have the same name.
	key     string
	layout  rpmflow.Layout
	spec    string
	sources rpmflow.Sources
}

// choice is which packages a push is to build.
type choice struct {
	parts  []part
	reason string   // why there are none
	note   string   // what the builds are to say of it
	not    []string // packages that are not built while others are, in words
}

// parts are the packages of a project whose packages are configured.
func parts(project rpmflow.Project) []part {
	var all []part
	for _, s := range project.PackageSources() {
		all = append(all, partOf(project, s))
	}
	return all
}

func partOf(project rpmflow.Project, s rpmflow.PackageSource) part {
	sources := project.Sources
	sources.Directory = s.Directory
	return part{name: s.Name, key: s.Name, layout: project.Layout, spec: s.SpecPath(), sources: sources}
}

// srpmPart is a source package as one of its own.
func srpmPart(project rpmflow.Project, p source.SRPMFile) part {
	sources := project.Sources
	sources.SRPM = p.Path
	return part{name: srpmName(project, p), key: p.Path, layout: rpmflow.LayoutSRPM, sources: sources}
}

// srpmName takes the name in the header, else the one in the file's name; a build of what has none that can be used says so when it fails.
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

// choose finds out which packages a push has touched. Where that cannot be known it takes all of them, and says why: better a build
// too many than a push without one.
func (pl *Planner) choose(ctx context.Context, project rpmflow.Project, c forge.Change) choice {
	if project.Layout == rpmflow.LayoutSRPM {
		return pl.chooseSRPMs(ctx, project, c)
	}
	if project.Layout == rpmflow.LayoutSplit { // either of its repositories is the one package
		return choice{parts: parts(project)}
	}
	if chosen, ok := pl.foundSRPMs(ctx, project, c); ok {
		return chosen
	}
	packages := project.PackageSources()
	if !slices.ContainsFunc(packages, func(s rpmflow.PackageSource) bool { return len(s.Filter()) > 0 }) {
		return pl.withoutAbsent(ctx, project, c, choice{parts: parts(project)}, false)
	}
	files, why := pl.changed(ctx, project, c)
	if why != "" {
		chosen := choice{parts: parts(project), note: "built without regard to the files that were changed: " + why}
		return pl.withoutAbsent(ctx, project, c, chosen, c.Before != "" && !rpmflow.IsZeroCommit(c.Before))
	}
	var chosen choice
	var filters []string
	for _, s := range packages {
		if s.Touched(files) {
			chosen.parts = append(chosen.parts, partOf(project, s))
		}
		filters = append(filters, fmt.Sprintf("%s (%s)", s.Name, strings.Join(s.Filter(), ", ")))
	}
	if len(chosen.parts) == 0 {
		chosen.reason = fmt.Sprintf("no package is touched: %s, and looked for were those of %s", changedFiles(files), some(filters, 20))
	}
	return pl.withoutAbsent(ctx, project, c, chosen, false)
}

// changed lists the files that a push has changed, or says why they are not known.
func (pl *Planner) changed(ctx context.Context, project rpmflow.Project, c forge.Change) (files []string, why string) {
	switch {
	case rpmflow.IsZeroCommit(c.Before):
		return nil, c.Ref + " is new"
	case c.Before == "":
		return nil, "the push does not say what was there before"
	case c.Complete:
		return c.Files, ""
	}
	files, err := look(ctx, pl, project.Name, func(ctx context.Context) ([]string, error) {
		return pl.o.Repositories.Changed(ctx, asked(project, c), c.Before)
	})
	if err != nil {
		return nil, pl.whyNot(project, c, err)
	}
	return files, ""
}

// asked is what to look at.
func asked(project rpmflow.Project, c forge.Change) source.Request {
	return source.Request{Project: project.Name, URL: project.URL, Ref: c.Ref, Commit: c.Commit, Layout: project.Layout, Spec: project.Spec, Sources: project.Sources}
}

// chooseSRPMs takes the source packages that a push has added or changed.
func (pl *Planner) chooseSRPMs(ctx context.Context, project rpmflow.Project, c forge.Change) choice {
	list, err := look(ctx, pl, project.Name, func(ctx context.Context) ([]source.SRPMFile, error) {
		return pl.o.Repositories.SourcePackages(ctx, asked(project, c))
	})
	if err != nil {
		return pl.guessSRPMs(project, c, pl.whyNot(project, c, err))
	}
	return pl.changedSRPMs(ctx, project, c, list)
}

func (pl *Planner) changedSRPMs(ctx context.Context, project rpmflow.Project, c forge.Change, list []source.SRPMFile) choice {
	patterns := strings.Join(project.Sources.SRPMPatterns(), ", ")
	if len(list) == 0 {
		return choice{reason: fmt.Sprintf("there is no source package (%s) at %.12s%s", patterns, c.Commit, removedSRPMs(project, c.Files, nil))}
	}
	files, why := pl.changed(ctx, project, c)
	var chosen choice
	if why != "" {
		chosen.note = "built without regard to the files that were changed: " + why
	}
	for _, p := range list {
		if why != "" || slices.Contains(files, p.Path) {
			chosen.parts = append(chosen.parts, srpmPart(project, p))
		}
	}
	if len(chosen.parts) == 0 {
		chosen.reason = fmt.Sprintf("no source package (%s) was added or changed: %s%s", patterns, changedFiles(files), removedSRPMs(project, files, list))
	}
	return chosen
}

// guessSRPMs goes by the delivery where the repository cannot be looked at; and where that does not tell, the builder has to look.
func (pl *Planner) guessSRPMs(project rpmflow.Project, c forge.Change, why string) choice {
	note := "the listener could not look for source packages: " + why
	if !c.Complete {
		return choice{parts: []part{{name: project.Name, key: project.Name, layout: rpmflow.LayoutSRPM, sources: project.Sources}}, note: note}
	}
	chosen := choice{note: note + "; the package's name is that of its file"}
	for _, f := range c.Files {
		if project.Sources.TakesSRPM(f) && !slices.Contains(c.Gone, f) {
			chosen.parts = append(chosen.parts, srpmPart(project, source.SRPMFile{Path: f}))
		}
	}
	if len(chosen.parts) == 0 {
		chosen.reason = fmt.Sprintf("no source package (%s) was added or changed: %s", strings.Join(project.Sources.SRPMPatterns(), ", "), changedFiles(c.Files)+removedSRPMs(project, c.Gone, nil))
	}
	return chosen
}

// foundSRPMs recognises a repository of source packages whose project does not say that it is one, by a push that is known to bring some. Other
// pushes are not worth a look at the repository: the builder finds a single source package by itself.
func (pl *Planner) foundSRPMs(ctx context.Context, project rpmflow.Project, c forge.Change) (choice, bool) {
	if project.Layout != rpmflow.LayoutAuto || project.Spec != "" || len(project.Packages) > 0 || !slices.ContainsFunc(c.Files, project.Sources.TakesSRPM) {
		return choice{}, false
	}
	list, err := look(ctx, pl, project.Name, func(ctx context.Context) ([]source.SRPMFile, error) {
		return pl.o.Repositories.SourcePackages(ctx, asked(project, c))
	})
	if err != nil || len(list) == 0 {
		return choice{}, false
	}
	return pl.changedSRPMs(ctx, project, c, list), true
}

// named takes the packages that somebody asks for by their names, or all.
func (pl *Planner) named(ctx context.Context, project rpmflow.Project, c forge.Change, names []string) (choice, *Refusal) {
	all := parts(project)
	if project.Layout == rpmflow.LayoutSRPM {
		list, err := look(ctx, pl, project.Name, func(ctx context.Context) ([]source.SRPMFile, error) {
			return pl.o.Repositories.SourcePackages(ctx, asked(project, c))
		})
		var f *rpmflow.Failure
		switch {
		case errors.As(err, &f):
			return choice{}, refuse(Invalid, f.Hint, "project %q: %v", project.Name, f)
		case err != nil:
			return choice{}, refuse(Unreachable, "try again in a moment", "project %q: which source packages there are is not known: %s", project.Name, pl.whyNot(project, c, err))
		case len(list) == 0:
			return choice{}, refuse(Invalid, "add one, or set srpm: in the project's configuration", "project %q: there is no source package (%s) at %.12s",
				project.Name, strings.Join(project.Sources.SRPMPatterns(), ", "), c.Commit)
		}
		all = nil
		for _, p := range list {
			all = append(all, srpmPart(project, p))
		}
	}
	if len(names) == 0 {
		return choice{parts: all}, nil
	}
	var chosen choice
	for _, name := range names {
		before := len(chosen.parts)
		for _, p := range all {
			if p.name == name {
				chosen.parts = append(chosen.parts, p)
			}
		}
		if len(chosen.parts) == before {
			var known []string
			for _, p := range all {
				known = append(known, p.name)
			}
			return choice{}, refuse(Invalid, "its packages are: "+some(known, 50), "project %q has no package %q", project.Name, name)
		}
	}
	slices.SortStableFunc(chosen.parts, func(a, b part) int { return strings.Compare(a.key, b.key) })
	chosen.parts = slices.CompactFunc(chosen.parts, func(a, b part) bool { return a.key == b.key })
	return chosen, nil
}

// repeated is the package that a build was of, as the project has it now.
func repeated(project rpmflow.Project, old rpmflow.Build) (part, *Refusal) {
	if old.Sources.SRPM != "" && (project.Layout == rpmflow.LayoutSRPM || project.Layout == rpmflow.LayoutAuto) {
		p := srpmPart(project, source.SRPMFile{Path: old.Sources.SRPM, Name: old.Package})
		return p, nil
	}
	if s, ok := project.PackageSource(old.Package); ok {
		return partOf(project, s), nil
	}
	return part{}, refuse(Conflict, "build it under the name that it has now, with rpmflow submit", "project %q has no package %q any more", project.Name, old.Package)
}

// changedFiles says in words what was changed.
func changedFiles(files []string) string {
	switch len(files) {
	case 0:
		return "no file was changed"
	case 1:
		return "one file was changed (" + some(files, 1) + ")"
	}
	return fmt.Sprintf("%d files were changed (%s)", len(files), some(files, 3))
}

// some lists names, the first of them only where there are many.
func some(names []string, most int) string {
	var shown []string
	for _, n := range names[:min(len(names), most)] {
		if !utf8.ValidString(n) || strings.ContainsFunc(n, func(c rune) bool { return !unicode.IsPrint(c) }) {
			n = strconv.Quote(n)
		}
		shown = append(shown, n)
	}
	if len(names) > most {
		shown = append(shown, "…")
	}
	return strings.Join(shown, ", ")
}
