package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// treeFile is a file, a link or an empty directory that is part of a tree.
type treeFile struct {
	name    string // from the tree's directory on; that of a directory ends with a slash
	abs     string
	info    fs.FileInfo // of the link itself, where it is one
	changed bool        // not as it is committed
}

// lister collects the files of a tree.
type lister struct {
	*WorkTree
	files []treeFile
}

// list gives the files that a source archive of the tree has: in a repository those that are tracked or new and not
// ignored, as they are on disk, and those of the repositories within it; without one all that is there. What earlier
// builds have put there is not among them.
func (w *WorkTree) list(ctx context.Context) ([]treeFile, error) {
	if w.broken != nil {
		return nil, w.broken
	}
	if w.all != nil {
		return w.all, nil
	}
	l := &lister{WorkTree: w}
	var err error
	if w.repo == nil {
		err = l.walk(ctx, w.dir, "", 0)
	} else {
		err = l.tracked(ctx, w.repo, w.dir, "", true, 0)
	}
	if err != nil {
		return nil, err
	}
	l.dropResults()
	slices.SortFunc(l.files, func(a, b treeFile) int { return cmp.Compare(a.name, b.name) })
	w.all = slices.CompactFunc(l.files, func(a, b treeFile) bool { return a.name == b.name })
	return w.all, nil
}

func (l *lister) add(f treeFile) error {
	l.files = append(l.files, f)
	if len(l.files) > maxEntries {
		return l.refuse("remove them, or name a spec whose sources lie beside it", "there are more than %d files",
			maxEntries)
	}
	return nil
}

// tracked adds what a repository has in a directory of its working tree. known says whether what is committed in it
// is part of what is committed in the whole.
func (l *lister) tracked(ctx context.Context, repo *userRepository, dir, prefix string, known bool, depth int) error {
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
			return unusable(abs, err)
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
			return unusable(abs, err)
		}
		if err := l.add(treeFile{name: prefix + name, abs: abs, info: info, changed: true}); err != nil {
			return err
		}
	}
	return nil
}

