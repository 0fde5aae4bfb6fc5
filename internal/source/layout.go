package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/git"
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

// findLayout finds the spec, decides on the layout and lists the files that are next to the spec; or it finds the
// source package.
func findLayout(ctx context.Context, tree git.Tree, req Request, maxFile int64) (*plan, error) {
	if req.Layout == rpmflow.LayoutSplit {
		return splitPlan(tree, req)
	}
	_, named := namedSpec(tree)
	at, err := findDirectory(tree, req.Sources.Directory)
	if err != nil {
		return nil, err
	}
	if req.Layout == rpmflow.LayoutSRPM {
		return planSRPM(ctx, tree, at, req)
	}
	spec, err := findSpec(ctx, tree, at, req.Spec)
	var nothing *nothingFound
	if errors.As(err, &nothing) && (req.Layout == rpmflow.LayoutAuto || req.Layout == "") {
		if p, err := planSRPM(ctx, tree, at, req); !errors.As(err, &nothing) {
			return p, err
		}
	}
	if err != nil {
		return nil, err
	}
	beside, err := filesBeside(tree, spec)
	if err != nil {
		return nil, err
	}
	p := &plan{layout: req.Layout, spec: spec, sources: beside}
	if req.Layout != rpmflow.LayoutStandard && req.Layout != rpmflow.LayoutInTree {
		if p.lists, p.readList, err = listsAt(tree, packageDir(spec.Found), spec.Found); err != nil {
			return nil, err
		}
	}
	switch req.Layout {
	case rpmflow.LayoutStandard, rpmflow.LayoutInTree, rpmflow.LayoutDistGit:
		p.why = fmt.Sprintf("%s: %s, as the project's configuration says", p.layout, show(spec.Found))
	case rpmflow.LayoutAuto, "":
		l, err := gatherClues(tree, at, p, maxFile)
		if err != nil {
			return nil, err
		}
		if named {
			l.narrow()
		}
		if p.layout, p.why, err = l.decide(); err != nil {
			return nil, err
		}
		p.note = l.note(p.layout)
		if req.WorkTree != nil && p.layout == rpmflow.LayoutStandard {
			p.clues = l
		}
	default:
		return nil, rpmflow.Fail(rpmflow.FailureSource, "set it to auto, standard, dist-git, in-tree, srpm or split",
			"layout %q is unknown", req.Layout)
	}
	if p.layout == rpmflow.LayoutDistGit {
		if len(p.lists) == 0 {
			return nil, rpmflow.Fail(rpmflow.FailureSource,
				"add the list, or set layout: in the project's configuration to another one",
				"layout dist-git, but there is neither sources nor .%s.metadata%s",
				strings.TrimSuffix(spec.Name(), ".spec"),
				tree.Where())
		}
		if p.listedAs, p.listed, err = fetch.ReadLists(p.readList, p.lists, spec.Found); err != nil {
			return nil, err
		}
	}
	if at.Path != "" && p.layout == rpmflow.LayoutInTree {
		p.why += "; the archive is made of " + show(at.Path) + " alone"
	}
	if modules, err := tree.Find(".gitmodules"); err == nil && !modules.IsDir() && p.layout == rpmflow.LayoutInTree {
		where := "not in the archive"
		switch {
		case req.WorkTree != nil:
			where = "in the archive, as they are checked out"
		case req.Sources.Submodules:
			where = "in the archive, too"
		}
		p.why += "; its submodules are " + where
	}
	return p, nil
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
	if w, is := tree.(*git.WorkTree); is {
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
