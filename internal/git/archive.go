package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rpmflow/rpmflow"
)

// maxExpansion is how many times larger than Archive.MaxSize an archive may be before compression.
const maxExpansion = 16

// Archive says which archive to make of a tree.
type Archive struct {
	// Suffix is one of Suffixes.
	Suffix string
	// Prefix is the directory that all names begin with; "": none.
	Prefix string
	// Directory of the repository is archived alone, as if git archive were called in it; "": all.
	Directory string
	// MaxSize is the largest file that may be written, in bytes.
	MaxSize int64
	// Submodules means that the files of submodules are part of it.
	Submodules bool
	// Objects gets the content of pointers of Git LFS into dir, each as a file called by its OID. nil: pointers are
	// refused.
	Objects func(ctx context.Context, server *LFSServer, pointers []Pointer, dir string) error
	// Scratch is a directory for temporary files.
	Scratch string
}

// prefix is that of git archive.
func (a Archive) prefix() string {
	if a.Prefix == "" {
		return ""
	}
	return a.Prefix + "/"
}

// maxRaw is how many bytes the archive may have before compression.
func (a Archive) maxRaw() int64 { return maxExpansion * a.MaxSize }

// tooLarge is the failure of an archive of something.
func (a Archive) tooLarge(of, what string, most int64) error {
	return rpmflow.Fail(rpmflow.FailureSource,
		"mark what the package does not need with export-ignore in .gitattributes",
		"the archive of %s is larger than %d bytes %s", of, most, what)
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
	command := archiving{format: "tar", prefix: a.prefix(), directory: a.Directory}
	if zip {
		command.format = "zip"
	}
	if a.Suffix == ".tar" || zip {
		return false, from.gitArchiveInto(ctx, command, out, a.MaxSize, a.tooLarge(short(c.ID), "compressed",
			a.MaxSize))
	}
	return false, a.compress(ctx, short(c.ID), out, func(w io.Writer) error {
		return from.gitArchive(ctx, command, func(r io.Reader) error {
			_, err := io.Copy(w, r)
			return err
		})
	})
}

// compress compresses what produce writes.
func (a Archive) compress(ctx context.Context, of string, out io.Writer, produce func(w io.Writer) error) error {
	limited := &limitedWriter{w: out, left: a.MaxSize, err: a.tooLarge(of, "compressed", a.MaxSize)}
	compressor, err := newCompressor(ctx, limited, a.Suffix)
	if err != nil {
		return err
	}
	err = produce(&limitedWriter{w: compressor, left: a.maxRaw(), err: a.tooLarge(of, "before compression",
		a.maxRaw())})
	outer := ctx.Err()
	closeErr := compressor.Close()
	// The first error of the chain is the cause; the others follow from it. But a limit that was passed goes before
	// the error that the compressor has made of it.
	switch {
	case limited.left < 0:
		return limited.err
	case outer != nil:
		return err
	case err != nil:
		return errors.Join(err, closeErr) // a compressor that has failed says why
	}
	return closeErr
}
