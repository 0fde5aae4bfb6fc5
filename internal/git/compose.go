package git

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/archive"
	"github.com/rpmflow/rpmflow/internal/lfs"
)

// composer makes an archive of several: what git archive makes of the commit, and in place of each submodule's empty
// directory what it makes of that one. Each is written to disk first, so that no mirror is locked while another one
// is fetched. Files of Git LFS have their content in it, as if git-lfs were the filter.
type composer struct {
	*Mirrors
	archive Archive
	project string // URL of the project's own repository
	commit  string
	dir     string // for the sections
	objects string // for the files of Git LFS, each under its OID
	count   int    // of sections
	left    int64  // bytes that the sections may still have together
}

// section is the archive of one repository.
type section struct {
	file   string
	prefix string // of all names in it
	// directory of the repository it is made of; empty: all.
	directory string
	nested    map[string]*section // submodules, by the name of their directory in the archive
	// pointers are the files that Git LFS keeps, by their name in the archive.
	pointers map[string]lfs.Pointer
}

func (m *Mirrors) compose(ctx context.Context, req Request, a Archive, out *os.File) (err error) {
	if a.Suffix == ".zip" {
		return rpmflow.Fail(rpmflow.FailureSpec, "name Source0 with .tar.gz or another suffix of tar",
			"git cannot make a zip archive with submodules")
	}
	dir, err := os.MkdirTemp(a.Scratch, "sections-")
	if err != nil {
		return fmt.Errorf("composing the archive: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := &composer{Mirrors: m, archive: a, project: req.URL, commit: short(req.Commit), dir: dir,
		objects: filepath.Join(dir, "objects"), left: a.MaxRaw()}
	if err := os.Mkdir(c.objects, 0o700); err != nil {
		return fmt.Errorf("composing the archive: %w", err)
	}
	top, err := c.section(ctx, req, "", a.Dir(), 0)
	if err != nil {
		return err
	}
	return a.Compress(ctx, c.commit, out, func(w io.Writer) error {
		out := archive.NewTarWriter(w)
		if err := c.emit(ctx, out, top, true); err != nil {
			return err
		}
		return out.End()
	})
}

// section archives a commit, and the submodules that are in its archive. at is its place in the tree of the whole.
func (c *composer) section(ctx context.Context, req Request, at, prefix string, depth int) (*section, error) {
	c.count++
	s := &section{file: filepath.Join(c.dir, strconv.Itoa(c.count)), prefix: prefix, nested: map[string]*section{},
		pointers: map[string]lfs.Pointer{}}
	if depth == 0 {
		s.directory = c.archive.Directory
	}
	var f *missing
	err := c.Read(ctx, req, func(commit *Commit) (err error) {
		f, err = c.write(ctx, commit, s)
		return err
	})
	if err == nil {
		err = c.getObjects(ctx, f.server, s)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range f.submodules {
		place := path.Join(at, s.directory, name)
		m, known := f.modules[path.Join(s.directory, name)]
		const hint = "mark submodules that the package does not need with export-ignore in .gitattributes"
		switch {
		case !known || m.url == "":
			return nil, rpmflow.Fail(rpmflow.FailureSource,
				"add it to .gitmodules (git submodule add), or remove the directory from git",
				"submodule %s has no entry with a path and a url in .gitmodules", show(place))
		case m.none:
			continue
		case depth >= MaxNesting:
			return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "submodule %s is nested in more than %d others",
				show(place),
				MaxNesting)
		case c.count > maxSubmodules:
			return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "there are more than %d submodules", maxSubmodules)
		}
		nested, err := req.nested(m, f.content.submodules[name], c.project)
		if err == nil {
			s.nested[prefix+name], err = c.section(ctx, nested, place, prefix+name+"/", depth+1)
		}
		if err != nil {
			return nil, inSubmodule(place, err)
		}
	}
	return s, nil
}

// missing is what the archive of a section does not have yet.
type missing struct {
	content    *content
	modules    map[string]module
	submodules []string    // those that are in the archive
	server     *lfs.Server // of its pointers
}

// write archives a section, and finds what is missing in the archive.
func (c *composer) write(ctx context.Context, commit *Commit, s *section) (*missing, error) {
	found, err := commit.scan(ctx, s.directory)
	if err != nil {
		return nil, err
	}
	m := &missing{content: found}
	s.directory = found.directory
	if c.archive.Submodules && len(found.submodules) > 0 {
		if m.modules, err = commit.modules(ctx); err != nil {
			return nil, err
		}
	}
	if found.lfs && c.archive.Objects == nil {
		if err := commit.refusePointers(ctx, Archive{Directory: s.directory}); err != nil {
			return nil, err
		}
	}
	from := commit
	if found.substitution {
		view := s.file + ".view"
		if err := os.RemoveAll(view); err != nil { // of a mirror that was damaged
			return nil, fmt.Errorf("making a repository for the archive: %w", err)
		}
		if from, err = commit.forSubstitution(ctx, view); err != nil {
			return nil, err
		}
	}
	if err := c.writeFile(ctx, from, s); err != nil {
		return nil, err
	}
	if m.submodules, err = s.scan(found, c.archive); err != nil || len(s.pointers) == 0 {
		return m, err
	}
	if err := s.keepFiltered(ctx, commit); err != nil {
		return nil, err
	}
	m.server, err = commit.LFSServer(ctx)
	return m, err
}

