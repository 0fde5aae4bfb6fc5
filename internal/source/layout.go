package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/rpmflow/rpmflow"
)

// plan is what to take from a commit.
type plan struct {
	layout  rpmflow.Layout
	why     string
	spec    file
	sources []file
	srpm    *file // instead of spec and sources
	// lists are those of dist-git; listed is what they name, of the package listedAs.
	lists    []file
	listed   []listed
	listedAs string
}

// findLayout finds the spec, decides on the layout and lists the files that lie beside the spec; or it finds the source package.
func findLayout(ctx context.Context, snap *snapshot, req Request, maxFile int64) (*plan, error) {
	if req.Layout == rpmflow.LayoutSplit {
		return splitPlan(snap, req)
	}
	at, err := snap.directory(req.Sources.Directory)
	if err != nil {
		return nil, err
	}
	if req.Layout == rpmflow.LayoutSRPM {
		return planSRPM(ctx, snap, at, req)
	}
	spec, err := findSpec(ctx, snap, at, req.Spec)
	var nothing *none
	if errors.As(err, &nothing) && (req.Layout == rpmflow.LayoutAuto || req.Layout == "") {
		if p, err := planSRPM(ctx, snap, at, req); !errors.As(err, &nothing) {
			return p, err
		}
	}
	if err != nil {
		return nil, err
	}
	beside, err := snap.beside(spec)
	if err != nil {
		return nil, err
	}
	p := &plan{layout: req.Layout, spec: spec, sources: beside}
	if req.Layout != rpmflow.LayoutStandard && req.Layout != rpmflow.LayoutInTree {
		if p.lists, err = listsAt(snap, packageDir(spec.path), spec.path); err != nil {
			return nil, err
		}
	}
	switch req.Layout {
	case rpmflow.LayoutStandard, rpmflow.LayoutInTree, rpmflow.LayoutDistGit:
		p.why = fmt.Sprintf("%s: %s, as the project's configuration says", p.layout, show(spec.path))
	case rpmflow.LayoutAuto, "":
		l, err := lookAt(snap, at, p, maxFile)
		if err != nil {
			return nil, err
		}
		p.layout, p.why = l.decide()
	default:
		return nil, rpmflow.Fail(rpmflow.FailureSource, "say auto, standard, dist-git, in-tree, srpm or split", "layout %q is unknown", req.Layout)
	}
	if p.layout == rpmflow.LayoutDistGit {
		if len(p.lists) == 0 {
			return nil, rpmflow.Fail(rpmflow.FailureSource, "add the list, or set layout: in the project's configuration to another one",
				"layout dist-git, but neither sources nor .%s.metadata is at %s", strings.TrimSuffix(spec.name(), ".spec"), short(snap.commit.Hash.String()))
		}
		if p.listedAs, p.listed, err = readLists(snap.headOf, p.lists, spec.path); err != nil {
			return nil, err
		}
	}
	if modules, _, err := snap.find(".gitmodules"); err == nil && modules.Mode != filemode.Dir && p.layout == rpmflow.LayoutInTree {
		p.why += "; its submodules are not in the archive"
	}
	return p, nil
}

// place is the directory of a tree that holds the package.
type place struct {
	dir  string // "" for the top
	tree plumbing.Hash
}

// in says in words where something is.
func (p place) in() string {
	if p.dir == "" {
		return "at the top of the repository"
	}
	return "in " + show(p.dir)
}

// directory finds the place that the project names.
func (s *snapshot) directory(want string) (place, error) {
	if want == "" {
		return place{tree: s.commit.TreeHash}, nil
	}
	const hint = "set directory: to one of the repository's directories, from its top on"
	if outside(want) {
		return place{}, rpmflow.Fail(rpmflow.FailureSource, hint, "directory %q lies outside the repository", want)
	}
	e, real, err := s.find(path.Clean(want))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return place{}, err
	}
	if err != nil || e.Mode != filemode.Dir {
		return place{}, rpmflow.Fail(rpmflow.FailureSource, hint, "no directory %s at %s", show(want), short(s.commit.Hash.String()))
	}
	return place{real, e.Hash}, nil
}

