package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rpmflow/rpmflow/internal/git/archive"
	"github.com/rpmflow/rpmflow/internal/lfs"
)

// Archive says which archive to make of a commit.
type Archive struct {
	archive.Options
	// Directory of the repository is archived alone, as if git archive were called in it; "": all.
	Directory string
	// Submodules means that the files of submodules are part of it.
	Submodules bool
	// Objects gets the content of pointers of Git LFS into dir, each as a file called by its OID. nil: pointers are
	// refused.
	Objects func(ctx context.Context, server *lfs.Server, pointers []lfs.Pointer, dir string) error
	// Scratch is a directory for temporary files.
	Scratch string
}

// Archive writes an archive of a commit to an empty file, as git archive makes it.
func (m *Mirrors) Archive(ctx context.Context, req Request, a Archive, out *os.File) error {
	composed := false
	err := m.Read(ctx, req, func(c *Commit) (err error) {
		// Read may have called this before.
		if _, err := out.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		if err := out.Truncate(0); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		composed, err = c.archive(ctx, a, out)
		return err
	})
	if err != nil || !composed {
		return err
	}
	return m.compose(ctx, req, a, out)
}

// archive writes the archive, unless it must be composed.
func (c *Commit) archive(ctx context.Context, a Archive, out *os.File) (compose bool, err error) {
	content, err := c.scan(ctx, a.Directory)
	if err != nil {
		return false, err
	}
	a.Directory = content.directory
	zip := a.Suffix == ".zip"
	if a.Submodules && len(content.submodules) > 0 || a.Objects != nil && content.lfs && !zip {
		return true, nil
	}
	if content.lfs {
		if err := c.refusePointers(ctx, a); err != nil {
			return false, err
		}
	}
	from := c
	if content.substitution {
		var view string
		if view, err = os.MkdirTemp(a.Scratch, "view-"); err != nil {
			return false, fmt.Errorf("making a repository for the archive: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(view)) }()
		if from, err = c.forSubstitution(ctx, view); err != nil {
			return false, err
		}
	}
	command := archiving{format: "tar", prefix: a.Dir(), directory: a.Directory}
	if zip {
		command.format = "zip"
	}
	return false, a.Compress(ctx, short(c.ID), out, func(w io.Writer) error {
		return from.gitArchive(ctx, command, func(r io.Reader) error {
			_, err := io.Copy(w, r)
			return err
		})
	})
}
