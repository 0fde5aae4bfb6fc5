package source

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// Match finds the commit of one repository of layout split that goes with what was pushed to the other one: that of the
// ref with the same name, else of the branch fallback, else of HEAD. why says which of them it was.
func (s *Store) Match(ctx context.Context, url, pushed, fallback string) (found rpmflow.Revision, why string,
	err error) {
	refs, err := s.mirrors.Refs(ctx, url)
	if err != nil {
		return found, "", err
	}
	found.Repository = refs.URL
	found.Ref, found.Commit, why, err = match(refs, pushed, fallback)
	return found, why, err
}

func match(refs *git.Refs, pushed, fallback string) (ref, commit, explanation string, err error) {
	tried := ""
	if strings.HasPrefix(pushed, "refs/") {
		if ref, commit, err = refs.Pick(pushed); err == nil {
			return ref, commit, fmt.Sprintf("%s of %s, which has the same name", ref, refs.URL), nil
		}
		tried = fmt.Sprintf(", which has no %s", pushed)
	}
	if fallback != "" {
		if ref, commit, err = refs.Pick("refs/heads/" + fallback); err == nil {
			return ref, commit, fmt.Sprintf("%s of %s%s: the configured fallback", ref, refs.URL, tried), nil
		}
		if tried == "" {
			tried = fmt.Sprintf(", which has no branch %q (packaging_fallback)", fallback)
		} else {
			tried += fmt.Sprintf(" and no branch %q (packaging_fallback)", fallback)
		}
	}
	if ref, commit, err = refs.Pick("HEAD"); err == nil {
		return ref, commit, fmt.Sprintf("%s of %s%s: its HEAD", ref, refs.URL, tried), nil
	}
	return "", "", "", rpmflow.Fail(rpmflow.FailureSource,
		"push the branch there, or set packaging_fallback of the project to one that is there",
		"no branch of %s goes with %s%s; and its HEAD names no commit", refs.URL, orNothing(pushed), tried)
}

func orNothing(ref string) string {
	if ref == "" {
		return "a commit without a ref"
	}
	return ref
}

// prepareSplit takes spec and sources from the packaging repository; the source tree is fetched, and archived once
// Source0 is known.
func (s *Store) prepareSplit(ctx context.Context, req Request, dir string) (d *Draft, err error) {
	if req.Packaging == nil {
		return nil, rpmflow.Fail(rpmflow.FailureSource, "set packaging_url of the project",
			"layout split: there is no packaging repository")
	}
	var commit string
	var when time.Time
	var version *spec.Version
	err = s.read(ctx, req, func(tree git.Tree) (err error) {
		commit, when = tree.Revision()
		if req.Sources.Version == rpmflow.VersionFromGit {
			version, err = gitVersion(ctx, tree, req.Sources.VersionTags)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	packaging := req
	packaging.URL, packaging.Ref, packaging.Commit = req.Packaging.URL, req.Packaging.Ref, req.Packaging.Commit
	packaging.notBefore = when
	known := spec.FactsOf(req.Ref, commit)
	packaging.about = &known
	packaging.version, packaging.History = version, false
	if d, err = s.prepare(ctx, packaging, dir); err != nil {
		return nil, fmt.Errorf("packaging repository: %w", err)
	}
	d.Commit, d.Packaging, d.request = commit, d.Commit, req
	return d, nil
}

// split finds the spec of a packaging repository: in rpm/SPECS of the target's directory, as OpenStack's have it, or
// where it would be without these directories.
func (f finder) split(context.Context) (*plan, error) {
	tree, req := f.tree, f.req
	top := req.Sources.Directory
	if err := checkDirectory(top); err != nil {
		return nil, err
	}
	var spec git.File
	var err error
	if req.Spec != "" {
		// Checked before it is joined: the directory must not hide that it leads out.
		if err := checkInside(req.Spec); err != nil {
			return nil, err
		}
		// From the target's directory, else from the top, which is how the record has it.
		if spec, err = specAt(tree, path.Join(top, req.Spec)); err != nil && top != "" {
			if fromTop, other := specAt(tree, req.Spec); other == nil {
				spec, err = fromTop, nil
			}
		}
	} else {
		spec, err = splitSpec(tree, top)
	}
	if err != nil {
		return nil, err
	}
	sources, err := filesBeside(tree, spec)
	if err != nil {
		return nil, err
	}
	return &plan{layout: rpmflow.LayoutSplit, spec: spec, sources: sources,
		why: fmt.Sprintf("split: %s of the packaging repository, and the tree of the source repository",
			show(spec.Path))}, nil
}

func splitSpec(tree git.Tree, top string) (git.File, error) {
	places := []string{path.Join(top, "rpm/SPECS"), path.Join(top, "rpm"), path.Join(top, "SPECS"), top}
	for _, is := range []func(string) bool{spec.IsSpec, spec.IsTemplate} {
		for _, dir := range places {
			files, err := git.Files(tree, dir)
			if err != nil {
				return git.File{}, err
			}
			var specs []git.File
			for _, f := range files {
				if is(f.Name()) && is(f.Path) &&
					!slices.ContainsFunc(specs, func(s git.File) bool { return s.Path == f.Path }) {
					specs = append(specs, f)
				}
			}
			if len(specs) > 0 {
				return onlySpec(specs, " in "+show(dir))
			}
		}
	}
	return git.File{}, rpmflow.Fail(rpmflow.FailureSource,
		"add one, or set packaging_directories to the directory of the target's package",
		"no spec file in %s of the packaging repository%s", show(places[0]), tree.Where())
}

// checkDirectory refuses a directory outside of the repository.
func checkDirectory(dir string) error {
	if dir != "" && git.Outside(dir) {
		return rpmflow.Fail(rpmflow.FailureSource, "set the directory relative to the top of the repository",
			"directory %q is outside the repository", dir)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
