package source

import (
	"path"
	"path/filepath"

	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
)

// listsAt finds the lists in the package's directory.
func listsAt(tree git.Tree, dir, spec string) ([]string, fetch.ListReader, error) {
	files := map[string]git.File{}
	var names []string
	add := func(f git.File) {
		files[f.Name()] = f
		names = append(names, f.Name())
	}
	if w, is := tree.(*worktree.Tree); is {
		for _, e := range w.ReadDir(filepath.Join(w.Dir(), filepath.FromSlash(dir))) {
			if !fetch.IsList(e.Name()) {
				continue // of a directory that may have many others
			}
			if f, found, err := git.FindFile(w, path.Join(dir, e.Name())); err == nil && found {
				add(f)
			}
		}
	} else {
		list, err := git.Files(tree, dir)
		if err != nil {
			return nil, nil, err
		}
		for _, f := range list {
			add(f)
		}
	}
	read := func(name string, max int64) ([]byte, error) { return tree.Head(files[name].Entry, max) }
	lists, err := fetch.FindLists(names, read, spec)
	return lists, read, err
}