// outside says whether a path that somebody has configured leads out of the repository.
func outside(name string) bool {
	clean := path.Clean(name)
	return path.IsAbs(name) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(name, 0)
}

// none is the failure of finding nothing at all: another layout may find something.
type none struct{ failure *rpmflow.Failure }

func (n *none) Error() string { return n.failure.Error() }
func (n *none) Unwrap() error { return n.failure }

// beside lists the files that are the spec's sources by where they lie.
func (s *snapshot) beside(spec file) ([]file, error) {
	dir := path.Dir(spec.path)
	beside, err := s.files(dir)
	if err != nil {
		return nil, err
	}
	beside = slices.DeleteFunc(beside, func(f file) bool { return f.path == spec.path })
	if path.Base(dir) != "SPECS" {
		return beside, nil
	}
	// rpmbuild's own tree has the sources in a directory beside it.
	sources, err := s.files(path.Join(path.Dir(dir), "SOURCES"))
	if err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, f := range sources {
		taken[f.as] = true
	}
	return append(sources, slices.DeleteFunc(beside, func(f file) bool { return taken[f.as] })...), nil
}

// findSpec takes the spec that is asked for, or the only one there is in the package's directory: in itself or in SPECS, else anywhere below.
func findSpec(ctx context.Context, snap *snapshot, at place, want string) (file, error) {
	commit := short(snap.commit.Hash.String())
	if want != "" {
		return specAt(snap, want)
	}
	specs, err := searchSpecs(ctx, snap, at, isSpec)
	if err == nil && len(specs) == 0 {
		specs, err = searchSpecs(ctx, snap, at, isTemplate)
	}
	if err != nil {
		return file{}, err
	}
	where := ""
	if at.dir != "" {
		where = " " + at.in()
	}
	if len(specs) == 0 {
		return file{}, &none{rpmflow.Fail(rpmflow.FailureSource, "add one or set spec: in the project's configuration", "no spec file%s at %s", where, commit)}
	}
	return onlySpec(specs, where+" at "+commit)
}

// searchSpecs lists the specs, or their templates, of the package's directory: those in itself and in SPECS, else those anywhere below.
func searchSpecs(ctx context.Context, snap *snapshot, at place, is func(name string) bool) (specs []file, err error) {
	add := func(f file) {
		// A link to the spec is not a second one.
		if !slices.ContainsFunc(specs, func(s file) bool { return s.path == f.path }) {
			specs = append(specs, f)
		}
	}
	for _, dir := range []string{at.dir, path.Join(at.dir, "SPECS")} {
		files, err := snap.files(dir)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if is(f.as) && is(f.path) {
				add(f)
			}
		}
	}
	if len(specs) > 0 {
		return specs, nil
	}
	err = snap.walk(ctx, at, func(dir string, e object.TreeEntry) error {
		if !is(e.Name) {
			return nil
		}
		f, ok, err := snap.file(dir, e)
		if ok && is(f.path) {
			add(f)
		}
		return err
	})
	return specs, err
}

// onlySpec is the one of a list that is not to have more.
func onlySpec(specs []file, where string) (file, error) {
	if len(specs) == 1 {
		return specs[0], nil
	}
	const most = 20
	var names []string
	for _, f := range specs[:min(len(specs), most)] {
		names = append(names, show(f.path))
	}
	list := strings.Join(names, ", ")
	if n := len(specs) - most; n > 0 {
		list += fmt.Sprintf(" and %d more", n)
	}
	return file{}, rpmflow.Fail(rpmflow.FailureSource, "set spec: in the project's configuration", "%d spec files%s (%s)", len(specs), where, list)
}

func specAt(snap *snapshot, want string) (file, error) {
	if err := checkInside(want); err != nil {
		return file{}, err
	}
	name := path.Clean(want)
	e, real, err := snap.find(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return file{}, err
	}
	if err != nil || (e.Mode != filemode.Regular && e.Mode != filemode.Executable) {
		return file{}, rpmflow.Fail(rpmflow.FailureSource, "correct spec: in the project's configuration, or add the file",
			"no spec file %s at %s", show(name), short(snap.commit.Hash.String()))
	}
	return file{path: real, as: path.Base(name), mode: e.Mode, hash: e.Hash}, nil
}

