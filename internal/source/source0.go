package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/filetime"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/archive"
)

// findSource0 makes Source0 out of the tree, unless a file of that name is committed next to the spec.
func (c *completion) findSource0(ctx context.Context) error {
	if err := c.fetchPending(ctx, c.expanded.Names); err != nil {
		return err
	}
	for _, f := range c.expanded.Files {
		if mistake := c.leftOut[f.Name()]; mistake != nil {
			return mistake
		}
	}
	source0, ok := c.expanded.Source0()
	if !ok {
		return nil
	}
	name := source0.Name()
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, 0) {
		return rpmflow.Fail(rpmflow.FailureSpec, "let Source0 end in the name of the archive",
			"Source0 %q has no file name",
			name)
	}
	if _, err := os.Lstat(filepath.Join(c.Sources, name)); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for Source0: %w", err)
	}
	if archive.SuffixOf(name) == "" {
		if c.request.WorkTree != nil && !source0.IsURL() {
			return c.notBeside(source0)
		}
		return rpmflow.Fail(rpmflow.FailureSpec,
			"name Source0 with one of "+strings.Join(archive.Suffixes(), ", ")+", or commit the file next to the spec",
			"Source0 %s cannot be made from the commit: no known suffix of an archive", show(name))
	}
	dir, err := c.expanded.TopDir(name)
	if err != nil {
		return &rpmflow.Failure{Kind: rpmflow.FailureSpec, Message: "Source0 " + show(name) + " cannot be made",
			Err:  err,
			Hint: "use %autosetup -n with a plain directory name"}
	}
	return c.makeSource0(ctx, name, dir)
}

// makeSource0 makes the archive of the tree, with dir as the directory that it unpacks to.
func (c *completion) makeSource0(ctx context.Context, name, dir string) error {
	req := c.request
	req.Commit, req.fetched = c.Commit, true // peeled, and fetched unless the mirror was replaced
	a := git.Archive{
		Options:    archive.Options{Suffix: archive.SuffixOf(name), Prefix: dir, MaxSize: c.store.maxFile},
		Submodules: req.Sources.Submodules, Scratch: filepath.Dir(c.Sources),
	}
	if c.Layout == rpmflow.LayoutInTree { // the package's directory, if the spec is in its own source tree
		a.Directory = req.Sources.Directory
	}
	if req.Sources.LFS {
		a.Objects = c.objects
	}
	// %setup -n foo-1.0/src enters a subdirectory of the archive, if the tree has it.
	if top, sub, nested := strings.Cut(dir, "/"); nested {
		err := c.store.read(ctx, req, func(tree git.Tree) error {
			e, err := tree.Find(path.Join(a.Directory, sub))
			switch {
			case err == nil && (e.IsDir() || e.IsSubmodule() && a.Submodules):
				a.Prefix = top
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return c.writeSource0(name, func(out *os.File) error {
		if req.WorkTree == nil {
			return c.store.mirrors.Archive(ctx, req.commit(), a, out)
		}
		commit := ""
		if c.clean {
			commit = c.Commit
		}
		return req.WorkTree.Archive(ctx, a.Options, commit, c.CommitTime, out)
	})
}

// writeSource0 makes the file, which fill writes to.
func (c *completion) writeSource0(name string, fill func(out *os.File) error) error {
	root, err := os.OpenRoot(c.Sources)
	if err != nil {
		return fmt.Errorf("making Source0: %w", err)
	}
	defer root.Close()
	part := ".rpmflow-source0.part"
	if err := root.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("making Source0: %w", err)
	}
	out, err := root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("making Source0: %w", err)
	}
	err = out.Chmod(0o644) // whatever the umask: the SRPM records it
	if err == nil {
		err = fill(out)
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = root.Rename(part, name)
	}
	if err == nil {
		return filetime.Set(filepath.Join(c.Sources, name), c.CommitTime)
	}
	if gone := root.Remove(part); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return fmt.Errorf("making Source0 %s: %w", show(name), err)
}
