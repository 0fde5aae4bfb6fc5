package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// placeSettings are the keys that say where in a repository a project's package is, and which changes are to build
// it.
func placeSettings(p *rpmflow.Project) []setting {
	return []setting{
		{path: "directory", field: text(&p.Sources.Directory, "path", orEmpty(checkDirectory)),
			doc: "Directory of the repository that holds the package; " +
				"empty: its top. Spec, SPECS and SOURCES are looked for from there on; " +
				"in layout in-tree the archive is made of it alone."},
		{path: "paths", field: many(&p.Paths, "list of patterns", pathmatch.CheckPath),
			doc: "Only pushes that change such a file are built, as patterns. Empty: everything below directory."},
		{path: "srpm", field: many(&p.Sources.SRPMs, "list of patterns", pathmatch.CheckPath),
			doc: "For layout srpm: patterns of the source packages that are rebuilt, from directory on. " +
				"Empty: *.src.rpm and *.srpm in it."},
	}
}

// packageSettings are the keys of one package of several in a repository.
func packageSettings(s *rpmflow.PackageSource) []setting {
	return []setting{
		{path: "name", must: true, example: "hello", field: text(&s.Name, "text", rpmflow.CheckPackageName),
			doc: "Its name in builds and events."},
		{path: "directory", example: "packages/hello", field: text(&s.Directory, "path", orEmpty(checkDirectory)),
			doc: "Directory of the repository that holds it. In layout in-tree the archive has this directory alone. " +
				"Empty: its top."},
		{path: "spec", field: text(&s.Spec, "path", orEmpty(checkSpec)),
			doc: "Path of the spec, from the package's directory on; empty: there is exactly one."},
		{path: "paths", example: "['packages/hello/**', 'macros/*', '!**/README.md']",
			field: many(&s.Paths, "list of patterns", pathmatch.CheckPath),
			doc: "Files, from the repository's top on, whose change builds the package, as those of a project; " +
				"empty: everything below its directory."},
	}
}

// packages reads the packages of a project's entry and checks what several keys say together.
func (l *loader) packages(e entry, p *rpmflow.Project) {
	entries := e.lists["packages"]
	for _, inside := range entries {
		var s rpmflow.PackageSource
		l.apply(inside.scope, packageSettings(&s), inside.keys)
		l.firstTakes(inside, "paths", s.Paths)
		p.Packages = append(p.Packages, s)
	}
	l.duplicates(entries)
	l.firstTakes(e, "paths", p.Paths)
	l.firstTakes(e, "srpm", p.Sources.SRPMs)
	l.firstTakes(e, "branches", p.Branches)
	l.firstTakes(e, "tags", p.Tags)
	l.firstTakes(e, "version_tags", p.Sources.VersionTags)
	srpms := p.Layout == rpmflow.LayoutSRPM || len(p.Sources.SRPMs) > 0
	if srpms && p.Layout == rpmflow.LayoutAuto && len(entries) == 0 {
		p.Layout = rpmflow.LayoutSRPM
	}
	inSRPM := []string{"version_tags", "substitute", "lookaside", "source_mirrors", "checksums"}
	if p.Sources.Version != "" {
		inSRPM = append(inSRPM, "version")
	}
	noArchive := p.Layout != rpmflow.LayoutAuto && !p.Layout.Archive()
	// Keys that mean nothing, because of the layout or of other keys.
	for _, rule := range []struct {
		set  bool
		keys []string
		why  string
	}{
		{len(entries) > 0, []string{"directory", "spec", "paths"},
			"cannot be set together with packages: move it into the entries of packages that it is about"},
		{srpms, []string{"packages"}, "is set for a project of source packages, whose packages " +
			"are found: remove packages, or layout: srpm and srpm"},
		{p.Layout == rpmflow.LayoutSplit, []string{"packages"},
			"has no effect in layout split: make a project of each package"},
		{p.Layout == rpmflow.LayoutSplit, []string{"paths"},
			"has no effect in layout split, in which every push to either repository is built: remove it"},
		{srpms && p.Layout != rpmflow.LayoutSRPM && len(entries) == 0, []string{"srpm"},
			fmt.Sprintf("has no effect in layout %s: remove it, or set layout: srpm", p.Layout)},
		{srpms, []string{"spec", "paths"},
			"has no effect in layout srpm, in which the source packages that have changed are built: remove it"},
		{srpms, inSRPM, "has no effect in layout srpm, in which source packages are rebuilt as they are: remove it"},
		{noArchive && p.Sources.Submodules, []string{"submodules"}, fmt.Sprintf("has no effect in layout %s, in which "+
			"no archive is made of the tree: remove it, or set layout: in-tree", p.Layout)},
	} {
		for _, key := range rule.keys {
			if from, ok := written(e, key); ok && rule.set {
				l.problem(from, within(e.scope, key), errors.New(rule.why))
			}
		}
	}
}

// written returns where an entry has a key that is not empty.
func written(e entry, key string) (place, bool) {
	if list := e.lists[key]; len(list) > 0 {
		return list[0].from, true
	}
	g, ok := e.keys[key]
	return g.from, ok && !g.bad && strings.Join(g.values, "") != ""
}

// firstTakes refuses lists of patterns that take nothing.
func (l *loader) firstTakes(e entry, key string, patterns []string) {
	if len(patterns) > 0 && strings.HasPrefix(patterns[0], "!") {
		l.wrong(e, key, "begins with %s, which excludes from nothing: write first what is included, such as '**'",
			quote(patterns[0]))
	}
}
