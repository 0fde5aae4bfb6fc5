package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/pathmatch"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// findSRPMs lists the source packages of a directory: those in it, or those below that match one of the patterns.
func findSRPMs(ctx context.Context, tree git.Tree, at git.Entry, patterns []string) ([]git.File, error) {
	var found []git.File
	add := func(f git.File) { // a link to one is not a second one
		if !slices.ContainsFunc(found, func(o git.File) bool { return o.Path == f.Path }) {
			found = append(found, f)
		}
	}
	if len(patterns) == 0 {
		files, err := git.Files(tree, at.Path)
		for _, f := range files {
			if rpmflow.IsSRPM(f.Name()) {
				add(f)
			}
		}
		return found, err
	}
	err := git.Walk(ctx, tree, at, func(e git.Entry) error {
		if !pathmatch.MatchList(patterns, below(at.Path, e.Path)) {
			return nil
		}
		f, ok, err := git.AsFile(tree, e)
		if ok {
			add(f)
		}
		return err
	})
	return found, err
}

// below is the rest of a path after its directory.
func below(dir, name string) string {
	if dir == "" {
		return name
	}
	return strings.TrimPrefix(name, dir+"/")
}

// planSRPM takes the source package that is asked for, or the only one there is.
func planSRPM(ctx context.Context, tree git.Tree, at git.Entry, req Request) (*plan, error) {
	if req.Sources.SRPM != "" {
		f, err := srpmAt(tree, req.Sources.SRPM)
		return &plan{layout: rpmflow.LayoutSRPM, why: "srpm: " + show(f.Path) + " is rebuilt", srpm: &f}, err
	}
	list, err := findSRPMs(ctx, tree, at, req.Sources.SRPMs)
	if err != nil {
		return nil, err
	}
	where := tree.Where()
	if at.Path != "" {
		where = " " + in(at) + where
	}
	switch len(list) {
	case 0:
		return nil, &nothingFound{
			rpmflow.Fail(rpmflow.FailureSource, "add one, or set srpm: or layout: in the project's configuration",
				"no source package (%s)%s", strings.Join(req.Sources.SRPMPatterns(), ", "), where),
		}
	case 1:
		why := fmt.Sprintf("srpm: the source package %s and no spec %s", show(list[0].Path), in(at))
		if req.Layout == rpmflow.LayoutSRPM {
			why = fmt.Sprintf("srpm: %s, as the project's configuration says", show(list[0].Path))
		}
		return &plan{layout: rpmflow.LayoutSRPM, why: why, srpm: &list[0]}, nil
	}
	var names []string
	for _, f := range list {
		names = append(names, f.Path)
	}
	return nil, rpmflow.Fail(rpmflow.FailureSource,
		"set layout: srpm in the project's configuration, with which each is a build of its own, "+
			"and build the commit with rpmflow submit",
		"%d source packages%s (%s), of which this build was to find one", len(list), where, some(names))
}

func srpmAt(tree git.Tree, want string) (git.File, error) {
	const hint = "push again, or build the ref's newest commit"
	if git.Outside(want) {
		return git.File{}, rpmflow.Fail(rpmflow.FailureSource, hint, "source package %q is outside the repository",
			want)
	}
	f, found, err := git.FindFile(tree, want)
	switch {
	case err != nil || found:
		f.Found = f.Path
		return f, err
	case strings.ContainsRune(want, '\uFFFD'): // which replaces in records what is not UTF-8
		return git.File{}, rpmflow.Fail(rpmflow.FailureSource, "rename it: its name must be valid UTF-8",
			"no source package %q%s", want, tree.Where())
	}
	return git.File{}, rpmflow.Fail(rpmflow.FailureSource, hint, "no source package %s%s", show(want), tree.Where())
}

// writeSRPM puts the source package on disk, under a name without meaning: the right one is in its header.
func (s *Store) writeSRPM(ctx context.Context, tree git.Tree, plan *plan, req Request, dir string) (*Draft, error) {
	commit, when := tree.Revision()
	d := &Draft{
		SRPM: filepath.Join(dir, "SRPM", "package.src.rpm"), SRPMPath: plan.srpm.Path,
		Layout: plan.layout, Explanation: plan.why, Commit: commit, CommitTime: when, store: s, request: req,
	}
	// A layout that the configuration names cannot have them.
	if req.Sources.Version != "" || len(req.Sources.Checksums) > 0 {
		d.Notes = append(d.Notes,
			"a source package is rebuilt as it is: version: and checksums: of the project mean nothing for it")
	}
	if req.WorkTree != nil {
		if err := d.takeState(ctx, req.WorkTree, plan); err != nil {
			return nil, err
		}
	}
	out := filepath.Dir(d.SRPM)
	if err := makeEmpty(out); err != nil {
		return nil, err
	}
	c, err := d.checkout(ctx, tree, nil, dir)
	if err != nil {
		return nil, err
	}
	return d, errors.Join(c.writeSource(ctx, *plan.srpm, out, filepath.Base(d.SRPM)), c.remove())
}

// adopt checks a source package that was made elsewhere, and renames its file as rpmbuild would have named it: its name
// in the repository may not be usable for engines and storage.
func (c *completion) adopt() (string, error) {
	const hint = "commit a source package as rpmbuild -bs makes it"
	p, err := rpmfile.Package(c.SRPM)
	switch {
	case errors.Is(err, rpmfile.ErrNotRPM):
		return "", rpmflow.Fail(rpmflow.FailureSource, hint, "%q is %v", c.SRPMPath, rpmfile.ErrNotRPM)
	case err != nil:
		return "", err
	case p.Arch != "src":
		return "", rpmflow.Fail(rpmflow.FailureSource, hint, "%q is a binary package (%s), not a source package",
			c.SRPMPath, p)
	}
	incomplete, err := rpmfile.Incomplete(c.SRPM)
	if err != nil {
		return "", err
	}
	kind := "src"
	if incomplete {
		kind = "nosrc"
		left, err := rpmfile.LeftOut(c.SRPM)
		if err != nil {
			return "", err
		}
		if len(left) == 0 || c.Sources == "" {
			return "", rpmflow.Fail(rpmflow.FailureSource, "commit one that has all of its sources in it",
				"%q lacks sources: its spec says NoSource or NoPatch", c.SRPMPath)
		}
	}
	name := fmt.Sprintf("%s-%s-%s.%s.rpm", p.Name, p.Version, p.Release, kind)
	if !rpmfile.ValidName(name) {
		return "", rpmflow.Fail(rpmflow.FailureSource, hint, "%q has the name %.100q, which no package can have",
			c.SRPMPath,
			name)
	}
	renamed := filepath.Join(filepath.Dir(c.SRPM), name)
	if err := os.Rename(c.SRPM, renamed); err != nil {
		return "", fmt.Errorf("name the source package: %w", err)
	}
	return renamed, nil
}
