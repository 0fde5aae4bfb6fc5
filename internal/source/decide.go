package source

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/rpmflow/rpmflow"
)

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
	l := &look{at: at, spec: p.spec.found()}
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
	l.named = glance(preambles(text))
	return l, nil
}

// alone makes the directory of a spec that somebody has named the package's, if its Source0 is there or on a list there: what the tree around it is does
// not matter then.
func (l *look) alone() {
	if dir := packageDir(l.spec); dir != "." && (len(l.lists) > 0 || l.named.source0In(l.beside) != "") {
		l.at.dir = dir
	}
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
