package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// Changed lists the paths of the files that differ between a commit of the repository and the one that the request
// names.
func (s *Store) Changed(ctx context.Context, req Request, before string) ([]string, error) {
	changed, err := s.mirrors.Changed(ctx, req.commit(), before)
	if err != nil {
		return nil, fmt.Errorf("project %q: %w", req.Project, err)
	}
	return changed, nil
}

// SRPMFile is an SRPM in a repository.
type SRPMFile struct {
	Path string
	Name string // as its header says; empty: none can be read
}

// SourcePackages lists the source packages of a commit that are built one by one. In layout auto there are none if
// the tree has a spec.
func (s *Store) SourcePackages(ctx context.Context, req Request) ([]SRPMFile, error) {
	var list []SRPMFile
	err := s.mirrors.Read(ctx, req.commit(), func(c *git.Commit) error {
		list = nil
		at, err := findDirectory(c, req.Sources.Directory)
		if err != nil {
			return err
		}
		if req.Layout != rpmflow.LayoutSRPM {
			var nothing *nothingFound
			if _, err := findSpec(ctx, c, at, req.Spec); !errors.As(err, &nothing) {
				return err // nil if there is one
			}
		}
		files, err := findSRPMs(ctx, c, at, req.Sources.SRPMs)
		if err != nil {
			return err
		}
		for _, f := range files {
			in, err := c.Open(f.Entry)
			if err != nil {
				return err
			}
			list = append(list, SRPMFile{f.Path, rpmfile.Name(in)})
			_ = in.Close() // it was read only
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("project %q: %w", req.Project, err)
	}
	return list, nil
}
