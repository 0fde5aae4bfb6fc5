package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
)

// plan is what to take from a commit.
type plan struct {
	layout  rpmflow.Layout
	why     string
	note    string // for the record
	spec    git.File
	sources []git.File
	srpm    *git.File // instead of spec and sources
	// lists are the names of those of dist-git; listed is what they name, of the package listedAs.
	lists    []string
	readList fetch.ListReader
	listed   []fetch.Listed
	listedAs string
	// clues are those of a guess about a directory on disk, which rpm may prove wrong; nil: it is not a guess.
	clues *clues
}

// finder finds what to take from a commit, or from a directory on disk.
type finder struct {
	tree    git.Tree
	req     Request
	maxFile int64
}

// layouts is how each of rpmflow.Layouts finds its spec and sources.
func (f finder) layouts() map[rpmflow.Layout]func(context.Context) (*plan, error) {
	return map[rpmflow.Layout]func(context.Context) (*plan, error){
		rpmflow.LayoutAuto:     f.auto,     // spec and files next to it, or a source package; decide.go
		rpmflow.LayoutStandard: f.standard, // spec and files next to it
		rpmflow.LayoutDistGit:  f.distGit,  // the same, and the files in lists next to the spec
		rpmflow.LayoutInTree:   f.inTree,   // the same as standard; source0.go makes Source0
		rpmflow.LayoutSRPM:     f.srpm,     // a source package; srpm.go
		rpmflow.LayoutSplit:    f.split,    // spec and files of the packaging repository; split.go
	}
}

// find decides on the layout, and finds the spec with its sources, or the source package.
func (f finder) find(ctx context.Context) (*plan, error) {
	if find, ok := f.layouts()[cmp.Or(f.req.Layout, rpmflow.LayoutAuto)]; ok {
		return find(ctx)
	}
	return nil, rpmflow.Fail(rpmflow.FailureSource, "set it to one of "+strings.Join(rpmflow.LayoutNames(), ", "),
		"layout %q is unknown", f.req.Layout)
}

func (f finder) standard(ctx context.Context) (*plan, error) {
	p, _, err := f.spec(ctx)
	return p, err
}

func (f finder) inTree(ctx context.Context) (*plan, error) {
	p, at, err := f.spec(ctx)
	if err == nil {
		f.explainArchive(p, at)
	}
	return p, err
}

func (f finder) distGit(ctx context.Context) (*plan, error) {
	p, _, err := f.spec(ctx)
	if err == nil {
		err = f.findLists(p)
	}
	if err == nil {
		err = p.readLists(f.tree)
	}
	return p, err
}

func (f finder) srpm(ctx context.Context) (*plan, error) {
	at, err := findDirectory(f.tree, f.req.Sources.Directory)
	if err != nil {
		return nil, err
	}
	return planSRPM(ctx, f.tree, at, f.req)
}

// auto decides by what there is.
func (f finder) auto(ctx context.Context) (*plan, error) {
	p, at, err := f.spec(ctx)
	var nothing *nothingFound
	if errors.As(err, &nothing) {
		if p, err := planSRPM(ctx, f.tree, at, f.req); !errors.As(err, &nothing) {
			return p, err
		}
	}
	if err == nil {
		err = f.findLists(p)
	}
	if err != nil {
		return nil, err
	}
	l, err := gatherClues(f.tree, at, p, f.maxFile)
	if err != nil {
		return nil, err
	}
	if _, named := namedSpec(f.tree); named {
		l.narrow()
	}
	if p.layout, p.why, err = l.decide(); err != nil {
		return nil, err
	}
	p.note = l.note(p.layout)
	switch p.layout {
	case rpmflow.LayoutDistGit:
		return p, p.readLists(f.tree)
	case rpmflow.LayoutInTree:
		f.explainArchive(p, at)
	case rpmflow.LayoutStandard:
		if f.req.WorkTree != nil {
			p.clues = l
		}
	}
	return p, nil
}

