package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/lfs"
)

// checkout writes files of a tree to the directories of a build.
type checkout struct {
	*Draft
	tree    git.Tree
	files   git.Checkout
	scratch string
	server  *lfs.Server // of the repository, once it is needed
}

func (d *Draft) checkout(ctx context.Context, tree git.Tree, files []git.File, dir string) (*checkout, error) {
	c := &checkout{Draft: d, tree: tree, scratch: filepath.Join(dir, "converted")}
	var err error
	c.files, err = tree.Checkout(ctx, files, git.CheckoutOptions{Scratch: c.scratch, MaxFile: d.store.maxFile,
		Time: d.CommitTime,
		LFS:  d.request.Sources.LFS})
	if err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

// remove removes temporary files.
func (c *checkout) remove() error { return os.RemoveAll(c.scratch) }

// writeSpec writes the spec, which must not be in Git LFS.
func (c *checkout) writeSpec(ctx context.Context, f git.File, to string) error {
	pointer, err := c.files.Write(ctx, f, filepath.Dir(to), filepath.Base(to))
	if err == nil && pointer != nil {
		err = rpmflow.Fail(rpmflow.FailureSource, "commit the file itself", "%s is a Git LFS pointer, not the file",
			show(f.Path))
	}
	return err
}

// writeSource writes a file next to the spec, or a source package. One that is in Git LFS is fetched later, when no
// mirror is locked.
func (c *checkout) writeSource(ctx context.Context, f git.File, dir, as string) error {
	pointer, err := c.files.Write(ctx, f, dir, as)
	if err != nil || pointer == nil {
		return err
	}
	if commit, is := c.tree.(*git.Commit); is && c.server == nil {
		if c.server, err = commit.LFSServer(ctx); err != nil {
			return err
		}
	}
	c.pending = append(c.pending, pending{Pointer: *pointer, as: as, mode: f.Perm(), server: c.server})
	return nil
}
