package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rpmflow/rpmflow/internal/filetime"
	"github.com/rpmflow/rpmflow/internal/lfs"
)

// objects puts the content of pointers into dir, each under its OID.
func (d *Draft) objects(ctx context.Context, server *lfs.Server, all []lfs.Pointer, dir string) error {
	notes, err := d.store.client.Objects(ctx, *server, d.request.Project, dir, all)
	d.Notes = append(d.Notes, notes...)
	return err
}

// pending is a source next to the spec that is only a pointer so far.
type pending struct {
	lfs.Pointer
	as     string // below %_sourcedir
	mode   fs.FileMode
	server *lfs.Server
}

// fetchPending puts the content of pointers next to the spec in their places: of all of them, or of those that are
// named.
func (d *Draft) fetchPending(ctx context.Context, named func(as string) bool) (err error) {
	var now, later []pending
	for _, l := range d.pending {
		if named(l.as) {
			now = append(now, l)
		} else {
			later = append(later, l)
		}
	}
	d.pending = later
	if len(now) == 0 {
		return nil
	}
	into := d.Sources
	if d.SRPM != "" {
		into = filepath.Dir(d.SRPM)
	}
	dir, err := os.MkdirTemp(filepath.Dir(into), "lfs-")
	if err != nil {
		return fmt.Errorf("fetching Git LFS files: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var all []lfs.Pointer
	for _, l := range now {
		all = append(all, l.Pointer)
	}
	if err := d.objects(ctx, now[0].server, all, dir); err != nil {
		return err
	}
	for _, l := range now {
		to := filepath.Join(into, l.as)
		if err := copyFile(filepath.Join(dir, l.OID), to); err != nil {
			return fmt.Errorf("copying the source %s: %w", show(l.as), err)
		}
		if err := errors.Join(os.Chmod(to, l.mode), filetime.Set(to, d.CommitTime)); err != nil {
			return fmt.Errorf("copying the source %s: %w", show(l.as), err)
		}
	}
	return nil
}

// copyFile copies a file to one that does not exist.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was read only
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
