package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/rpmflow/rpmflow"
)

// plan is what to take from a commit.
type plan struct {
	layout  rpmflow.Layout
	why     string
	note    string // for the record
	spec    file
	sources []file
	srpm    *file // instead of spec and sources
	// lists are those of dist-git; listed is what they name, of the package listedAs.
	lists    []file
	listed   []listed
	listedAs string
	// look is what a guess about a directory on disk rests on, which rpm may prove wrong; nil: it is no guess.
	look *look
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
		if p.lists, err = listsAt(snap, packageDir(spec.found()), spec.found()); err != nil {
			return nil, err
		}
	}
	switch req.Layout {
	case rpmflow.LayoutStandard, rpmflow.LayoutInTree, rpmflow.LayoutDistGit:
		p.why = fmt.Sprintf("%s: %s, as the project's configuration says", p.layout, show(spec.found()))
	case rpmflow.LayoutAuto, "":
		l, err := lookAt(snap, at, p, maxFile)
		if err != nil {
			return nil, err
		}
		if snap.disk != nil && snap.disk.spec != "" {
			l.alone()
		}
		if p.layout, p.why, err = l.decide(); err != nil {
			return nil, err
		}
		p.note = l.note(p.layout)
		if snap.disk != nil && p.layout == rpmflow.LayoutStandard {
			p.look = l
		}
	default:
		return nil, rpmflow.Fail(rpmflow.FailureSource, "say auto, standard, dist-git, in-tree, srpm or split", "layout %q is unknown", req.Layout)
	}
	if p.layout == rpmflow.LayoutDistGit {
		if len(p.lists) == 0 {
			return nil, rpmflow.Fail(rpmflow.FailureSource, "add the list, or set layout: in the project's configuration to another one",
				"layout dist-git, but there is neither sources nor .%s.metadata%s", strings.TrimSuffix(spec.as,
					".spec"), snap.where())
		}
		if p.listedAs, p.listed, err = readLists(snap.headOf, p.lists, spec.found()); err != nil {
			return nil, err
		}
	}
	if at.dir != "" && p.layout == rpmflow.LayoutInTree {
		p.why += "; the archive is made of " + show(at.dir) + " alone"
	}
	if modules, _, err := snap.find(".gitmodules"); err == nil && modules.Mode != filemode.Dir && p.layout == rpmflow.LayoutInTree {
		where := "not in the archive"
		switch {
		case snap.disk != nil:
			where = "in the archive, as they are checked out"
		case req.Sources.Submodules:
			where = "in the archive, too"
		}
		p.why += "; its submodules are " + where
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

// beside lists the files that are the spec's sources by where they lie: beside the spec as it was found, then, where that is a link, beside
// what it leads to. For a spec in SPECS, as rpmbuild has it, that is SOURCES and then SPECS.
func (s *snapshot) beside(spec file) ([]file, error) {
	if s.disk != nil {
		return s.disk.beside(s.disk.sourceDirs(spec.found())), nil
	}
	var dirs []string
	for _, name := range []string{spec.found(), spec.path} {
		dir := path.Dir(name)
		if path.Base(dir) == "SPECS" {
			dirs = append(dirs, path.Join(path.Dir(dir), "SOURCES"))
		}
		dirs = append(dirs, dir)
	}
	var beside []file
	taken := map[string]bool{}
	for _, dir := range dirs {
		files, err := s.files(dir)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if !taken[f.as] && f.path != spec.path {
				taken[f.as] = true
				beside = append(beside, f)
			}
		}
	}
	return beside, nil
}

// where says in words what was looked at.
func (s *snapshot) where() string {
	if s.disk != nil {
		return " in " + show(s.disk.dir)
	}
	return " at " + short(s.commit.Hash.String())
}
