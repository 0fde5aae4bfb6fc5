// Package worktree reads a directory of the user in place of a commit, for local builds: with changes that are not
// committed, or without a repository. A directory or a file in it comes in; a git.Tree, its state compared with what is
// committed, and archives as git archive makes them go out, or a *rpmflow.Failure if the user must act. Nothing is
// written to the directory. Packages source and local may import it; it imports package git.
package worktree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
	"github.com/rpmflow/rpmflow/internal/lfs"
	"github.com/rpmflow/rpmflow/internal/printable"
)

// specsDir is the directory of the specs in rpmbuild's own layout.
const specsDir = "SPECS"

// Tree is a directory of the user as it is now. What rpmbuild and local builds have put there is not part of it. It may
// be used by one goroutine.
type Tree struct {
	scratch string
	dir     string // of the tree
	// named is the file that the user has named: absolute, with the links in its path. Empty: a directory was named.
	named string
	at    string // of the named file in the tree

	repo   *repository // nil: all that is in the directory counts
	broken error       // why there is none, though there is something of the kind
	views  int

	dirs  map[string][]fs.DirEntry // see ReadDir
	all   []treeFile               // see list
	index map[string][]git.Entry   // directories of the tree in a repository
}

// Open opens a directory, or a file with its surroundings. The tree of a file in SPECS begins above that, unless it is
// in a repository. scratch is a directory of the caller's for temporary files, which does not exist yet.
func Open(ctx context.Context, named, scratch string) (*Tree, error) {
	if err := gitcmd.Check(); err != nil {
		return nil, err
	}
	named, err := filepath.Abs(named)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", show(named), err)
	}
	info, err := os.Stat(named)
	if err != nil {
		return nil, Unusable(named, err)
	}
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return nil, fmt.Errorf("opening %s: %w", show(named), err)
	}
	w := &Tree{scratch: scratch, dirs: map[string][]fs.DirEntry{}}
	if !info.IsDir() {
		w.named = named
		named = filepath.Dir(named)
	}
	if w.dir, err = filepath.EvalSymlinks(named); err != nil {
		return nil, Unusable(named, err)
	}
	if w.repo, err = w.openRepository(ctx, w.dir); err != nil {
		var failure *rpmflow.Failure
		if w.named == "" || !errors.As(err, &failure) {
			return nil, err
		}
		w.broken = err // a file and those next to it need no repository
	}
	if w.named != "" {
		return w, w.findTop(named)
	}
	if w.repo != nil {
		ignored, err := w.repo.ignoresAll(ctx, w.dir)
		if err != nil {
			return nil, err
		}
		if !ignored {
			return w, w.readIndex(ctx)
		}
		w.repo = nil // what was named is wanted
	}
	return w, nil
}

func (w *Tree) openRepository(ctx context.Context, dir string) (*repository, error) {
	w.views++
	return openRepository(ctx, dir, filepath.Join(w.scratch, fmt.Sprint(w.views)))
}

// findTop finds the tree that a named file is in, from the directory in whose name it was found.
func (w *Tree) findTop(dir string) error {
	base := filepath.Base(w.named)
	if w.repo != nil {
		rel, err := filepath.Rel(w.repo.top, w.dir)
		if err != nil {
			return fmt.Errorf("%s: %w", show(w.named), err)
		}
		w.dir, w.at = w.repo.top, path.Join(filepath.ToSlash(rel), base)
		return nil
	}
	w.at = base
	if filepath.Base(dir) != specsDir {
		return nil
	}
	top, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return Unusable(dir, err)
	}
	w.dir, w.at = top, path.Join(specsDir, base)
	return nil
}

// Commit is the one that is checked out; empty: none.
func (w *Tree) Commit() string {
	if w.repo == nil {
		return ""
	}
	return w.repo.head
}

// Ref is the branch that is checked out; empty: none.
func (w *Tree) Ref() string {
	if w.repo == nil {
		return ""
	}
	return w.repo.ref
}

// Revision implements Tree.
func (w *Tree) Revision() (string, time.Time) {
	if w.repo == nil {
		return "", time.Time{}
	}
	return w.repo.head, w.repo.when
}

// Dir is the directory that paths of the tree start from.
func (w *Tree) Dir() string { return w.dir }

// Where implements Tree.
func (w *Tree) Where() string { return " in " + show(w.dir) }

// Named is the absolute path of the file that the user has named; "" if a directory was named.
func (w *Tree) Named() string { return w.named }

// NamedFile is that file.
func (w *Tree) NamedFile() (git.File, error) {
	f, found, err := git.FindFile(w, w.at)
	if err == nil && !found {
		err = Unusable(w.named, fs.ErrNotExist)
	}
	return f, err
}

