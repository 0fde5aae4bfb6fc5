package git

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/rpmflow/rpmflow"
)

const (
	// MaxEntries bounds how much of a tree is searched or archived; a few objects can make a tree of billions of files.
	MaxEntries = 1_000_000
	// MaxDepth bounds how deep directories may be nested.
	MaxDepth = 100
	maxLinks = 40 // followed for one file; Linux's own limit
)

// Tree is the files of a commit, or of a working tree in place of one.
type Tree interface {
	// Revision is the commit's id and time; of a working tree those of the commit that is checked out, "" if there is
	// none.
	Revision() (commit string, when time.Time)
	// Where is the place of the tree in words, for the end of a message: " at 0123456789ab", " in /home/me/hello".
	Where() string
	// Root is the top directory.
	Root() Entry
	// Entries lists a directory.
	Entries(dir Entry) ([]Entry, error)
	// Find looks up a path from the top on, and follows links. It is fs.ErrNotExist if nothing is there, or if a link
	// in a commit leads out of it.
	Find(name string) (Entry, error)
	// Head reads the first n bytes of a file.
	Head(file Entry, n int64) ([]byte, error)
	// Checkout prepares the writing of some of the files to disk.
	Checkout(ctx context.Context, files []File, o CheckoutOptions) (Checkout, error)
	// Describe returns the nearest tag for which match is true, and the commits since.
	Describe(ctx context.Context, match func(tag string) bool) (*Description, error)
}

// Entry is a file, a directory, a link or a submodule in a tree. The zero Entry is none of them.
type Entry struct {
	Path string // from the tree's top on; "" for the top itself
	mode filemode.FileMode
	id   plumbing.Hash // in a commit
	disk string        // in a working tree
}

// OnDisk is the entry of a working tree that is there on disk. What is neither a file nor a directory nor a link is
// none of them as an entry, too.
func OnDisk(name, there string, mode fs.FileMode) Entry {
	e := Entry{Path: name, disk: there}
	switch {
	case mode.IsDir():
		e.mode = filemode.Dir
	case mode&fs.ModeSymlink != 0:
		e.mode = filemode.Symlink
	case mode.IsRegular() && mode&0o100 != 0:
		e.mode = filemode.Executable
	case mode.IsRegular():
		e.mode = filemode.Regular
	}
	return e
}

// Disk is where an entry of a working tree is on disk.
func (e Entry) Disk() string { return e.disk }

// Name is its name in its directory.
func (e Entry) Name() string { return path.Base(e.Path) }

// IsDir reports whether it is a directory.
func (e Entry) IsDir() bool { return e.mode == filemode.Dir }

// IsFile reports whether it is a regular file.
func (e Entry) IsFile() bool { return e.mode == filemode.Regular || e.mode == filemode.Executable }

// IsSubmodule reports whether it is a commit of another repository.
func (e Entry) IsSubmodule() bool { return e.mode == filemode.Submodule }

// File is a regular file of a tree, with the path under which it was found.
type File struct {
	Entry
	// Found is the path before links were followed, which is where rpm looks for what belongs to it. Path is that of
	// the file itself.
	Found string
}

// Name is the name under which it was found.
func (f File) Name() string { return path.Base(f.Found) }

// FindFile looks up a regular file.
func FindFile(t Tree, name string) (f File, found bool, err error) {
	e, err := t.Find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, false, nil
	}
	return File{e, path.Clean(name)}, err == nil && e.IsFile(), err
}

// Files lists the regular files of a directory, and links that end at one. A directory that does not exist has none.
func Files(t Tree, dir string) ([]File, error) {
	d, err := t.Find(dir)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !d.IsDir()) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := t.Entries(d)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, e := range list {
		f, ok, err := AsFile(t, e)
		if err != nil {
			return nil, err
		}
		if ok {
			files = append(files, f)
		}
	}
	return files, nil
}

// AsFile is the regular file that an entry is or leads to, if there is one.
func AsFile(t Tree, e Entry) (f File, is bool, err error) {
	if e.mode == filemode.Symlink {
		return FindFile(t, e.Path)
	}
	return File{e, e.Path}, e.IsFile(), nil
}

// Walk calls f for every entry below a directory that is not a directory itself.
func Walk(ctx context.Context, t Tree, dir Entry, f func(e Entry) error) error {
	seen := 0
	var visit func(dir Entry, depth int) error
	visit = func(dir Entry, depth int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		list, err := t.Entries(dir)
		if err != nil {
			return err
		}
		if seen += len(list); seen > MaxEntries || depth > MaxDepth {
			return rpmflow.Fail(rpmflow.FailureSource, "set spec: in the project's configuration",
				"the tree is too large to be searched (more than %d entries or %d levels)", MaxEntries, MaxDepth)
		}
		for _, e := range list {
			if e.IsDir() {
				err = visit(e, depth+1)
			} else {
				err = f(e)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return visit(dir, 0)
}

// Outside reports whether a path leads out of the tree.
func Outside(name string) bool {
	clean := path.Clean(name)
	return path.IsAbs(name) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(name, 0)
}

// checkName refuses a name that could mean another place, though git makes no such trees.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return rpmflow.Fail(rpmflow.FailureSource, "remove it from the repository",
			"the tree has an entry with the name %q", name)
	}
	return nil
}