// writeFile writes the archive of one repository to disk.
func (c *composer) writeFile(ctx context.Context, commit *Commit, s *section) (err error) {
	out, err := os.Create(s.file) // again, if the mirror was damaged
	if err != nil {
		return fmt.Errorf("composing the archive: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	limited := &archive.LimitedWriter{W: out, Left: c.left, Err: c.tooLarge()}
	a := archiving{format: "tar", prefix: s.prefix, directory: s.directory}
	err = commit.gitArchive(ctx, a, func(r io.Reader) error {
		_, err := io.Copy(limited, r)
		return err
	})
	if err == nil {
		c.left = limited.Left
	}
	return err
}

func (c *composer) tooLarge() error {
	return c.archive.TooLarge(c.commit, "before compression", c.archive.MaxRaw())
}

// scan finds the submodules that are in the archive: export-ignore may have left some out. And it finds what may be a
// pointer of Git LFS.
func (s *section) scan(in *content, a Archive) (submodules []string, err error) {
	file, err := os.Open(s.file)
	if err != nil {
		return nil, fmt.Errorf("composing the archive: %w", err)
	}
	defer func() { _ = file.Close() }() // it was read only
	found := map[string]bool{}
	clear(s.pointers)
	err = archive.ReadTar(file, func(e archive.Entry) error {
		name := strings.TrimSuffix(strings.TrimPrefix(e.Name, s.prefix), "/")
		if _, is := in.submodules[name]; is && e.Typeflag == tar.TypeDir && a.Submodules {
			found[name] = true
		}
		if a.Objects == nil || !in.lfs || e.Typeflag != tar.TypeReg || e.Size >= lfs.MaxPointer {
			return nil
		}
		text, err := io.ReadAll(e.Content)
		if err != nil || !lfs.IsPointer(text) {
			return err
		}
		s.pointers[e.Name], err = lfs.ParsePointer(path.Join(s.directory, name), text)
		return err
	})
	var failure *rpmflow.Failure
	if errors.As(err, &failure) {
		return nil, failure
	}
	if err != nil {
		return nil, fmt.Errorf("composing the archive: %w", err)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// keepFiltered removes from the pointers the files that only look like one.
func (s *section) keepFiltered(ctx context.Context, commit *Commit) error {
	var paths []string
	for _, p := range s.pointers {
		paths = append(paths, p.Path)
	}
	slices.Sort(paths)
	filtered, err := commit.filtered(ctx, s.file+".index", paths)
	maps.DeleteFunc(s.pointers, func(_ string, p lfs.Pointer) bool { return !filtered[p.Path] })
	return err
}

// getObjects gets the content of a section's pointers.
func (c *composer) getObjects(ctx context.Context, server *lfs.Server, s *section) error {
	if len(s.pointers) == 0 {
		return nil
	}
	var all []lfs.Pointer
	for _, name := range slices.Sorted(maps.Keys(s.pointers)) {
		all = append(all, s.pointers[name])
		if c.left -= s.pointers[name].Size; c.left < 0 {
			return c.tooLarge()
		}
	}
	return c.archive.Objects(ctx, server, all, c.objects)
}

// emit writes a section, and its submodules each in place of its directory.
func (c *composer) emit(ctx context.Context, out *archive.TarWriter, s *section, top bool) error {
	in, err := os.Open(s.file)
	if err != nil {
		return fmt.Errorf("composing the archive: %w", err)
	}
	defer func() { _ = in.Close() }() // it was read only
	return archive.ReadTar(in, func(e archive.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.Typeflag == tar.TypeXGlobalHeader && !top { // the commit of the whole is the project's
			return nil
		}
		if nested := s.nested[strings.TrimSuffix(e.Name, "/")]; nested != nil && e.Typeflag == tar.TypeDir {
			return c.emit(ctx, out, nested, false)
		}
		if pointer, is := s.pointers[e.Name]; is && e.Typeflag == tar.TypeReg {
			return c.put(out, e, pointer)
		}
		return out.Put(e)
	})
}

// put writes the content of a pointer in its place.
func (c *composer) put(out *archive.TarWriter, e archive.Entry, p lfs.Pointer) error {
	content, err := os.Open(filepath.Join(c.objects, p.OID))
	if err != nil {
		return fmt.Errorf("file %s of Git LFS: %w", show(p.Path), err)
	}
	defer func() { _ = content.Close() }() // it was read only
	return out.Replace(e, content, p.Size)
}