// Root implements Tree.
func (w *Tree) Root() git.Entry { return git.OnDisk("", w.dir, fs.ModeDir) }

// Find implements Tree. Links are followed wherever they lead.
func (w *Tree) Find(name string) (git.Entry, error) {
	name = path.Clean(name)
	abs := filepath.Join(w.dir, filepath.FromSlash(path.Join("/", name)))
	if w.named != "" && name == w.at {
		abs = w.named
	}
	info, err := os.Stat(abs)
	if err != nil { // a link to nothing or to itself, and what may not be read, are not found
		return git.Entry{}, fmt.Errorf("%s: %w", show(name), fs.ErrNotExist)
	}
	inside := name
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		if rel, err := filepath.Rel(w.dir, real); err == nil && filepath.IsLocal(rel) {
			inside = filepath.ToSlash(rel)
		}
	}
	if inside == "." {
		inside = ""
	}
	return git.OnDisk(inside, abs, info.Mode()), nil
}

// Entries implements Tree: in a repository it lists what is tracked or new, else what is there.
func (w *Tree) Entries(dir git.Entry) ([]git.Entry, error) {
	if w.index != nil {
		rel, err := filepath.Rel(w.dir, dir.Disk())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", show(dir.Disk()), err)
		}
		return w.index[filepath.ToSlash(rel)], nil
	}
	found := w.ReadDir(dir.Disk())
	list := make([]git.Entry, 0, len(found))
	for _, e := range found {
		list = append(list, git.OnDisk(path.Join(dir.Path, e.Name()), dir.Disk()+"/"+e.Name(), e.Type()))
	}
	return list, nil
}

// ReadDir lists what is in a directory on disk, whether git ignores it or not. One that cannot be read is
// empty here; making an archive of it is an error.
func (w *Tree) ReadDir(dir string) []fs.DirEntry {
	if known, ok := w.dirs[dir]; ok {
		return known
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		entries = nil
	}
	w.dirs[dir] = w.withoutExcluded(dir, entries)
	return w.dirs[dir]
}

// withoutExcluded returns the entries of a directory that are part of the tree.
func (w *Tree) withoutExcluded(dir string, entries []fs.DirEntry) []fs.DirEntry {
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	isResult := resultsIn(dir, names)
	ofRPM := dir == w.dir &&
		slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == specsDir && e.IsDir() })
	made := []string{"BUILD", "BUILDROOT", "RPMS", "SRPMS"}
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == ".git" || ofRPM && e.IsDir() && slices.Contains(made, e.Name()) || isResult(e.Name())
	})
}

// FileAt is a regular file on disk as one of the tree, under this path.
func (w *Tree) FileAt(abs, name string) git.File {
	return git.File{Entry: git.OnDisk(name, abs, 0), Found: name}
}

// Head implements Tree.
func (w *Tree) Head(file git.Entry, n int64) ([]byte, error) {
	in, _, err := OpenRegular(file.Disk())
	if err != nil {
		return nil, Unusable(file.Disk(), err)
	}
	defer func() { _ = in.Close() }() // it was read only
	text, err := io.ReadAll(io.LimitReader(in, n))
	if err != nil {
		return nil, Unusable(file.Disk(), err)
	}
	return text, nil
}

// Checkout implements Tree. Files are copied as they are.
func (w *Tree) Checkout(_ context.Context, _ []git.File, o git.CheckoutOptions) (git.Checkout, error) {
	return copies{o.Time}, nil
}

// copies implements git.Checkout.
type copies struct{ mtime time.Time }

func (c copies) Write(ctx context.Context, f git.File, dir, as string) (*lfs.Pointer, error) {
	return nil, CopyFile(ctx, f.Disk(), filepath.Join(dir, as), c.mtime)
}

// Describe implements Tree.
func (w *Tree) Describe(ctx context.Context, match func(tag string) bool) (*git.Description, error) {
	if w.Commit() == "" {
		return nil, git.ErrNoTag
	}
	d, err := git.Describe(ctx, w.repo.view, w.repo.head, match)
	var failed *gitcmd.Failed
	if errors.As(err, &failed) {
		return nil, brokenRepository(ctx, w.repo.top, err)
	}
	return d, err
}

// refuse is the failure of a tree that cannot be used.
func (w *Tree) refuse(hint, format string, args ...any) error {
	return rpmflow.Fail(rpmflow.FailureSource, hint, "%s in %s", fmt.Sprintf(format, args...), show(w.dir))
}

// show is a name as messages show it.
func show(name string) string { return printable.Name(name) }