// nested adds a repository within another: a submodule, or one that git would not track.
func (l *lister) nested(ctx context.Context, dir, at string, known bool, commit string, depth int) error {
	if depth > maxNesting {
		return l.refuse("take some of them away", "more than %d repositories lie within one another at %s", maxNesting,
			show(at))
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return unusable(dir, err)
	}
	repo, err := l.open(ctx, real)
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
	if depth > maxDepth {
		return l.refuse("remove some", "there are more than %d levels of directories", maxDepth)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return unusable(dir, err)
	}
	if len(entries) == 0 && prefix != "" {
		info, err := os.Lstat(dir)
		if err != nil {
			return unusable(dir, err)
		}
		return l.add(treeFile{name: prefix, abs: dir, info: info, changed: l.repo == nil})
	}
	for _, e := range l.sources(dir, entries) {
		abs := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			err = l.walk(ctx, abs, prefix+e.Name()+"/", depth+1)
		case e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0:
			info, ierr := os.Lstat(abs)
			if ierr != nil {
				return unusable(abs, ierr)
			}
			err = l.add(treeFile{name: prefix + e.Name(), abs: abs, info: info, changed: true})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dropResults removes what earlier builds have put into the working tree of a repository.
func (l *lister) dropResults() {
	lists := map[string]map[string]string{}
	for _, f := range l.files {
		if path.Base(f.name) == ResultsList {
			lists[filepath.Dir(f.abs)] = nil
		}
	}
	for dir := range lists {
		lists[dir] = readResults(dir)
	}
	l.files = slices.DeleteFunc(l.files, func(f treeFile) bool {
		list, some := lists[filepath.Dir(f.abs)]
		return some && isResult(filepath.Dir(f.abs), path.Base(f.name), list)
	})
}

// index makes the list known as directories.
func (w *WorkTree) index(ctx context.Context) error {
	if w.below != nil {
		return nil
	}
	list, err := w.list(ctx)
	if err != nil {
		return err
	}
	below := map[string][]object.TreeEntry{}
	seen := map[string]bool{".": true}
	var enter func(dir string)
	enter = func(dir string) {
		if seen[dir] {
			return
		}
		seen[dir] = true
		up := path.Dir(dir)
		enter(up)
		below[up] = append(below[up], object.TreeEntry{Name: path.Base(dir), Mode: filemode.Dir,
			Hash: w.id(filepath.Join(w.dir, dir))})
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
		below[dir] = append(below[dir], object.TreeEntry{Name: path.Base(f.name), Mode: modeOf(f.info.Mode()),
			Hash: w.id(f.abs)})
	}
	w.below = below
	return nil
}

// treeState says what a build is made of.
type treeState struct {
	explanation string
	clean       bool // as it is in the commit that is checked out
	// when is the commit's time, or that of the newest change: with it the same tree makes the same packages.
	when time.Time
}

// state compares what a build takes with what is committed: the whole tree, or the spec with the files that are
// likely to be its sources.
func (w *WorkTree) state(ctx context.Context, plan *plan) (treeState, error) {
	var used []treeFile
	var ignored []string
	var err error
	if plan.layout == rpmflow.LayoutInTree {
		used, err = w.list(ctx)
	} else {
		used, ignored, err = w.used(ctx, plan)
	}
	if err != nil {
		return treeState{}, err
	}
	s := treeState{}
	if w.Commit() != "" {
		s.when = w.repo.when
	}
	var changed []string
	for _, f := range used {
		if !f.changed {
			continue
		}
		changed = append(changed, f.name)
		if info, err := os.Stat(f.abs); err == nil && !info.IsDir() && info.ModTime().After(s.when) {
			s.when = info.ModTime()
		}
		if f.info != nil && !f.info.IsDir() && f.info.ModTime().After(s.when) {
			s.when = f.info.ModTime()
		}
	}
	s.when = sane(s.when.Truncate(time.Second))
	commit := short(w.Commit())
	switch {
	case commit == "":
		s.explanation = "built from the directory as it is: nothing of it is committed"
	case len(changed) == 0:
		s.clean = true
		s.explanation = "built from commit " + commit + ", which is checked out and unchanged"
	default:
		s.explanation = fmt.Sprintf("built from the working tree as it is, which differs from commit %s in %s", commit,
			some(changed))
	}
	if len(ignored) > 0 {
		s.explanation += ", with " + some(ignored) + ", which git ignores"
	}
	return s, nil
}

// used lists the spec, or the source package, and what is likely to be taken with it, and the names of those among
// them that git ignores.
func (w *WorkTree) used(ctx context.Context, plan *plan) (files []treeFile, ignored []string, err error) {
	var abs []string
	if plan.srpm != nil {
		abs = append(abs, w.path(plan.srpm.hash))
	} else {
		abs = append(abs, w.path(plan.spec.hash))
		text, err := w.head(plan.spec.hash, spec.MaxSize)
		if err != nil {
			return nil, nil, err
		}
		seen := spec.ParseUnexpanded(text)
		for _, f := range plan.sources {
			listed := slices.ContainsFunc(plan.listed, func(l listed) bool { return l.name == f.as })
			if listed || seen.Names(f.as) {
				abs = append(abs, w.path(f.hash))
			}
		}
	}
	var inside []string
	for _, file := range abs {
		info, err := os.Stat(file)
		if err != nil {
			continue
		}
		for _, file := range throughLinks(file) {
			f := treeFile{name: filepath.Base(file), abs: file, info: info, changed: true}
			if w.repo != nil {
				if rel, err := filepath.Rel(w.repo.top, file); err == nil && filepath.IsLocal(rel) {
					f.name = filepath.ToSlash(rel)
					inside = append(inside, f.name)
				}
			}
			files = append(files, f)
		}
	}
	if len(inside) == 0 {
		return files, nil, nil
	}
	s, err := w.repo.status(ctx, w.repo.top, inside)
	if err != nil {
		return nil, nil, err
	}
	fresh := map[string]bool{}
	for _, name := range s.fresh {
		fresh[name] = true
	}
	for i, f := range files {
		if !slices.Contains(inside, f.name) {
			continue
		}
		_, tracked := s.tracked[f.name]
		files[i].changed = s.changed[f.name] || fresh[f.name] || w.repo.head == ""
		if !tracked && !fresh[f.name] && !slices.Contains(ignored, f.name) {
			ignored = append(ignored, f.name)
		}
	}
	return files, ignored, nil
}

// throughLinks gives a file as it is named and, where that is a link, as what it is.
func throughLinks(file string) []string {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(file)); err == nil {
		file = filepath.Join(dir, filepath.Base(file))
	}
	if real, err := filepath.EvalSymlinks(file); err == nil && real != file {
		return []string{file, real}
	}
	return []string{file}
}
