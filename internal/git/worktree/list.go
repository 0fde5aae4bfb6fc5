package worktree

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/rpmflow/rpmflow/internal/git"
)

// treeFile is a file, a link or an empty directory that is part of a tree.
type treeFile struct {
	name    string // from the tree's directory on; that of a directory ends with a slash
	abs     string
	info    fs.FileInfo // of the link itself, if it is one
	changed bool        // not as it is committed
}

// lister collects the files of a tree.
type lister struct {
	*Tree
	files []treeFile
}

// list returns the files that an archive of the tree has: in a repository those that are tracked or new and not
// ignored, as they are on disk, and those of the repositories within it; without one all that is there. What is
// excluded is not among them.
func (w *Tree) list(ctx context.Context) ([]treeFile, error) {
	if w.broken != nil {
		return nil, w.broken
	}
	if w.all != nil {
		return w.all, nil
	}
	l := &lister{Tree: w}
	var err error
	if w.repo == nil {
		err = l.walk(ctx, w.dir, "", 0)
	} else {
		err = l.tracked(ctx, w.repo, w.dir, "", true, 0)
	}
	if err != nil {
		return nil, err
	}
	l.dropExcluded()
	slices.SortFunc(l.files, func(a, b treeFile) int { return cmp.Compare(a.name, b.name) })
	w.all = slices.CompactFunc(l.files, func(a, b treeFile) bool { return a.name == b.name })
	return w.all, nil
}

func (l *lister) add(f treeFile) error {
	l.files = append(l.files, f)
	if len(l.files) > git.MaxEntries {
		return l.refuse("remove them, or name a spec whose sources are next to it", "there are more than %d files",
			git.MaxEntries)
	}
	return nil
}

// tracked adds what a repository has in a directory of its working tree. known says whether what is committed in it
// is part of what is committed in the whole.
func (l *lister) tracked(ctx context.Context, repo *repository, dir, prefix string, known bool, depth int) error {
	s, err := repo.status(ctx, dir, nil)
	if err != nil {
		return err
	}
	for name, commit := range s.tracked {
		abs := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Lstat(abs)
		f := treeFile{name: prefix + name, abs: abs, info: info, changed: !known || s.changed[name]}
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
			f.info = nil // deleted, which is a change, too
			err = l.add(f)
		case err != nil:
			return Unusable(abs, err)
		case commit != "" && info.IsDir():
			err = l.nested(ctx, abs, prefix+name, known, commit, depth+1)
		case info.Mode().IsRegular() || info.Mode()&fs.ModeSymlink != 0:
			err = l.add(f)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range s.fresh {
		abs := filepath.Join(dir, filepath.FromSlash(name))
		if inner, is := strings.CutSuffix(name, "/"); is {
			if err := l.nested(ctx, abs, prefix+inner, false, "", depth+1); err != nil {
				return err
			}
			continue
		}
		info, err := os.Lstat(abs)
		if err != nil {
			return Unusable(abs, err)
		}
		if err := l.add(treeFile{name: prefix + name, abs: abs, info: info, changed: true}); err != nil {
			return err
		}
	}
	return nil
}

// nested adds a repository within another: a submodule, or one that git would not track.
func (l *lister) nested(ctx context.Context, dir, at string, known bool, commit string, depth int) error {
	if depth > git.MaxNesting {
		return l.refuse("remove some of them", "more than %d repositories are nested at %s", git.MaxNesting,
			show(at))
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return Unusable(dir, err)
	}
	repo, err := l.openRepository(ctx, real)
	if err != nil {
		return err
	}
	if repo == nil || repo.top != real { // a submodule that is not checked out
		return l.walk(ctx, dir, at+"/", depth)
	}
	if commit != "" && repo.head != commit {
		if err := l.add(treeFile{name: at, abs: dir, changed: true}); err != nil {
			return err
		}
	}
	return l.tracked(ctx, repo, dir, at+"/", known && commit != "", depth)
}

// walk adds all that is in a directory without a repository.
func (l *lister) walk(ctx context.Context, dir, prefix string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > git.MaxDepth {
		return l.refuse("remove some", "there are more than %d levels of directories", git.MaxDepth)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Unusable(dir, err)
	}
	if len(entries) == 0 && prefix != "" {
		info, err := os.Lstat(dir)
		if err != nil {
			return Unusable(dir, err)
		}
		return l.add(treeFile{name: prefix, abs: dir, info: info, changed: l.repo == nil})
	}
	for _, e := range l.withoutExcluded(dir, entries) {
		abs := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			err = l.walk(ctx, abs, prefix+e.Name()+"/", depth+1)
		case e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0:
			info, ierr := os.Lstat(abs)
			if ierr != nil {
				return Unusable(abs, ierr)
			}
			err = l.add(treeFile{name: prefix + e.Name(), abs: abs, info: info, changed: true})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dropExcluded removes what is not part of the tree from the files of the working tree of a repository.
func (l *lister) dropExcluded() {
	names := map[string][]string{}
	for _, f := range l.files {
		dir := filepath.Dir(f.abs)
		names[dir] = append(names[dir], path.Base(f.name))
	}
	isResult := map[string]func(name string) bool{}
	for dir, list := range names {
		isResult[dir] = resultsIn(dir, list)
	}
	l.files = slices.DeleteFunc(l.files,
		func(f treeFile) bool { return isResult[filepath.Dir(f.abs)](path.Base(f.name)) })
}

// readIndex makes directories of the list.
func (w *Tree) readIndex(ctx context.Context) error {
	list, err := w.list(ctx)
	if err != nil {
		return err
	}
	index := map[string][]git.Entry{}
	seen := map[string]bool{".": true}
	var enter func(dir string)
	enter = func(dir string) {
		if seen[dir] {
			return
		}
		seen[dir] = true
		up := path.Dir(dir)
		enter(up)
		index[up] = append(index[up], git.OnDisk(dir, filepath.Join(w.dir, dir), fs.ModeDir))
	}
	for _, f := range list {
		if f.info == nil {
			continue
		}
		if name, is := strings.CutSuffix(f.name, "/"); is {
			enter(name)
			continue
		}
		dir := path.Dir(f.name)
		enter(dir)
		index[dir] = append(index[dir], git.OnDisk(f.name, f.abs, f.info.Mode()))
	}
	w.index = index
	return nil
}
