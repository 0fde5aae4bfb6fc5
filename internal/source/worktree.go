package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// WorkTree is a directory of the user as it is now: with changes that are not committed, or without a
// repository. A build of it reads what it needs and copies no more. It is used by one goroutine.
type WorkTree struct {
	dir  string // what paths of the tree start from
	spec string // named by the user: absolute, with the links that are in its path; empty: it is looked for
	at   string // of the named spec in the tree

	repo   *userRepository // nil: all that is in the directory counts
	broken error           // why there is none, though there is something of the kind
	into   string          // for views of repositories
	views  int

	paths []string                 // absolute; their numbers are the ids that stand for them in a snapshot
	dirs  map[string][]fs.DirEntry // see readDir
	all   []treeFile               // see list
	below map[string][]object.TreeEntry
}

// OpenWorkTree looks at a directory, or at a spec with what lies around it. into is a directory of the caller's that
// is not there yet.
func OpenWorkTree(ctx context.Context, named, into string) (*WorkTree, error) {
	if err := findGit(); err != nil {
		return nil, err
	}
	named, err := filepath.Abs(named)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", show(named), err)
	}
	info, err := os.Stat(named)
	if err != nil {
		return nil, unusable(named, err)
	}
	if err := os.MkdirAll(into, 0o700); err != nil {
		return nil, fmt.Errorf("looking at %s: %w", show(named), err)
	}
	w := &WorkTree{into: into, dirs: map[string][]fs.DirEntry{}}
	if !info.IsDir() {
		w.spec = named
		named = filepath.Dir(named)
	}
	if w.dir, err = filepath.EvalSymlinks(named); err != nil {
		return nil, unusable(named, err)
	}
	if w.repo, err = w.open(ctx, w.dir); err != nil {
		if w.spec == "" || failureOf(err) == nil {
			return nil, err
		}
		w.broken = err // a spec and the files beside it need no repository
	}
	if w.spec != "" {
		return w, w.around(named)
	}
	if w.repo != nil {
		ignored, err := w.repo.ignoresAll(ctx, w.dir)
		if err != nil {
			return nil, err
		}
		if ignored { // it was named, so it is wanted
			w.repo = nil
		}
	}
	return w, nil
}

func (w *WorkTree) open(ctx context.Context, dir string) (*userRepository, error) {
	w.views++
	return openUserRepository(ctx, dir, filepath.Join(w.into, fmt.Sprint(w.views)))
}