// checkInside refuses a spec outside of the repository.
func checkInside(want string) error {
	if outside(want) || path.Clean(want) == "." {
		return rpmflow.Fail(rpmflow.FailureSource, "set spec: to a path relative to the top of the repository", "spec %q lies outside the repository", want)
	}
	return nil
}

func isSpec(name string) bool {
	name = path.Base(name)
	return strings.HasSuffix(name, ".spec") && name != ".spec"
}

// look is what the decision between the layouts rests on.
type look struct {
	at     place
	spec   string   // its path
	beside []string // files that lie where rpm would look for sources
	files  []string // of the package's directory
	dirs   []string // of the package's directory
	lists  []string // dist-git's lists of sources
	named  tags
}

func lookAt(snap *snapshot, at place, p *plan, maxFile int64) (*look, error) {
	l := &look{at: at, spec: p.spec.path}
	for _, f := range p.sources {
		l.beside = append(l.beside, f.as)
	}
	for _, f := range p.lists {
		l.lists = append(l.lists, f.as)
	}
	top, err := snap.entries(at.tree)
	if err != nil {
		return nil, err
	}
	for _, e := range top {
		switch {
		case e.Mode == filemode.Dir || e.Mode == filemode.Submodule:
			l.dirs = append(l.dirs, e.Name)
		default:
			l.files = append(l.files, e.Name)
		}
	}
	text, err := snap.head(p.spec.hash, min(maxFile, 1<<20))
	if err != nil {
		return nil, err
	}
	l.named = glance(text)
	return l, nil
}

// decide tells the layouts apart. The question is where Source0 can come from: from a lookaside (dist-git), from a file beside the spec or
// a server (both standard), or out of the tree around the spec (in-tree).
func (l *look) decide() (rpmflow.Layout, string) {
	spec, place := show(path.Base(l.spec)), l.at.in()
	switch path.Dir(l.spec) {
	case path.Join(l.at.dir, "."):
	case path.Join(l.at.dir, "SPECS"):
		place = "in " + show(path.Join(l.at.dir, "SPECS")) + " and SOURCES"
	default:
		return rpmflow.LayoutInTree, fmt.Sprintf("in-tree: %s lies in a directory of the tree that it packages", show(l.spec))
	}
	if len(l.lists) > 0 {
		return rpmflow.LayoutDistGit, fmt.Sprintf("dist-git: %s and the list of its sources, %s, %s", spec, some(l.lists), place)
	}
	if f := l.named.source0In(l.beside); f != "" {
		kind := "source"
		if isArchive(f) {
			kind = "tarball"
		}
		return rpmflow.LayoutStandard, fmt.Sprintf("standard: %s and the %s %s %s", spec, kind, show(f), place)
	}
	if dirs := l.sourceDirs(); len(dirs) > 0 {
		return rpmflow.LayoutInTree, fmt.Sprintf("in-tree: %s is in a source tree (%s) without a tarball beside it", show(l.spec), some(dirs))
	}
	// A flat repository: a small program with its spec, or a spec whose tarball is elsewhere.
	if files := l.sourceFiles(); len(files) > 0 && l.named.source0 != "" && !l.named.remote && isArchive(l.named.source0) {
		return rpmflow.LayoutInTree, fmt.Sprintf("in-tree: %s is among its sources (%s) without a tarball beside it", show(l.spec), some(files))
	}
	return rpmflow.LayoutStandard, fmt.Sprintf("standard: %s in a repository without source directories", show(l.spec))
}

// sourceDirs are the directories at the top but rpmbuild's own and those that dist-git repositories have for tests.
func (l *look) sourceDirs() []string {
	return slices.DeleteFunc(slices.Clone(l.dirs), func(d string) bool {
		return strings.HasPrefix(d, ".") || slices.Contains([]string{"SPECS", "SOURCES", "tests", "plans", "ci"}, d)
	})
}

