package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/rpmflow/rpmflow"
)

// maxArchive is how many times larger than MaxFile an archive may be before compression.
const maxArchive = 16

// Complete gets what the expanded spec (the output of `rpmspec -P` for the target) names and git has not: where the tree is the source it makes Source0
// out of the commit by git archive, named and laid out as the spec wants it; whatever else has a URL is downloaded. A file that is
// committed beside the spec is left alone.
func (p *Prepared) Complete(ctx context.Context, text []byte) error {
	e := parseExpanded(text)
	var err error
	if p.makesSource0() {
		err = p.complete(ctx, e)
	}
	if err == nil {
		err = p.fetchRemote(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("project %q: %w", p.request.Project, err)
	}
	return nil
}

func (p *Prepared) complete(ctx context.Context, e expanded) error {
	for _, n := range slices.Concat(e.sources, e.patches) {
		if mistake := p.leftOut[n.file()]; mistake != nil {
			return mistake
		}
	}
	if !slices.ContainsFunc(e.sources, func(n numbered) bool { return n.number == 0 }) {
		return nil
	}
	name := e.source0()
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, 0) {
		return rpmflow.Fail(rpmflow.FailureSpec, "let Source0 end in the name of the archive", "Source0 %q has no file name", name)
	}
	if _, err := os.Lstat(filepath.Join(p.Sources, name)); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for Source0: %w", err)
	}
	if compressionOf(name) == "" {
		return rpmflow.Fail(rpmflow.FailureSpec, "name Source0 with one of "+strings.Join(compressions, ", ")+", or commit the file beside the spec",
			"Source0 %s cannot be made from the commit: no known suffix of an archive", show(name))
	}
	dir, err := e.topDir(name)
	if err != nil {
		return &rpmflow.Failure{Kind: rpmflow.FailureSpec, Message: "Source0 " + show(name) + " cannot be made", Hint: "use %autosetup -n with a plain directory name", Err: err}
	}
	req := p.request
	req.Commit, req.fetched = p.Commit, true // peeled, and in the mirror unless somebody made that anew
	archive := func(snap *snapshot) error { return p.archive(ctx, snap, name, dir) }
	err = p.store.read(ctx, req, archive)
	if errors.Is(err, errHistory) {
		req.History, req.fetched = true, false
		err = p.store.read(ctx, req, archive)
	}
	return err
}

// errHistory says that the archive may depend on history and tags, which the mirror at hand does not have.
var errHistory = errors.New("the archive needs the commit's history")

func (p *Prepared) archive(ctx context.Context, snap *snapshot, name, dir string) error {
	attributes, err := snap.checkSize(ctx)
	if err != nil {
		return err
	}
	lfs := false
	for _, blob := range attributes {
		text, err := snap.head(blob, 1<<20)
		if err != nil {
			return err
		}
		if !snap.history && bytes.Contains(text, []byte("export-subst")) {
			return errHistory // $Format:%(describe)$, for one
		}
		lfs = lfs || bytes.Contains(text, []byte("filter=lfs"))
	}
	if lfs {
		if err := p.refusePointers(ctx, snap); err != nil {
			return err
		}
	}
	// %setup -n foo-1.0/src enters a subdirectory of the archive, if the tree has it.
	if top, sub, nested := strings.Cut(dir, "/"); nested {
		e, _, err := snap.find(sub)
		switch {
		case err == nil && e.Mode == filemode.Dir:
			dir = top
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
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
		err = p.pack(ctx, snap, out, compressionOf(name), dir)
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

// pack runs git archive and compresses what it writes.
func (p *Prepared) pack(ctx context.Context, snap *snapshot, out io.Writer, compression, dir string) error {
	tooLarge := func(what string, max int64) error {
		return rpmflow.Fail(rpmflow.FailureSource, "mark what the package does not need with export-ignore in .gitattributes",
			"the archive of %s is larger than %d bytes %s", short(p.Commit), max, what)
	}
	format := "tar"
	if compression == ".zip" {
		format = "zip"
	}
	args := []string{"--git-dir=" + snap.mirror, "archive", "--format=" + format}
	if dir != "" {
		args = append(args, "--prefix="+dir+"/")
	}
	ctx, stop := context.WithCancel(ctx) // git must not wait for a reader that has given up
	defer stop()
	cmd := gitCommand(ctx, append(args, p.Commit)...)
	errs := tail{max: 4 << 10}
	cmd.Stderr = &errs
	raw, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("git archive: %w", err)
	}
	limited := &limitedWriter{w: out, left: p.store.maxFile, err: tooLarge("compressed", p.store.maxFile)}
	packer, err := newPacker(ctx, limited, compression)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("git archive: %w", err), packer.Close())
	}
	most := maxArchive * p.store.maxFile
	_, copyErr := io.Copy(&limitedWriter{w: packer, left: most, err: tooLarge("before compression", most)}, raw)
	outer := ctx.Err()
	if copyErr != nil {
		stop()
	}
	gitErr, packErr := cmd.Wait(), packer.Close()
	// The first error of the chain is the cause; those of what it stopped say nothing. But a limit that was passed beats
	// what the compressor in between made of it.
	switch {
	case limited.left < 0:
		return limited.err
	case outer != nil:
		return fmt.Errorf("git archive: %w", outer)
	case copyErr != nil:
		return errors.Join(copyErr, packErr) // a compressor that died says why
	case gitErr != nil && ctx.Err() == nil:
		return &damage{childError(ctx, gitErr, &errs)} // of all that git archive can fail of, a new mirror helps
	case gitErr != nil:
		return childError(ctx, gitErr, &errs)
	}
	return packErr
}

// checkSize refuses trees that would have git archive eat all memory: a few objects can stand for billions of files. It returns the
// .gitattributes that it has come across.
func (s *snapshot) checkSize(ctx context.Context) (attributes []plumbing.Hash, err error) {
	counts := map[plumbing.Hash]int64{}
	var count func(tree plumbing.Hash, depth int) (int64, error)
	count = func(tree plumbing.Hash, depth int) (int64, error) {
		if n, ok := counts[tree]; ok {
			return n, nil
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		list, err := s.entries(tree)
		n := int64(len(list))
		for _, e := range list {
			if e.Name == ".gitattributes" && e.Mode.IsFile() {
				attributes = append(attributes, e.Hash)
			}
			if err == nil && e.Mode == filemode.Dir {
				var below int64
				below, err = count(e.Hash, depth+1)
				n += below
			}
			if err == nil && (n > maxEntries || depth > maxDepth) {
				err = rpmflow.Fail(rpmflow.FailureSource, "remove them, or use the standard layout",
					"more than %d files or %d levels of directories at %s", maxEntries, maxDepth, short(s.commit.Hash.String()))
			}
			if err != nil {
				return 0, err
			}
		}
		counts[tree] = n
		return n, err
	}
	_, err = count(s.commit.TreeHash, 0)
	return attributes, err
}
