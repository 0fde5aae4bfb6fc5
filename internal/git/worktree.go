package git

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

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/rpmflow/rpmflow"
)

// WorkTreeOptions says how a directory of the user is read.
type WorkTreeOptions struct {
	// Scratch is a directory for temporary files, which the caller removes.
	Scratch string
	// Marker is the name of a directory at the top of a tree without a repository. The tree of a file that was named in
	// such a directory begins above it.
	Marker string
	// BesideMarker are names of directories next to it that are not part of the tree.
	BesideMarker []string
	// Excluded returns, for a directory and the names in it, which names are not part of the tree. It may return nil:
	// all are.
	Excluded func(dir string, names []string) func(name string) bool
}

// WorkTree is a directory of the user as it is now: with changes that are not committed, or without a
// repository. It is read, and never written to. It may be used by one goroutine.
type WorkTree struct {
	WorkTreeOptions
	dir string // of the tree
	// named is the file that the user has named: absolute, with the links in its path. Empty: a directory was named.
	named string
	at    string // of the named file in the tree

	repo   *repository // nil: all that is in the directory counts
	broken error       // why there is none, though there is something of the kind
	views  int

	dirs  map[string][]fs.DirEntry // see ReadDir
	all   []treeFile               // see list
	index map[string][]Entry       // directories of the tree in a repository
}

// OpenWorkTree opens a directory, or a file with its surroundings.
func OpenWorkTree(ctx context.Context, named string, o WorkTreeOptions) (*WorkTree, error) {
	if err := findGit(); err != nil {
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
	if err := os.MkdirAll(o.Scratch, 0o700); err != nil {
		return nil, fmt.Errorf("opening %s: %w", show(named), err)
	}
	w := &WorkTree{WorkTreeOptions: o, dirs: map[string][]fs.DirEntry{}}
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

func (w *WorkTree) openRepository(ctx context.Context, dir string) (*repository, error) {
	w.views++
	return openRepository(ctx, dir, filepath.Join(w.Scratch, fmt.Sprint(w.views)))
}

// findTop finds the tree that a named file is in, from the directory in whose name it was found.
func (w *WorkTree) findTop(dir string) error {
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
	if w.Marker == "" || filepath.Base(dir) != w.Marker {
		return nil
	}
	top, err := filepath.EvalSymlinks(filepath.Dir(dir))
	if err != nil {
		return Unusable(dir, err)
	}
	w.dir, w.at = top, path.Join(w.Marker, base)
	return nil
}

// Commit is the one that is checked out; empty: none.
func (w *WorkTree) Commit() string {
	if w.repo == nil {
		return ""
	}
	return w.repo.head
}

// Ref is the branch that is checked out; empty: none.
func (w *WorkTree) Ref() string {
	if w.repo == nil {
		return ""
	}
	return w.repo.ref
}

// Revision implements Tree.
func (w *WorkTree) Revision() (string, time.Time) {
	if w.repo == nil {
		return "", time.Time{}
	}
	return w.repo.head, w.repo.when
}

// Dir is the directory that paths of the tree start from.
func (w *WorkTree) Dir() string { return w.dir }

// Where implements Tree.
func (w *WorkTree) Where() string { return " in " + show(w.dir) }

// Named is the absolute path of the file that the user has named; "" if a directory was named.
func (w *WorkTree) Named() string { return w.named }

// NamedFile is that file.
func (w *WorkTree) NamedFile() (File, error) {
	f, found, err := FindFile(w, w.at)
	if err == nil && !found {
		err = Unusable(w.named, fs.ErrNotExist)
	}
	return f, err
}

// Root implements Tree.
func (w *WorkTree) Root() Entry { return Entry{mode: filemode.Dir, abs: w.dir} }

// Find implements Tree. Links are followed wherever they lead.
func (w *WorkTree) Find(name string) (Entry, error) {
	name = path.Clean(name)
	abs := filepath.Join(w.dir, filepath.FromSlash(path.Join("/", name)))
	if w.named != "" && name == w.at {
		abs = w.named
	}
	info, err := os.Stat(abs)
	if err != nil { // a link to nothing or to itself, and what may not be read, are not found
		return Entry{}, fmt.Errorf("%s: %w", show(name), fs.ErrNotExist)
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
	return Entry{Path: inside, mode: modeOf(info.Mode()), abs: abs}, nil
}

// modeOf is git's mode of a kind of file. There is none of what is neither a file nor a directory nor a link.
func modeOf(mode fs.FileMode) filemode.FileMode {
	switch {
	case mode.IsDir():
		return filemode.Dir
	case mode&fs.ModeSymlink != 0:
		return filemode.Symlink
	case !mode.IsRegular():
		return filemode.Empty
	case mode&0o100 != 0:
		return filemode.Executable
	}
	return filemode.Regular
}

// Entries implements Tree: in a repository it lists what is tracked or new, else what is there.
func (w *WorkTree) Entries(dir Entry) ([]Entry, error) {
	if w.index != nil {
		rel, err := filepath.Rel(w.dir, dir.abs)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", show(dir.abs), err)
		}
		return w.index[filepath.ToSlash(rel)], nil
	}
	found := w.ReadDir(dir.abs)
	list := make([]Entry, 0, len(found))
	for _, e := range found {
		list = append(list, Entry{Path: path.Join(dir.Path, e.Name()), mode: modeOf(e.Type()), abs: dir.abs + "/" +
			e.Name()})
	}
	return list, nil
}

// ReadDir lists what is in a directory on disk, whether git ignores it or not. One that cannot be read is
// empty here; making an archive of it is an error.
func (w *WorkTree) ReadDir(dir string) []fs.DirEntry {
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
func (w *WorkTree) withoutExcluded(dir string, entries []fs.DirEntry) []fs.DirEntry {
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	excluded := w.excluded(dir, names)
	marked := dir == w.dir &&
		slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == w.Marker && e.IsDir() })
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == ".git" || marked && e.IsDir() && slices.Contains(w.BesideMarker, e.Name()) ||
			excluded(e.Name())
	})
}

