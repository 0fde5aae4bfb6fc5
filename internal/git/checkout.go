package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/filetime"
	"github.com/rpmflow/rpmflow/internal/lfs"
)

// CheckoutOptions says how files of a tree are written.
type CheckoutOptions struct {
	// Scratch is a directory for temporary files, which need not exist and is the caller's to remove.
	Scratch string
	MaxFile int64     // bytes of the largest file
	Time    time.Time // of the files
	LFS     bool      // pointers of Git LFS are returned; false: they are refused
}

// Checkout writes files of a tree to disk.
type Checkout interface {
	// Write copies a file to dir/as. It cannot reach anything outside dir, with any name. A pointer of Git LFS is
	// returned, and not written.
	Write(ctx context.Context, f File, dir, as string) (pointer *lfs.Pointer, err error)
}

type checkout struct {
	CheckoutOptions
	commit    *Commit
	converted *conversions
}

// Checkout implements Tree. Files whose content is not that of their blobs, by the attributes of the tree, are
// converted first.
func (c *Commit) Checkout(ctx context.Context, files []File, o CheckoutOptions) (Checkout, error) {
	converted, err := c.convert(ctx, files, o)
	return &checkout{o, c, converted}, err
}

// Write implements Checkout.
func (o *checkout) Write(ctx context.Context, f File, dir, as string) (pointer *lfs.Pointer, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in, size, err := o.commit.open(f.id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", show(f.Path), err)
	}
	defer func() { _ = in.Close() }()
	if size > o.MaxFile {
		return nil, tooLargeInGit(f.Path, size, o.MaxFile)
	}
	blob := &blobReader{ctx: ctx, r: in, left: size}
	start := make([]byte, lfs.MaxPointer)
	n, err := io.ReadFull(blob, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%s: %w", show(f.Path), err)
	}
	if lfs.IsPointer(start[:n]) {
		if !o.LFS {
			return nil, rpmflow.Fail(rpmflow.FailureSource,
				"set lfs: true of the project to have the content, or commit the file itself",
				"%s is a Git LFS pointer, not the file", show(f.Path))
		}
		p, err := lfs.ParsePointer(f.Path, start[:n])
		return &p, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", show(f.Path), err)
	}
	defer root.Close()
	mode := f.Perm()
	out, err := root.OpenFile(as, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", show(f.Path), err)
	}
	if err = out.Chmod(mode); err == nil { // whatever the umask: the SRPM records it
		err = o.fill(out, f.Path, io.MultiReader(bytes.NewReader(start[:n]), blob))
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("writing %s: %w", show(f.Path), err), root.Remove(as))
	}
	return nil, filetime.Set(filepath.Join(dir, as), o.Time)
}

// Perm is the mode that the file has on disk.
func (e Entry) Perm() fs.FileMode {
	if e.mode == filemode.Executable {
		return 0o755
	}
	return 0o644
}

// fill writes a file's content: that of the blob, unless it was converted.
func (o *checkout) fill(out io.Writer, name string, blob io.Reader) error {
	if err := o.converted.refused[name]; err != nil {
		return err
	}
	converted := o.converted.files[name]
	if converted == "" {
		_, err := io.Copy(out, blob)
		return err
	}
	in, err := os.Open(converted)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, in.Close())
}

func tooLargeInGit(name string, size, most int64) error {
	return rpmflow.Fail(rpmflow.FailureSource,
		"keep large sources outside of git, or ask the operator to raise the limit",
		"%s has %d bytes; up to %d are taken from git", show(name), size, most)
}

// blobReader marks errors of the mirror as damage, so that they differ from errors of the disk that is written to.
type blobReader struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (b *blobReader) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if errors.Is(err, io.EOF) && b.left != 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		err = &damageError{err}
	}
	return n, err
}
