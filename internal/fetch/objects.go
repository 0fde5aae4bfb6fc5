package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/lfs"
	"github.com/rpmflow/rpmflow/internal/printable"
)

// Objects puts files of Git LFS into a directory, each under its OID; those that are there already stay. notes are
// remarks for people.
func (c *Client) Objects(
	ctx context.Context, server lfs.Server, project, dir string, all []lfs.Pointer,
) (notes []string, err error) {
	var files []File
	var objects []lfs.Pointer
	var total int64
	seen := map[string]bool{}
	for _, o := range all {
		if o.Size > c.MaxFile {
			return nil, rpmflow.Fail(rpmflow.FailureSource, "keep it out of the package's sources, or "+c.Advice.Raise,
				"%s has %d bytes by its Git LFS pointer; up to %d are taken", printable.Name(o.Path), o.Size, c.MaxFile)
		}
		if _, err := os.Lstat(filepath.Join(dir, o.OID)); seen[o.OID] || err == nil {
			continue
		}
		seen[o.OID] = true
		if total += o.Size; total > maxTotal*c.MaxFile {
			return nil, rpmflow.Fail(rpmflow.FailureSource,
				"mark what the package does not need with export-ignore in .gitattributes, or "+c.Advice.Raise,
				"the files that Git LFS keeps have more than %d bytes together", maxTotal*c.MaxFile)
		}
		objects = append(objects, o)
		files = append(files, File{
			Name: o.OID, Label: printable.Name(o.Path) + " (Git LFS)", Checksums: o.Checksums(),
			Origin: rpmflow.OriginDownload,
		})
	}
	if len(files) == 0 {
		return nil, nil
	}
	if server.Local != "" {
		return nil, copyObjects(ctx, server.Local, dir, objects)
	}
	client, err := c.lfs(server)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for i := range files {
		o, next := objects[i], objects[i+1:]
		files[i].Places = []string{client.name(o)}
		files[i].get = func(ctx context.Context, out *os.File) (Got, error) { return client.fetch(ctx, o, next, out) }
	}
	_, notes, err = c.Collect(ctx, Into{Project: project, Dir: dir, Time: time.Unix(0, 0)}, files)
	return notes, err
}

// copyObjects takes objects from a repository on this machine.
func copyObjects(ctx context.Context, repository, dir string, all []lfs.Pointer) error {
	for _, o := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		object := filepath.Join("lfs", "objects", o.OID[:2], o.OID[2:4], o.OID)
		in, err := os.Open(filepath.Join(repository, object))
		if errors.Is(err, fs.ErrNotExist) {
			in, err = os.Open(filepath.Join(repository, ".git", object))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return rpmflow.Fail(rpmflow.FailureSource, "push it there: git lfs push --all",
				"%s is a Git LFS pointer, and %s does not have the file", printable.Name(o.Path),
				filepath.Join(repository, object))
		}
		if err == nil {
			err = errors.Join(copyObject(o, in, filepath.Join(dir, o.OID)), in.Close())
		}
		var f *rpmflow.Failure
		if errors.As(err, &f) {
			return f
		}
		if err != nil {
			return fmt.Errorf("file %s of Git LFS: %w", printable.Name(o.Path), err)
		}
	}
	return nil
}

// copyObject writes an object to a new file, and compares its size and checksum.
func copyObject(o lfs.Pointer, in io.Reader, to string) (err error) {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, size, err := Sum(io.TeeReader(io.LimitReader(in, o.Size+1), out), o.Checksums())
	var wrong *WrongSum
	if errors.As(err, &wrong) || err == nil && size != o.Size {
		err = rpmflow.Fail(rpmflow.FailureSource, "push it again: git lfs push --all",
			"%s in the repository's lfs/objects is another file than its pointer says", printable.Name(o.Path))
	}
	return errors.Join(err, out.Close())
}