func (w *WorkTree) excluded(dir string, names []string) func(name string) bool {
	if w.Excluded != nil {
		if excluded := w.Excluded(dir, names); excluded != nil {
			return excluded
		}
	}
	return func(string) bool { return false }
}

// FileAt is a regular file on disk as one of the tree, under this path.
func (w *WorkTree) FileAt(abs, name string) File {
	return File{Entry{Path: name, mode: filemode.Regular, abs: abs}, name}
}

// Head implements Tree.
func (w *WorkTree) Head(file Entry, n int64) ([]byte, error) {
	in, _, err := OpenRegular(file.abs)
	if err != nil {
		return nil, Unusable(file.abs, err)
	}
	defer func() { _ = in.Close() }() // it was read only
	text, err := io.ReadAll(io.LimitReader(in, n))
	if err != nil {
		return nil, Unusable(file.abs, err)
	}
	return text, nil
}

// Checkout implements Tree. Files are copied as they are.
func (w *WorkTree) Checkout(_ context.Context, _ []File, o CheckoutOptions) (*Checkout, error) {
	return &Checkout{CheckoutOptions: o}, nil
}

// Describe implements Tree.
func (w *WorkTree) Describe(ctx context.Context, match func(tag string) bool) (*Description, error) {
	if w.Commit() == "" {
		return nil, ErrNoTag
	}
	d, err := describe(ctx, w.repo.view, w.repo.head, match)
	var bad *damageError
	if errors.As(err, &bad) {
		return nil, brokenRepository(ctx, w.repo.top, bad.err)
	}
	return d, err
}

// refuse is the failure of a tree that cannot be used.
func (w *WorkTree) refuse(hint, format string, args ...any) error {
	return rpmflow.Fail(rpmflow.FailureSource, hint, "%s in %s", fmt.Sprintf(format, args...), show(w.dir))
}
