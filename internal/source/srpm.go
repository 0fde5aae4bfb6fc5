package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// srpms lists the source packages of a directory: those in it, or those below that match one of the patterns.
func (s *snapshot) srpms(ctx context.Context, at place, patterns []string) ([]file, error) {
	var found []file
	add := func(f file) { // a link to one is not a second one
		if !slices.ContainsFunc(found, func(o file) bool { return o.path == f.path }) {
			found = append(found, f)
		}
	}
	if len(patterns) == 0 {
		files, err := s.files(at.dir)
		for _, f := range files {
			if rpmflow.IsSRPM(f.as) {
				add(f)
			}
		}
		return found, err
	}
	err := s.walk(ctx, at, func(dir string, e object.TreeEntry) error {
		name := path.Join(dir, e.Name)
		if !pathmatch.MatchList(patterns, below(at.dir, name)) {
			return nil
		}
		f, ok, err := s.file(dir, e)
		if ok {
			add(f)
		}
		return err
	})
	return found, err
}

// below is the rest of a path behind a directory in which it lies.
func below(dir, name string) string {
	if dir == "" {
		return name
	}
	return strings.TrimPrefix(name, dir+"/")
}

// planSRPM takes the source package that is asked for, or the only one there is.
func planSRPM(ctx context.Context, snap *snapshot, at place, req Request) (*plan, error) {
	if req.Sources.SRPM != "" {
		f, err := srpmAt(snap, req.Sources.SRPM)
		return &plan{layout: rpmflow.LayoutSRPM, why: "srpm: " + show(f.path) + " is rebuilt", srpm: &f}, err
	}
	list, err := snap.srpms(ctx, at, req.Sources.SRPMs)
	if err != nil {
		return nil, err
	}
	where := snap.where()
	if at.dir != "" {
		where = " " + at.in() + where
	}
	switch len(list) {
	case 0:
		return nil, &none{rpmflow.Fail(rpmflow.FailureSource, "add one, or set srpm: or layout: in the project's configuration",
			"no source package (%s)%s", strings.Join(req.Sources.SRPMPatterns(), ", "), where)}
	case 1:
		why := fmt.Sprintf("srpm: the source package %s and no spec %s", show(list[0].path), at.in())
		if req.Layout == rpmflow.LayoutSRPM {
			why = fmt.Sprintf("srpm: %s, as the project's configuration says", show(list[0].path))
		}
		return &plan{layout: rpmflow.LayoutSRPM, why: why, srpm: &list[0]}, nil
	}
	var names []string
	for _, f := range list {
		names = append(names, f.path)
	}
	return nil, rpmflow.Fail(rpmflow.FailureSource, "set layout: srpm in the project's configuration, with which each is a build of its own, and build the commit with rpmflow submit",
		"%d source packages%s (%s), of which this build was to find one", len(list), where, some(names))
}

func srpmAt(snap *snapshot, want string) (file, error) {
	const hint = "push again, or build the ref's newest commit"
	if outside(want) {
		return file{}, rpmflow.Fail(rpmflow.FailureSource, hint, "source package %q lies outside the repository", want)
	}
	name := path.Clean(want)
	e, real, err := snap.find(name)
	if errors.Is(err, os.ErrNotExist) || (err == nil && e.Mode != filemode.Regular && e.Mode != filemode.Executable) {
		if strings.ContainsRune(want, '\uFFFD') { // which stands in records for what is not UTF-8
			return file{}, rpmflow.Fail(rpmflow.FailureSource, "rename it: its name must be valid UTF-8", "no source package %q at %s", want, short(snap.commit.Hash.String()))
		}
		return file{}, rpmflow.Fail(rpmflow.FailureSource, hint, "no source package %s at %s", show(want), short(snap.commit.Hash.String()))
	}
	return file{path: real, as: path.Base(name), mode: e.Mode, hash: e.Hash}, err
}

// writeSRPM puts the source package on disk, under a name that tells nothing: the right one is in its header.
func (s *Store) writeSRPM(ctx context.Context, snap *snapshot, plan *plan, req Request, dir string) (*Prepared, error) {
	p := &Prepared{
		SRPM: filepath.Join(dir, "SRPM", "package.src.rpm"), SRPMPath: plan.srpm.path,
		Layout: plan.layout, Explanation: plan.why, Commit: snap.commit.Hash.String(), CommitTime: snap.commit.Committer.When.UTC(), store: s, request: req,
	}
	if req.Sources.Version != "" || len(req.Sources.Checksums) > 0 { // a layout that the configuration names cannot have them
		p.Notes = append(p.Notes, "a source package is rebuilt as it is: version: and checksums: of the project mean nothing for it")
	}
	if snap.disk != nil {
		if err := p.takeState(ctx, snap.disk, plan); err != nil {
			return nil, err
		}
	}
	out := filepath.Dir(p.SRPM)
	if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o755)); err != nil {
		return nil, fmt.Errorf("making %s: %w", out, err)
	}
	w := writer{snap: snap, max: s.maxFile, mtime: p.CommitTime, later: p.putOff(ctx, snap, req)}
	return p, w.write(ctx, out, *plan.srpm, filepath.Base(p.SRPM))
}
