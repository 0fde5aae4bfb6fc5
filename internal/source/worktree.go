package source

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/archive"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// namedSpec is a working tree whose spec the user has named.
func namedSpec(tree git.Tree) (w *worktree.Tree, is bool) {
	w, is = tree.(*worktree.Tree)
	return w, is && w.Named() != ""
}

// sourceDirs are the directories of the sources of a spec of the tree.
func sourceDirs(w *worktree.Tree, spec string) []string {
	if w.Named() != "" {
		return Dirs(w.Named())
	}
	return Dirs(filepath.Join(w.Dir(), filepath.FromSlash(spec)))
}

// besideOnDisk lists the files that are a spec's sources by where they are, whether git ignores them or not.
func besideOnDisk(w *worktree.Tree, dirs []string) []git.File {
	var files []git.File
	taken := map[string]bool{}
	for i, dir := range dirs {
		from := dir + "/"
		if rel, err := filepath.Rel(w.Dir(), dir); err == nil && filepath.IsLocal(rel) {
			from = strings.TrimPrefix(filepath.ToSlash(rel)+"/", "./")
		}
		for _, e := range w.ReadDir(dir) {
			abs := dir + "/" + e.Name()
			if taken[e.Name()] || e.IsDir() || spec.IsSpec(e.Name()) {
				continue
			}
			if !e.Type().IsRegular() { // a link is as good as what it leads to
				if info, err := os.Stat(abs); err != nil || !info.Mode().IsRegular() {
					continue
				}
			}
			if i+1 < len(dirs) {
				taken[e.Name()] = true
			}
			files = append(files, w.FileAt(abs, from+e.Name()))
		}
	}
	return files
}

// ignoredSpecs are the specs at the top, or in SPECS, that git ignores: generated ones, if there are no others.
func ignoredSpecs(w *worktree.Tree) []git.File {
	var specs []git.File
	for _, dir := range []string{"", "SPECS"} {
		for _, e := range w.ReadDir(filepath.Join(w.Dir(), dir)) {
			if !spec.IsSpec(e.Name()) {
				continue
			}
			if f, found, err := git.FindFile(w, path.Join(dir, e.Name())); err == nil && found {
				specs = append(specs, f)
			}
		}
	}
	return specs
}

// takeState records what a build of a directory is made of, and where the spec's sources are.
func (d *Draft) takeState(ctx context.Context, w *worktree.Tree, plan *plan) error {
	var state worktree.State
	var err error
	if plan.layout == rpmflow.LayoutInTree {
		state, err = w.State(ctx)
	} else {
		var used []git.File
		if used, err = likelyUsed(w, plan); err == nil {
			state, err = w.StateOf(ctx, used)
		}
	}
	if err != nil {
		return err
	}
	d.Commit, d.CommitTime, d.clean = w.Commit(), state.Time, state.Clean
	d.Explanation = explainState(w.Commit(), state) + "; " + d.Explanation
	d.clues = plan.clues
	if plan.srpm == nil {
		d.dirs = sourceDirs(w, plan.spec.Found)
	}
	return nil
}

// likelyUsed lists the spec, or the source package, and what is likely to be built with it.
func likelyUsed(w *worktree.Tree, plan *plan) ([]git.File, error) {
	if plan.srpm != nil {
		return []git.File{*plan.srpm}, nil
	}
	text, err := w.Head(plan.spec.Entry, spec.MaxSize)
	if err != nil {
		return nil, err
	}
	used := []git.File{plan.spec}
	seen := spec.ParseUnexpanded(text)
	for _, f := range plan.sources {
		listed := slices.ContainsFunc(plan.listed, func(l fetch.Listed) bool { return l.Name == f.Name() })
		if listed || seen.Names(f.Name()) {
			used = append(used, f)
		}
	}
	return used, nil
}

// explainState returns in words what a build is made of.
func explainState(commit string, s worktree.State) string {
	commit = short(commit)
	text := ""
	switch {
	case commit == "":
		text = "built from the directory as it is: nothing of it is committed"
	case s.Clean:
		text = "built from commit " + commit + ", which is checked out and unchanged"
	default:
		text = fmt.Sprintf("built from the working tree as it is, which differs from commit %s in %s", commit,
			some(s.Changed))
	}
	if len(s.Ignored) > 0 {
		text += ", with " + some(s.Ignored) + ", which git ignores"
	}
	return text
}

// reconsider decides again on the layout of a directory on disk if rpm names a Source0 that is not there: what lies
// next to the spec is another archive then, and the tree may be the source.
func (c *completion) reconsider() {
	source0, ok := c.expanded.Source0()
	if c.clues == nil || !ok || source0.IsURL() || c.there(source0.Name()) || archive.SuffixOf(source0.Name()) == "" {
		return
	}
	l := *c.clues
	l.beside, l.at = nil, c.request.WorkTree.Root()
	if layout, why, err := l.decide(); err == nil && layout == rpmflow.LayoutInTree {
		c.Layout, c.clean = layout, false
		c.Notes = append(c.Notes, "rpm's Source0 is not next to the spec, so it is made of the tree; "+why)
	}
}
