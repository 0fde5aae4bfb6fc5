package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/rpmflow/rpmflow"
)

// Absent says of which of a repository's packages the commit that the request names has nothing to build, and in words why: their directory
// is not there, or no spec is. What else keeps one from being built is for the build to say.
func (s *Store) Absent(ctx context.Context, req Request, packages []rpmflow.PackageSource) (map[string]string, error) {
	var absent map[string]string
	err := s.read(ctx, req, func(snap *snapshot) error {
		absent = map[string]string{} // a second round begins again
		for _, p := range packages {
			why, err := snap.absent(ctx, req, p)
			if err != nil {
				return err
			}
			if why != "" {
				absent[p.Name] = why
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("project %q: %w", req.Project, err)
	}
	return absent, nil
}

func (s *snapshot) absent(ctx context.Context, req Request, p rpmflow.PackageSource) (string, error) {
	if p.Directory != "" {
		if e, _, err := s.find(p.Directory); err == nil && e.Mode == filemode.Submodule {
			return "", nil
		}
	}
	at, err := s.directory(p.Directory)
	if err == nil {
		_, err = findSpec(ctx, s, at, p.SpecPath())
	}
	var nothing *none
	var f *rpmflow.Failure
	switch {
	case err == nil:
		return "", nil
	case errors.As(err, &nothing) && req.Layout == rpmflow.LayoutAuto: // the package may be a source package
		files, err := s.srpms(ctx, at, req.Sources.SRPMs)
		if err != nil || len(files) > 0 {
			return "", err
		}
		return nothing.failure.Message, nil
	case errors.As(err, &nothing):
		return nothing.failure.Message, nil
	case !errors.As(err, &f):
		return "", err
	case at.tree.IsZero(): // no directory
		return f.Message, nil
	}
	if spec := p.SpecPath(); spec != "" {
		if _, _, err := s.find(spec); errors.Is(err, fs.ErrNotExist) {
			return f.Message, nil
		}
	}
	return "", nil
}