// spec finds the package's directory, the spec, and the files that are next to it. The layout is the configured one.
func (f finder) spec(ctx context.Context) (p *plan, at git.Entry, err error) {
	if at, err = findDirectory(f.tree, f.req.Sources.Directory); err != nil {
		return nil, at, err
	}
	p = &plan{layout: f.req.Layout}
	if p.spec, err = findSpec(ctx, f.tree, at, f.req.Spec); err != nil {
		return nil, at, err
	}
	p.why = fmt.Sprintf("%s: %s, as the project's configuration says", p.layout, show(p.spec.Found))
	p.sources, err = filesBeside(f.tree, p.spec)
	return p, at, err
}

func (f finder) findLists(p *plan) (err error) {
	p.lists, p.readList, err = listsAt(f.tree, packageDir(p.spec.Found), p.spec.Found)
	return err
}

// readLists reads the lists of dist-git.
func (p *plan) readLists(tree git.Tree) (err error) {
	if len(p.lists) == 0 {
		return rpmflow.Fail(rpmflow.FailureSource,
			"add the list, or set layout: in the project's configuration to another one",
			"layout dist-git, but there is neither sources nor .%s.metadata%s",
			strings.TrimSuffix(p.spec.Name(), ".spec"), tree.Where())
	}
	p.listedAs, p.listed, err = fetch.ReadLists(p.readList, p.lists, p.spec.Found)
	return err
}

// explainArchive adds what the archive of the tree has in it.
func (f finder) explainArchive(p *plan, at git.Entry) {
	if at.Path != "" {
		p.why += "; the archive is made of " + show(at.Path) + " alone"
	}
	if modules, err := f.tree.Find(".gitmodules"); err != nil || modules.IsDir() {
		return
	}
	where := "not in the archive"
	switch {
	case f.req.WorkTree != nil:
		where = "in the archive, as they are checked out"
	case f.req.Sources.Submodules:
		where = "in the archive, too"
	}
	p.why += "; its submodules are " + where
}

// in returns in words where a directory is.
func in(dir git.Entry) string {
	if dir.Path == "" {
		return "at the top of the repository"
	}
	return "in " + show(dir.Path)
}

// findDirectory finds the directory that the project names.
func findDirectory(tree git.Tree, want string) (git.Entry, error) {
	if want == "" {
		return tree.Root(), nil
	}
	const hint = "set directory: to one of the repository's directories, from its top on"
	if git.Outside(want) {
		return git.Entry{}, rpmflow.Fail(rpmflow.FailureSource, hint, "directory %q is outside the repository", want)
	}
	e, err := tree.Find(want)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return git.Entry{}, err
	}
	if err != nil || !e.IsDir() {
		return git.Entry{}, rpmflow.Fail(rpmflow.FailureSource, hint, "no directory %s%s", show(want), tree.Where())
	}
	return e, nil
}

// nothingFound is the failure of a layout that is not in the tree: another layout may find something.
type nothingFound struct{ failure *rpmflow.Failure }

func (n *nothingFound) Error() string { return n.failure.Error() }
func (n *nothingFound) Unwrap() error { return n.failure }

// filesBeside lists the files that are the spec's sources by where they are: next to the spec as it was found, then, if
// that is a link, next to what it leads to. For a spec in SPECS, as rpmbuild has it, that is SOURCES and then SPECS.
func filesBeside(tree git.Tree, spec git.File) ([]git.File, error) {
	if w, is := tree.(*worktree.Tree); is {
		return besideOnDisk(w, sourceDirs(w, spec.Found)), nil
	}
	var dirs []string
	for _, name := range []string{spec.Found, spec.Path} {
		dir := path.Dir(name)
		if path.Base(dir) == "SPECS" {
			dirs = append(dirs, path.Join(path.Dir(dir), "SOURCES"))
		}
		dirs = append(dirs, dir)
	}
	var beside []git.File
	taken := map[string]bool{}
	for _, dir := range dirs {
		files, err := git.Files(tree, dir)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if !taken[f.Name()] && f.Path != spec.Path {
				taken[f.Name()] = true
				beside = append(beside, f)
			}
		}
	}
	return beside, nil
}