// around finds the tree that a named spec lies in, from the directory in whose name it was found.
func (w *WorkTree) around(named string) error {
	base := filepath.Base(w.spec)
	if w.repo != nil {
		rel, err := filepath.Rel(w.repo.top, w.dir)
		if err != nil {
			return fmt.Errorf("%s: %w", show(w.spec), err)
		}
		w.dir, w.at = w.repo.top, path.Join(filepath.ToSlash(rel), base)
		return nil
	}
	w.at = base
	if filepath.Base(named) != "SPECS" {
		return nil
	}
	top, err := filepath.EvalSymlinks(filepath.Dir(named))
	if err != nil {
		return unusable(named, err)
	}
	w.dir, w.at = top, "SPECS/"+base
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

// snapshot is the tree as layouts are found in it.
func (w *WorkTree) snapshot(ctx context.Context) (*snapshot, error) {
	s := &snapshot{disk: w, commit: &object.Commit{Hash: plumbing.NewHash(w.Commit()), TreeHash: w.id(w.dir)},
		history: true}
	if w.repo != nil {
		s.mirror = w.repo.view
		s.commit.Committer.When = w.repo.when
		if w.spec == "" {
			return s, w.index(ctx)
		}
	}
	return s, nil
}

// id stands for a file or directory in a snapshot.
func (w *WorkTree) id(abs string) (id plumbing.Hash) {
	binary.BigEndian.PutUint64(id[:], uint64(len(w.paths)))
	w.paths = append(w.paths, abs)
	return id
}

// path is what an id stands for.
func (w *WorkTree) path(id plumbing.Hash) string {
	if n := binary.BigEndian.Uint64(id[:]); n < uint64(len(w.paths)) {
		return w.paths[n]
	}
	return ""
}

// find looks a path up, following links wherever they lead.
func (w *WorkTree) find(name string) (object.TreeEntry, string, error) {
	abs := filepath.Join(w.dir, filepath.FromSlash(path.Join("/", name)))
	if w.spec != "" && path.Clean(name) == w.at {
		abs = w.spec
	}
	info, err := os.Stat(abs)
	if err != nil { // a link to nothing or to itself, and what cannot be seen, are not there for a look
		return object.TreeEntry{}, "", fmt.Errorf("%s: %w", show(name), fs.ErrNotExist)
	}
	e := object.TreeEntry{Name: path.Base(name), Hash: w.id(abs), Mode: modeOf(info.Mode())}
	inside := path.Clean(name)
	if inside == "." {
		inside = ""
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		if rel, err := filepath.Rel(w.dir, real); err == nil && filepath.IsLocal(rel) {
			inside = filepath.ToSlash(rel)
		}
	}
	if inside == "." {
		inside = ""
	}
	return e, inside, nil
}

// modeOf is git's word for a kind of file. What is neither file nor directory nor link has none.
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

// entries lists a directory: in a repository what is tracked or new, else what is there.
func (w *WorkTree) entries(id plumbing.Hash) ([]object.TreeEntry, error) {
	dir := w.path(id)
	if w.below != nil {
		rel, err := filepath.Rel(w.dir, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", show(dir), err)
		}
		return w.below[filepath.ToSlash(rel)], nil
	}
	found := w.readDir(dir)
	list := make([]object.TreeEntry, 0, len(found))
	for _, e := range found {
		list = append(list, object.TreeEntry{Name: e.Name(), Mode: modeOf(e.Type()), Hash: w.id(dir + "/" + e.Name())})
	}
	return list, nil
}

// readDir lists what counts of a directory without a repository. One that cannot be read is
// empty here; making an archive of it is an error.
func (w *WorkTree) readDir(dir string) []fs.DirEntry {
	if known, ok := w.dirs[dir]; ok {
		return known
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		entries = nil
	}
	w.dirs[dir] = w.sources(dir, entries)
	return w.dirs[dir]
}

// sources are those of a directory's entries that neither git, nor rpmbuild, nor an earlier build has put there.
func (w *WorkTree) sources(dir string, entries []fs.DirEntry) []fs.DirEntry {
	var results map[string]string
	if hasResults(entries) {
		results = readResults(dir)
	}
	rpmbuild := dir == w.dir && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == "SPECS" &&
			e.IsDir()
	})
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		switch {
		case e.Name() == ".git":
			return true
		case rpmbuild && e.IsDir() && slices.Contains([]string{"BUILD", "BUILDROOT", "RPMS", "SRPMS"}, e.Name()):
			return true
		}
		return results != nil && isResult(dir, e.Name(), results)
	})
}

// head reads the first bytes of a file.
func (w *WorkTree) head(id plumbing.Hash, n int64) ([]byte, error) {
	in, _, err := w.openID(id)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was read only
	text, err := io.ReadAll(io.LimitReader(in, n))
	if err != nil {
		return nil, unusable(in.Name(), err)
	}
	return text, nil
}

func (w *WorkTree) openID(id plumbing.Hash) (*os.File, int64, error) {
	in, info, err := openRegular(w.path(id))
	if err != nil {
		return nil, 0, unusable(w.path(id), err)
	}
	return in, info.Size(), nil
}

