package source

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// clues are the facts for the decision between the layouts.
type clues struct {
	at     git.Entry
	spec   string   // its path
	beside []string // files in the directories in which rpm looks for sources
	files  []string // of the package's directory
	dirs   []string // of the package's directory
	lists  []string // dist-git's lists of sources
	text   spec.Unexpanded
	found  evidence
	// hasSOURCES: the spec is in SPECS, with SOURCES next to it.
	hasSOURCES bool
}

func gatherClues(tree git.Tree, at git.Entry, p *plan, maxFile int64) (*clues, error) {
	l := &clues{at: at, spec: p.spec.Found}
	for _, f := range p.sources {
		l.beside = append(l.beside, f.Name())
	}
	l.lists = p.lists
	top, err := tree.Entries(at)
	if err != nil {
		return nil, err
	}
	for _, e := range top {
		switch {
		case e.IsDir() || e.IsSubmodule():
			l.dirs = append(l.dirs, e.Name())
		default:
			l.files = append(l.files, e.Name())
		}
	}
	if l.found, err = findEvidence(tree, top); err != nil {
		return nil, err
	}
	if dir := path.Dir(l.spec); path.Base(dir) == "SPECS" {
		e, err := tree.Find(path.Join(path.Dir(dir), "SOURCES"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		l.hasSOURCES = err == nil && e.IsDir()
	}
	// A program in a directory of its own, of several, and its spec there or below.
	for dir := path.Dir(l.spec); dir != path.Join(at.Path, ".") && dir != "." && dir != "/"; dir = path.Dir(dir) {
		own, err := tree.Find(dir)
		if err != nil || !own.IsDir() {
			break // it was there a moment ago
		}
		list, err := tree.Entries(own)
		if err != nil {
			return nil, err
		}
		more, err := findEvidence(tree, list)
		if err != nil {
			return nil, err
		}
		l.found.strong, l.found.weak = append(l.found.strong, more.strong...), append(l.found.weak, more.weak...)
	}
	text, err := tree.Head(p.spec.Entry, min(maxFile, 1<<20))
	if err != nil {
		return nil, err
	}
	l.text = spec.ParseUnexpanded(text)
	return l, nil
}

// narrow makes the directory of a spec that the user has named the package's, if its Source0 is there or on a list
// there. The tree around it does not matter then.
func (l *clues) narrow() {
	if dir := packageDir(l.spec); dir != "." && (len(l.lists) > 0 || l.text.Source0In(l.beside) != "") {
		l.at.Path = dir
	}
}

// decide chooses the layout. The question is where Source0 can come from: from a lookaside (dist-git), from a file
// next to the spec or a server (both standard), or out of the tree around the spec (in-tree). For the last there must
// be something to build in it.
func (l *clues) decide() (rpmflow.Layout, string, error) {
	name, place := show(path.Base(l.spec)), in(l.at)
	dir := path.Dir(l.spec)
	ofRPM := path.Base(dir) == "SPECS"
	// A directory of what may be a source tree.
	apart := dir != path.Join(l.at.Path, ".") && dir != path.Join(l.at.Path, "SPECS")
	switch {
	case ofRPM:
		place = "in " + show(dir) + " and SOURCES"
	case apart:
		place = "in " + show(dir)
	}
	if len(l.lists) > 0 {
		return rpmflow.LayoutDistGit, fmt.Sprintf("dist-git: %s and the list of its sources, %s, %s", name,
			some(l.lists),
			place), nil
	}
	if f := l.text.Source0In(l.beside); f != "" {
		kind := "source"
		if spec.IsArchive(f) {
			kind = "tarball"
		}
		return rpmflow.LayoutStandard, fmt.Sprintf("standard: %s and the %s %s %s", name, kind, show(f), place), nil
	}
	if ofRPM && l.hasSOURCES {
		return rpmflow.LayoutStandard, fmt.Sprintf("standard: %s %s", name, place), nil
	}
	if dirs := l.evidence(); len(dirs) > 0 {
		if apart {
			return rpmflow.LayoutInTree, fmt.Sprintf("in-tree: %s lies in a directory of the tree that it packages",
				show(l.spec)), nil
		}
		return rpmflow.LayoutInTree, fmt.Sprintf("in-tree: %s is in a source tree (%s) without a tarball next to it",
			show(l.spec), some(dirs)), nil
	}
	if doubt := l.doubt(); len(doubt) > 0 {
		return "", "", rpmflow.Fail(rpmflow.FailureSource,
			"set layout: in-tree, which makes Source0 of the repository, "+
				"or layout: standard, which takes it from its URL or from the spec's directory",
			"it cannot be known where Source0 of %s comes from: %s", show(l.spec), l.whyDoubt(doubt))
	}
	return rpmflow.LayoutStandard, fmt.Sprintf("standard: %s in a repository without source directories",
		show(l.spec)), nil
}

// evidence is what shows that the tree around the spec is the source. Code alone does, unless Source0 is a URL.
func (l *clues) evidence() []string {
	if l.text.None() {
		return l.found.strong
	}
	dir := path.Dir(l.spec)
	apart := dir != path.Join(l.at.Path, ".") && path.Base(dir) != "SPECS" // a directory for packages
	var code []string
	for _, w := range l.found.weak {
		// A Makefile is the program's if the spec uses it, or is in another directory.
		if !isMakefile(w) || l.text.Local() && (apart || l.text.RunsMake()) {
			code = append(code, w)
		}
	}
	switch {
	case len(l.found.strong) > 0:
		return slices.Concat(l.found.strong, code)
	// In a directory for packages, next to a program's own code, Source0 has the name of the coming release.
	case len(code) > 0 && (l.text.Local() || apart):
		return code
	case !l.text.Local():
		return nil
	case apart:
		return l.others()
	}
	return l.text.Uses(l.others())
}

// others are the entries that may be of a source, and that the spec does not name as Source or Patch.
func (l *clues) others() []string {
	return slices.Concat(l.sourceFiles(), slices.DeleteFunc(slices.Clone(l.dirs), isPackagersDir))
}

// doubt is what contradicts layout standard without being evidence of a source tree.
func (l *clues) doubt() []string {
	switch {
	case l.text.None(), l.text.Source0 != "" && l.text.Local() && !spec.IsArchive(l.text.Source0):
		return nil
	case l.text.Local():
		return l.others()
	}
	return slices.DeleteFunc(slices.Clone(l.found.weak), isMakefile)
}

func (l *clues) whyDoubt(doubt []string) string {
	if l.text.Remote {
		return fmt.Sprintf("it is a URL, and the repository has %s, but nothing to build it with", some(doubt))
	}
	return fmt.Sprintf("it is not next to the spec, and what the repository has (%s) is not recognised as its source",
		some(doubt))
}

// note is a remark on a decision that the packager may not expect.
func (l *clues) note(layout rpmflow.Layout) string {
	if layout != rpmflow.LayoutInTree || !l.text.Remote {
		return ""
	}
	return fmt.Sprintf("Source0 is a URL, and is made of the commit all the same: the repository has %s; "+
		"layout: standard downloads it instead", some(l.evidence()))
}

// sourceFiles are the files at the top that a repository with packaging only would not have.
func (l *clues) sourceFiles() []string {
	ofPackagers := []string{".patch", ".diff", ".md", ".changes", ".rpmlintrc", ".sig", ".asc", ".yaml", ".yml"}
	return slices.DeleteFunc(slices.Clone(l.files), func(f string) bool {
		up := strings.ToUpper(f)
		return strings.HasPrefix(f, ".") || spec.IsSpec(f) || spec.IsTemplate(f) || spec.IsArchive(f) ||
			l.text.Names(f) ||
			strings.HasPrefix(up, "README") || strings.HasPrefix(up, "LICEN") || strings.HasPrefix(up, "COPYING") ||
			strings.EqualFold(f, "makefile") || slices.Contains(ofPackagers, path.Ext(f))
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