// sourceFiles are the files at the top that a mere package repository would not have.
func (l *look) sourceFiles() []string {
	return slices.DeleteFunc(slices.Clone(l.files), func(f string) bool {
		up := strings.ToUpper(f)
		return strings.HasPrefix(f, ".") || isSpec(f) || isArchive(f) || l.named.names(f) ||
			strings.HasPrefix(up, "README") || strings.HasPrefix(up, "LICEN") || strings.HasPrefix(up, "COPYING") ||
			slices.Contains([]string{".patch", ".diff", ".md", ".changes", ".rpmlintrc", ".sig", ".asc", ".yaml", ".yml"}, path.Ext(f))
	})
}

func some(names []string) string {
	var shown []string
	for _, n := range names[:min(len(names), 3)] {
		shown = append(shown, show(n))
	}
	if len(names) > 3 {
		shown = append(shown, "…")
	}
	return strings.Join(shown, ", ")
}

// archiveName matches what a source archive ends in.
var archiveName = regexp.MustCompile(`(?i)\.(tar|tar\.[a-z0-9]+|tgz|tbz2?|txz|tzst|zip|crate|gem|7z)$`)

func isArchive(name string) bool { return archiveName.MatchString(name) }

// tags is a light look at a spec that nobody has expanded: good for a guess, never for a build.
type tags struct {
	source0 string // pattern of its file name, as of path.Match; "" if not found
	remote  bool   // Source0 is a URL
	all     []string
}

var (
	tagLine = regexp.MustCompile(`(?mi)^[ \t]*(name|version|source0*|source[1-9][0-9]*|patch[0-9]*)[ \t]*:[ \t]*(\S+)`)
	// macro is one level of braces deep, which covers %{?dist} and %{name}; a deeper one leaves braces, which match nothing.
	macro    = regexp.MustCompile(`%(\{[^{}]*\}|\([^()]*\)|\[[^\]]*\]|[?!]*[A-Za-z_]\w*|%)`)
	metaChar = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
)

func glance(spec []byte) tags {
	var t tags
	literal := map[string]string{}
	matches := tagLine.FindAllStringSubmatch(string(spec), -1)
	for _, m := range matches {
		if tag := strings.ToLower(m[1]); (tag == "name" || tag == "version") && literal[tag] == "" && !strings.Contains(m[2], "%") {
			literal[tag] = m[2]
		}
	}
	for _, m := range matches {
		tag := strings.ToLower(m[1])
		if tag == "name" || tag == "version" {
			continue
		}
		var b strings.Builder
		last := 0
		for _, at := range macro.FindAllStringIndex(m[2], -1) {
			b.WriteString(metaChar.Replace(m[2][last:at[0]]))
			last = at[1]
			name := strings.Trim(m[2][at[0]:at[1]], "%{}")
			if value, ok := literal[strings.ToLower(name)]; ok {
				b.WriteString(metaChar.Replace(value))
			} else {
				b.WriteByte('*')
			}
		}
		b.WriteString(metaChar.Replace(m[2][last:]))
		pattern := b.String()
		name := pattern[strings.LastIndexByte(pattern, '/')+1:]
		if strings.TrimRight(tag, "0") == "source" && t.source0 == "" {
			t.source0, t.remote = name, strings.Contains(pattern, "://")
		}
		t.all = append(t.all, name)
	}
	return t
}

// source0In is the file that Source0 most likely is. Where its name is known only in part, it must be an archive.
func (t tags) source0In(files []string) string {
	for _, f := range files {
		if t.source0 == "" { // made by a macro, or in an included file
			if isArchive(f) {
				return f
			}
			continue
		}
		if ok, err := path.Match(t.source0, f); err == nil && ok && (isArchive(f) || !strings.Contains(t.source0, "*")) {
			return f
		}
	}
	return ""
}

// names reports whether the spec lists the file as a source or a patch. A name that is nothing but macros says nothing.
func (t tags) names(file string) bool {
	return slices.ContainsFunc(t.all, func(pattern string) bool {
		ok, err := path.Match(pattern, file)
		return err == nil && ok && strings.Trim(pattern, "*") != ""
	})
}
