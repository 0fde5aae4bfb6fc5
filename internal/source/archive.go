package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// maxArchive is how many times larger than MaxFile an archive may be before compression.
const maxArchive = 16

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
	if compressionOf(name) == "" {
		if p.request.WorkTree != nil && !source0.IsURL() {
			return p.notBeside(source0)
		}
		return rpmflow.Fail(rpmflow.FailureSpec, "name Source0 with one of "+strings.Join(compressions, ", ")+", or commit the file beside the spec",
			"Source0 %s cannot be made from the commit: no known suffix of an archive", show(name))
	}
	dir, err := e.TopDir(name)
	if err != nil {
		return &rpmflow.Failure{Kind: rpmflow.FailureSpec, Message: "Source0 " + show(name) + " cannot be made", Hint: "use %autosetup -n with a plain directory name", Err: err}
	}
	req := p.request
	req.Commit, req.fetched = p.Commit, true // peeled, and in the mirror unless somebody made that anew
	err = p.store.readAsNeeded(ctx, req, func(snap *snapshot) error { return p.archive(ctx, snap, name, dir) })
	var parts *inParts
	if errors.As(err, &parts) {
		return p.compose(ctx, req, name, parts.dir)
	}
	return err
}

// errHistory says that the archive may depend on history and tags, which the mirror at hand does not have.
var errHistory = errors.New("the archive needs the commit's history")

// readAsNeeded is read with the commit's history where use asks for it.
func (s *Store) readAsNeeded(ctx context.Context, req Request, use func(*snapshot) error) error {
	err := s.read(ctx, req, use)
	if errors.Is(err, errHistory) {
		req.History, req.fetched = true, false
		err = s.read(ctx, req, use)
	}
	return err
}

// inParts says that the archive is made of several.
type inParts struct{ dir string }

func (*inParts) Error() string { return "the archive is made of several" }

func (p *Prepared) archive(ctx context.Context, snap *snapshot, name, dir string) (err error) {
	at, err := p.tree(snap)
	if err != nil {
		return err
	}
	// %setup -n foo-1.0/src enters a subdirectory of the archive, if the tree has it.
	if top, sub, nested := strings.Cut(dir, "/"); nested {
		e, _, err := snap.find(path.Join(at.dir, sub))
		switch {
		case err == nil && (e.Mode == filemode.Dir || e.Mode == filemode.Submodule && p.request.Sources.Submodules):
			dir = top
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	if snap.disk != nil {
		return p.archiveDirectory(ctx, snap.disk, name, dir)
	}
	tree, err := snap.survey(ctx, at)
	if err != nil {
		return err
	}
	zip := compressionOf(name) == ".zip"
	if p.request.Sources.Submodules && len(tree.links) > 0 || p.request.Sources.LFS && tree.lfs && !zip {
		return &inParts{dir}
	}
	if tree.lfs {
		if err := p.refusePointers(ctx, snap, at); err != nil {
			return err
		}
	}
	a := archiving{format: "tar", prefix: prefixOf(dir), directory: at.dir}
	if zip {
		a.format = "zip"
	}
	if tree.subst {
		var view string
		if view, err = os.MkdirTemp(filepath.Dir(p.Sources), "view-"); err != nil {
			return fmt.Errorf("making a repository for the archive: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(view)) }()
		if snap, err = snap.asCheckedOut(ctx, view, p.request.Ref); err != nil {
			return err
		}
	}
	return p.writeSource0(name, func(out *os.File) error {
		if c := compressionOf(name); c != ".tar" && c != ".zip" {
			return p.pack(ctx, out, c, func(w io.Writer) error {
				return snap.gitArchive(ctx, a, func(r io.Reader) error {
					_, err := io.Copy(w, r)
					return err
				})
			})
		}
		return snap.gitArchiveInto(ctx, a, out, p.store.maxFile, p.tooLarge("compressed", p.store.maxFile))
	})
}

// tree is the place that Source0 is made of: the package's directory, where the spec lies in its own source tree.
func (p *Prepared) tree(snap *snapshot) (place, error) {
	if p.Layout != rpmflow.LayoutInTree {
		return place{tree: snap.commit.TreeHash}, nil
	}
	return snap.directory(p.request.Sources.Directory)
}

func prefixOf(dir string) string {
	if dir == "" {
		return ""
	}
	return dir + "/"
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
		return setTime(filepath.Join(p.Sources, name), p.CommitTime)
	}
	if gone := root.Remove(part); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return fmt.Errorf("making Source0 %s: %w", show(name), err)
}

// pack compresses what produce writes.
func (p *Prepared) pack(ctx context.Context, out io.Writer, compression string, produce func(w io.Writer) error) error {
	limited := &limitedWriter{w: out, left: p.store.maxFile, err: p.tooLarge("compressed", p.store.maxFile)}
	packer, err := newPacker(ctx, limited, compression)
	if err != nil {
		return err
	}
	err = produce(&limitedWriter{w: packer, left: p.mostRaw(), err: p.tooLarge("before compression", p.mostRaw())})
	outer := ctx.Err()
	packErr := packer.Close()
	// The first error of the chain is the cause; those of what it stopped say nothing. But a limit that was passed beats
	// what the compressor in between made of it.
	switch {
	case limited.left < 0:
		return limited.err
	case outer != nil:
		return err
	case err != nil:
		return errors.Join(err, packErr) // a compressor that died says why
	}
	return packErr
}

// mostRaw is how many bytes an archive may have before compression.
func (p *Prepared) mostRaw() int64 { return maxArchive * p.store.maxFile }

func (p *Prepared) tooLarge(what string, max int64) error {
	of := short(p.Commit)
	if p.request.WorkTree != nil {
		of = show(p.request.WorkTree.dir)
	}
	return rpmflow.Fail(rpmflow.FailureSource, "mark what the package does not need with export-ignore in .gitattributes",
		"the archive of %s is larger than %d bytes %s", of, max, what)
}
