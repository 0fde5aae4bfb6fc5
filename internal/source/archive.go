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
	"github.com/rpmflow/rpmflow/internal/spec"
)

// Complete gets what the spec.Expanded spec (the output of `rpmspec -P` for the target) names and git has not: where the tree is the source it makes Source0
// out of the commit by git archive, named and laid out as the spec wants it; whatever else has a URL is downloaded. A file that is
// committed beside the spec is left alone.
func (p *Prepared) Complete(ctx context.Context, text []byte) error {
	e := spec.ParseExpanded(text)
	var err error
	if p.request.WorkTree != nil {
		if err = p.gather(ctx, e); err == nil {
			p.reconsider(e)
		}
	}
	if err == nil && p.makesSource0() {
		if err = p.complete(ctx, e); err == nil {
			err = p.compareKnown()
		}
	}
	if err == nil {
		err = p.fetchRemote(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("project %q: %w", p.request.Project, err)
	}
	return nil
}

func (p *Prepared) complete(ctx context.Context, e spec.Expanded) error {
	if err := p.fetchPending(ctx, e.Names); err != nil {
		return err
	}
	for _, f := range e.Files {
		if mistake := p.leftOut[f.Name()]; mistake != nil {
			return mistake
		}
	}
	source0, ok := e.Source0()
	if !ok {
		return nil
	}
	name := source0.Name()
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, 0) {
		return rpmflow.Fail(rpmflow.FailureSpec, "let Source0 end in the name of the archive", "Source0 %q has no file name", name)
	}
	if _, err := os.Lstat(filepath.Join(p.Sources, name)); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for Source0: %w", err)
	}
	if git.SuffixOf(name) == "" {
		if p.request.WorkTree != nil && !source0.IsURL() {
			return p.notBeside(source0)
		}
		return rpmflow.Fail(rpmflow.FailureSpec, "name Source0 with one of "+strings.Join(git.Suffixes(), ", ")+", or commit the file beside the spec",
			"Source0 %s cannot be made from the commit: no known suffix of an archive", show(name))
	}
	dir, err := e.TopDir(name)
	if err != nil {
		return &rpmflow.Failure{Kind: rpmflow.FailureSpec, Message: "Source0 " + show(name) + " cannot be made", Hint: "use %autosetup -n with a plain directory name", Err: err}
	}
	return p.makeSource0(ctx, name, dir)
}

// makeSource0 makes the archive of the tree, with dir as the directory that it unpacks to.
func (p *Prepared) makeSource0(ctx context.Context, name, dir string) error {
	req := p.request
	req.Commit, req.fetched = p.Commit, true // peeled, and fetched unless the mirror was replaced
	a := git.Archive{Suffix: git.SuffixOf(name), Prefix: dir, MaxSize: p.store.maxFile, Submodules: req.Sources.Submodules,
		Scratch: filepath.Dir(p.Sources)}
	if p.Layout == rpmflow.LayoutInTree { // the package's directory, in which the spec lies in its own source tree
		a.Directory = req.Sources.Directory
	}
	if req.Sources.LFS {
		a.Objects = p.objects
	}
	// %setup -n foo-1.0/src enters a subdirectory of the archive, if the tree has it.
	if top, sub, nested := strings.Cut(dir, "/"); nested {
		err := p.store.read(ctx, req, func(tree git.Tree) error {
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
	return p.writeSource0(name, func(out *os.File) error {
		if req.WorkTree == nil {
			return p.store.mirrors.Archive(ctx, req.commit(), a, out)
		}
		commit := ""
		if p.clean {
			commit = p.Commit
		}
		return req.WorkTree.Archive(ctx, a, commit, p.CommitTime, out)
	})
}

// objects gets the content of files that Git LFS keeps into dir.
func (p *Prepared) objects(ctx context.Context, server *git.LFSServer, pointers []git.Pointer, dir string) error {
	notes, err := p.store.fetchObjects(ctx, p.request.Project, server, dir, pointers)
	p.Notes = append(p.Notes, notes...)
	return err
}

// writeSource0 makes the file, which fill writes to.
func (p *Prepared) writeSource0(name string, fill func(out *os.File) error) error {
	root, err := os.OpenRoot(p.Sources)
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
		return filetime.Set(filepath.Join(p.Sources, name), p.CommitTime)
	}
	if gone := root.Remove(part); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return fmt.Errorf("making Source0 %s: %w", show(name), err)
}
