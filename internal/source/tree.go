package source

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/printable"
)

const (
	// maxEntries bounds what is walked of a tree; a few objects can make a tree of billions of files.
	maxEntries = 1_000_000
	maxDepth   = 100 // of directories
	maxLinks   = 40  // followed for one file; Linux's own limit
)

// lfsPointer is how a file begins that Git LFS keeps elsewhere.
var lfsPointer = []byte("version https://git-lfs.github.com/spec/v1")

// file is a regular file of the tree.
type file struct {
	path  string // where it really is, links followed
	as    string // the name under which it was found
	named string // where it was found; empty: where it is
	mode  filemode.FileMode
	hash  plumbing.Hash
}

// found is the path under which a file was found: where rpm looks for what belongs to it.
func (f file) found() string { return cmp.Or(f.named, f.path) }

// entries lists a directory of the tree. Names that could mean another place are refused, though git makes no such trees.
func (s *snapshot) entries(tree plumbing.Hash) ([]object.TreeEntry, error) {
	if s.disk != nil {
		return s.disk.entries(tree)
	}
	t, err := object.GetTree(s.repo.Storer, tree)
	if errors.Is(err, object.ErrMalformedTree) {
		return nil, &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: "malformed tree " + short(tree.String()), Hint: "git fsck", Err: err}
	}
	if err != nil {
		return nil, &damage{fmt.Errorf("tree %s: %w", short(tree.String()), err)}
	}
	for _, e := range t.Entries {
		if err := checkEntry(e.Name); err != nil {
			return nil, err
		}
	}
	return t.Entries, nil
}

func checkEntry(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return rpmflow.Fail(rpmflow.FailureSource, "remove it from the repository", "the tree has an entry with the name %q", name)
	}
	return nil
}

// find looks a path up, following symlinks inside the tree: fs.ErrNotExist where there is nothing or a link leads out.
func (s *snapshot) find(name string) (object.TreeEntry, string, error) {
	if s.disk != nil {
		return s.disk.find(name)
	}
	missing := fmt.Errorf("%s: %w", show(name), fs.ErrNotExist)
	root := object.TreeEntry{Mode: filemode.Dir, Hash: s.commit.TreeHash}
	at, links := []object.TreeEntry{root}, 0
	rest := strings.Split(name, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(at) == 1 {
				return root, "", missing
			}
			at = at[:len(at)-1]
			continue
		}
		dir := at[len(at)-1]
		if dir.Mode != filemode.Dir || len(at) > maxDepth {
			return root, "", missing
		}
		list, err := s.entries(dir.Hash)
		if err != nil {
			return root, "", err
		}
		found := false
		for _, e := range list {
			if e.Name != part {
				continue
			}
			found = true
			if e.Mode != filemode.Symlink {
				at = append(at, e)
				break
			}
			target, err := s.head(e.Hash, 4<<10)
			if err != nil {
				return root, "", err
			}
			links++
			if links > maxLinks || bytes.HasPrefix(target, []byte("/")) || len(target) == 0 {
				return root, "", missing
			}
			rest = append(strings.Split(string(target), "/"), rest...)
			break
		}
		if !found {
			return root, "", missing
		}
	}
	var parts []string
	for _, e := range at[1:] {
		parts = append(parts, e.Name)
	}
	return at[len(at)-1], strings.Join(parts, "/"), nil
}

// files lists the regular files of a directory, and symlinks that end at one inside the tree. A directory that is not there has none.
func (s *snapshot) files(dir string) ([]file, error) {
	e, real, err := s.find(dir)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && e.Mode != filemode.Dir) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := s.entries(e.Hash)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, e := range list {
		f, ok, err := s.file(real, e)
		if err != nil {
			return nil, err
		}
		if ok {
			files = append(files, f)
		}
	}
	return files, nil
}

// file is the regular file that an entry of dir stands for, if it does.
func (s *snapshot) file(dir string, e object.TreeEntry) (file, bool, error) {
	name, as := path.Join(dir, e.Name), e.Name
	if e.Mode == filemode.Symlink {
		var err error
		e, name, err = s.find(name)
		if errors.Is(err, fs.ErrNotExist) {
			return file{}, false, nil
		}
		if err != nil {
			return file{}, false, err
		}
	}
	return file{path: name, as: as, named: path.Join(dir, as), mode: e.Mode, hash: e.Hash},
		e.Mode == filemode.Regular || e.Mode == filemode.Executable, nil
}

