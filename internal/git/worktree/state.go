package worktree

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow/internal/filetime"
	"github.com/rpmflow/rpmflow/internal/git"
)

// State compares files with what is committed.
type State struct {
	// Clean means that all of them are as they are in the commit that is checked out; Changed are those that are not.
	Clean   bool
	Changed []string
	Ignored []string // those that git ignores
	// Time is the commit's, or that of the newest change: with it the same files make the same packages.
	Time time.Time
}

// State compares all files of the tree.
func (w *Tree) State(ctx context.Context) (State, error) {
	all, err := w.list(ctx)
	if err != nil {
		return State{}, err
	}
	return w.state(all, nil), nil
}

func (w *Tree) state(files []treeFile, ignored []string) State {
	s := State{Ignored: ignored}
	if w.Commit() != "" {
		s.Time = w.repo.when
	}
	for _, f := range files {
		if !f.changed {
			continue
		}
		s.Changed = append(s.Changed, f.name)
		if info, err := os.Stat(f.abs); err == nil && !info.IsDir() && info.ModTime().After(s.Time) {
			s.Time = info.ModTime()
		}
		if f.info != nil && !f.info.IsDir() && f.info.ModTime().After(s.Time) {
			s.Time = f.info.ModTime()
		}
	}
	s.Time = filetime.Sane(s.Time.Truncate(time.Second))
	s.Clean = w.Commit() != "" && len(s.Changed) == 0
	return s
}

// StateOf compares some files, links included that lead to them.
func (w *Tree) StateOf(ctx context.Context, some []git.File) (State, error) {
	var files []treeFile
	var inside, ignored []string
	for _, s := range some {
		info, err := os.Stat(s.Disk())
		if err != nil {
			continue
		}
		for _, file := range throughLinks(s.Disk()) {
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
		return w.state(files, nil), nil
	}
	s, err := w.repo.status(ctx, w.repo.top, inside)
	if err != nil {
		return State{}, err
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
	return w.state(files, ignored), nil
}

// throughLinks returns a file as it is named and, if that is a link, as what it is.
func throughLinks(file string) []string {
	if dir, err := filepath.EvalSymlinks(filepath.Dir(file)); err == nil {
		file = filepath.Join(dir, filepath.Base(file))
	}
	if real, err := filepath.EvalSymlinks(file); err == nil && real != file {
		return []string{file, real}
	}
	return []string{file}
}