// beside lists the files that are a spec's sources by where they lie, whether git ignores them or not.
func (w *WorkTree) beside(dirs []string) []file {
	var files []file
	taken := map[string]bool{}
	for i, dir := range dirs {
		from := dir + "/"
		if rel, err := filepath.Rel(w.dir, dir); err == nil && filepath.IsLocal(rel) {
			from = strings.TrimPrefix(filepath.ToSlash(rel)+"/", "./")
		}
		for _, e := range w.readDir(dir) {
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
			files = append(files, file{path: from + e.Name(), as: e.Name(), mode: filemode.Regular, hash: w.id(abs)})
		}
	}
	return files
}

// lists are the files that may be dist-git's lists, in a directory that may have many others.
func (w *WorkTree) lists(dir string) (files []file) {
	for _, e := range w.readDir(filepath.Join(w.dir, filepath.FromSlash(dir))) {
		if _, is := isMetadata(e.Name()); !is && e.Name() != "sources" {
			continue
		}
		name := path.Join(dir, e.Name())
		if found, _, err := w.find(name); err == nil && found.Mode.IsFile() {
			files = append(files, file{path: name, as: e.Name(), mode: found.Mode, hash: found.Hash})
		}
	}
	return files
}

// sourceDirs are the directories of the sources of a spec of the tree.
func (w *WorkTree) sourceDirs(spec string) []string {
	if w.spec != "" {
		return Dirs(w.spec)
	}
	return Dirs(filepath.Join(w.dir, filepath.FromSlash(spec)))
}

// specs are the ones at the top, or in SPECS, that git ignores: generated ones, which nothing else stands for.
func (w *WorkTree) ignoredSpecs() []file {
	var specs []file
	for _, dir := range []string{"", "SPECS"} {
		for _, e := range w.readDir(filepath.Join(w.dir, dir)) {
			if !spec.IsSpec(e.Name()) {
				continue
			}
			name := path.Join(dir, e.Name())
			if found, real, err := w.find(name); err == nil && found.Mode.IsFile() {
				specs = append(specs, file{path: real, as: e.Name(), named: name, mode: found.Mode, hash: found.Hash})
			}
		}
	}
	return specs
}

// refuse is the failure of a tree that does not have what a build needs.
func (w *WorkTree) refuse(hint, format string, args ...any) error {
	return rpmflow.Fail(rpmflow.FailureSource, hint, "%s in %s", fmt.Sprintf(format, args...), show(w.dir))
}

// namedSpec is the spec that the user has named.
func (w *WorkTree) namedSpec() (file, error) {
	e, real, err := w.find(w.at)
	if err != nil || !e.Mode.IsFile() {
		return file{}, unusable(w.spec, errors.Join(err, fs.ErrNotExist))
	}
	return file{path: real, as: filepath.Base(w.spec), named: w.at, mode: e.Mode, hash: e.Hash}, nil
}

// reconsider decides again on the layout of a directory on disk when rpm names a Source0 that is not there: what lies
// beside the spec is another archive then, and the tree may be the source.
func (p *Prepared) reconsider(e spec.Expanded) {
	source0, ok := e.Source0()
	if p.look == nil || !ok || source0.IsURL() || p.there(source0.Name()) || compressionOf(source0.Name()) == "" {
		return
	}
	l := *p.look
	l.beside, l.at.dir = nil, ""
	if layout, why, err := l.decide(); err == nil && layout == rpmflow.LayoutInTree {
		p.Layout, p.clean = layout, false
		p.Notes = append(p.Notes, "rpm's Source0 is not beside the spec, so it is made of the tree; "+why)
	}
}

// takeState notes what a build of a directory is made of, and where the spec's sources lie.
func (p *Prepared) takeState(ctx context.Context, w *WorkTree, plan *plan) error {
	s, err := w.state(ctx, plan)
	if err != nil {
		return err
	}
	p.Commit, p.CommitTime, p.clean = w.Commit(), s.when, s.clean
	p.Explanation = s.explanation + "; " + p.Explanation
	p.look = plan.look
	if plan.srpm == nil {
		p.dirs = w.sourceDirs(plan.spec.found())
	}
	return nil
}
