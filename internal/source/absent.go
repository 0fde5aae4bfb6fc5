package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
)

// Absent returns which of a repository's packages are not in the commit that the request names, and in words
// why: their directory or a spec is missing. The build itself reports any other reason.
func (s *Store) Absent(ctx context.Context, req Request, packages []rpmflow.PackageSource) (map[string]string, error) {
	var reasons map[string]string
	err := s.read(ctx, req, func(tree git.Tree) error {
		reasons = map[string]string{} // read may have called this before
		for _, p := range packages {
			why, err := absent(ctx, tree, req, p)
			if err != nil {
				return err
			}
			if why != "" {
				reasons[p.Name] = why
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("project %q: %w", req.Project, err)
	}
	return reasons, nil
}

func absent(ctx context.Context, tree git.Tree, req Request, p rpmflow.PackageSource) (string, error) {
	if p.Directory != "" {
		if e, err := tree.Find(p.Directory); err == nil && e.IsSubmodule() {
			return "", nil
		}
	}
	at, err := findDirectory(tree, p.Directory)
	if err == nil {
		_, err = findSpec(ctx, tree, at, p.SpecPath())
	}
	var nothing *nothingFound
	var f *rpmflow.Failure
	switch {
	case err == nil:
		return "", nil
	case errors.As(err, &nothing) && req.Layout == rpmflow.LayoutAuto: // the package may be a source package
		files, err := findSRPMs(ctx, tree, at, req.Sources.SRPMs)
		if err != nil || len(files) > 0 {
			return "", err
		}
		return nothing.failure.Message, nil
	case errors.As(err, &nothing):
		return nothing.failure.Message, nil
	case !errors.As(err, &f):
		return "", err
	case !at.IsDir(): // it is not there
		return f.Message, nil
	}
	if spec := p.SpecPath(); spec != "" {
		if _, err := tree.Find(spec); errors.Is(err, fs.ErrNotExist) {
			return f.Message, nil
		}
	}
	return "", nil
}
