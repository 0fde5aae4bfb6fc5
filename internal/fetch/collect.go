package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/filetime"
)

const (
	atOnce = 4 // downloads of one collection
	// maxTotal is how many times MaxFile the files of one collection may have together.
	maxTotal = 4
)

// File is a file that is wanted.
type File struct {
	Name      string              // that it gets
	Label     string              // for messages: Source0, or the name
	Places    []string            // URLs: its own and then those of mirrors
	Checksums []checksum.Checksum // all must be right
	Origin    rpmflow.Origin      // if it comes from one of the places

	// get downloads an object of Git LFS, of which Places[0] is only a name; nil: the file comes from the places.
	get func(ctx context.Context, out *os.File) (Got, error)
}

func (f File) download(ctx context.Context, c *Client, out *os.File) (Got, error) {
	if f.get != nil {
		return f.get(ctx, out)
	}
	return c.Fetch(ctx, f.Places, f.Checksums, out)
}

// Into says where files are put.
type Into struct {
	Project string // whose cache is used
	Dir     string
	Time    time.Time // that the files get
}

// collection is the work on several files at once.
type collection struct {
	*Client
	Into

	mu    sync.Mutex
	files []rpmflow.SourceFile
	notes []string
	bytes int64
}

// Collect puts files into a directory, from the cache or from one of their places, and keeps in the cache what was not
// there. notes are remarks for people. With an error it returns the files that it has.
func (c *Client) Collect(
	ctx context.Context, into Into, all []File,
) (files []rpmflow.SourceFile, notes []string, err error) {
	w := &collection{Client: c, Into: into, files: make([]rpmflow.SourceFile, len(all))}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, f := range all {
		group.Go(func() error {
			if err := gctx.Err(); err != nil {
				return err
			}
			source, err := w.obtain(gctx, f, fmt.Sprintf(".rpmflow-source-%d.part", i))
			if err != nil {
				return fmt.Errorf("%s: %w", f.Label, err)
			}
			w.files[i] = source
			return w.count(source.Size)
		})
	}
	err = group.Wait()
	return slices.DeleteFunc(w.files, func(f rpmflow.SourceFile) bool { return f.Name == "" }), w.notes, err
}

func (c *collection) count(size int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes += size; c.bytes > maxTotal*c.MaxFile {
		return rpmflow.Fail(rpmflow.FailureSource, c.Advice.Raise+", if all of them are needed",
			"the sources that are not in the repository have more than %d bytes together", maxTotal*c.MaxFile)
	}
	return nil
}

// obtain writes a file under another name and renames it when it is whole.
func (c *collection) obtain(ctx context.Context, f File, part string) (source rpmflow.SourceFile, err error) {
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return source, err
	}
	defer root.Close()
	out, err := root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return source, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(part))
		}
	}()
	source, err = c.fill(ctx, f, out)
	if err == nil {
		err = out.Chmod(0o644) // whatever the umask: the SRPM records it
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return source, err
	}
	if err = filetime.Set(filepath.Join(c.Dir, part), c.Time); err != nil {
		return source, err
	}
	return source, root.Rename(part, f.Name)
}

// Download gets a file from a URL into a new file, with these checksums.
func (c *Client) Download(
	ctx context.Context, url string, known []checksum.Checksum, to string,
) (rpmflow.SourceFile, error) {
	w := &collection{Client: c, Into: Into{Dir: filepath.Dir(to), Time: time.Now()}}
	f := File{Name: filepath.Base(to), Places: []string{url}, Checksums: known, Origin: rpmflow.OriginDownload}
	return w.obtain(ctx, f, ".rpmflow-download.part")
}