// walk calls f for every entry below a directory that is not a directory itself.
func (s *snapshot) walk(ctx context.Context, at place, f func(dir string, e object.TreeEntry) error) error {
	seen := 0
	var visit func(dir string, tree plumbing.Hash, depth int) error
	visit = func(dir string, tree plumbing.Hash, depth int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		list, err := s.entries(tree)
		if err != nil {
			return err
		}
		if seen += len(list); seen > maxEntries || depth > maxDepth {
			return rpmflow.Fail(rpmflow.FailureSource, "set spec: in the project's configuration",
				"the tree is too large to be searched (more than %d entries or %d levels)", maxEntries, maxDepth)
		}
		for _, e := range list {
			if e.Mode == filemode.Dir {
				err = visit(path.Join(dir, e.Name), e.Hash, depth+1)
			} else {
				err = f(dir, e)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return visit(at.dir, at.tree, 0)
}

// head reads the first bytes of a blob.
func (s *snapshot) head(blob plumbing.Hash, n int64) ([]byte, error) {
	if s.disk != nil {
		return s.disk.head(blob, n)
	}
	b, err := s.repo.BlobObject(blob)
	if err != nil {
		return nil, &damage{fmt.Errorf("blob %s: %w", short(blob.String()), err)}
	}
	r, err := b.Reader()
	if err != nil {
		return nil, &damage{fmt.Errorf("blob %s: %w", short(blob.String()), err)}
	}
	defer func() { _ = r.Close() }()
	text, err := io.ReadAll(io.LimitReader(r, n))
	if err != nil {
		return nil, &damage{fmt.Errorf("blob %s: %w", short(blob.String()), err)}
	}
	return text, nil
}

// headOf is head of a file.
func (s *snapshot) headOf(f file, n int64) ([]byte, error) { return s.head(f.hash, n) }

// writer puts files of a snapshot on disk.
type writer struct {
	snap  *snapshot
	max   int64
	mtime time.Time
	// later takes the pointers of Git LFS that are found, nil: they are refused.
	later     func(p pointer, as string, mode fs.FileMode) error
	converted conversions
}

// write copies a file to dir/as. Nothing outside dir can be reached, whatever the name.
func (w writer) write(ctx context.Context, dir string, f file, as string) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.snap.disk != nil {
		return copySource(ctx, w.snap.disk.path(f.hash), filepath.Join(dir, as), w.mtime)
	}
	blob, err := w.snap.repo.BlobObject(f.hash)
	if err != nil {
		return &damage{fmt.Errorf("%s: %w", show(f.path), err)}
	}
	if blob.Size > w.max {
		return tooLargeInGit(f.path, blob.Size, w.max)
	}
	in, err := blob.Reader()
	if err != nil {
		return &damage{fmt.Errorf("%s: %w", show(f.path), err)}
	}
	defer func() { _ = in.Close() }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("writing %s: %w", show(f.path), err)
	}
	defer root.Close()
	mode := fs.FileMode(0o644)
	if f.mode == filemode.Executable {
		mode = 0o755
	}
	source := &blobReader{ctx: ctx, r: in, left: blob.Size}
	first := make([]byte, maxPointer)
	n, err := io.ReadFull(source, first)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: %w", show(f.path), err)
	}
	if bytes.HasPrefix(first[:n], lfsPointer) && n < maxPointer {
		if w.later == nil {
			return rpmflow.Fail(rpmflow.FailureSource, lfsOff, "%s is a Git LFS pointer, not the file", show(f.path))
		}
		p, err := parsePointer(f.path, first[:n])
		if err != nil {
			return err
		}
		return w.later(p, as, mode)
	}
	out, err := root.OpenFile(as, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("writing %s: %w", show(f.path), err)
	}
	if err = out.Chmod(mode); err == nil { // whatever the umask: the SRPM records it
		err = w.fill(out, f.path, io.MultiReader(bytes.NewReader(first[:n]), source))
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", show(f.path), err), root.Remove(as))
	}
	return setTime(filepath.Join(dir, as), w.mtime)
}

// fill writes a file's content: that of the blob, unless it was converted.
func (w writer) fill(out io.Writer, name string, blob io.Reader) error {
	if err := w.converted.refused[name]; err != nil {
		return err
	}
	converted := w.converted.files[name]
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
		err = &damage{err}
	}
	return n, err
}

// setTime gives a file the commit's time.
func setTime(name string, t time.Time) error {
	t = sane(t)
	if err := os.Chtimes(name, t, t); err != nil {
		return fmt.Errorf("setting the time of a source: %w", err)
	}
	return nil
}

// sane replaces dates that git allows and file systems do not by the epoch.
func sane(t time.Time) time.Time {
	if u := t.Unix(); u < 0 || u > 1<<33 {
		t = time.Unix(0, 0)
	}
	return t.UTC()
}

// show makes a name from a tree fit for messages, whatever bytes it has.
func show(name string) string { return printable.Name(name) }
