package source

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
)

// composer makes an archive of several: what git archive makes of the commit, and in the place of each submodule's empty directory
// what it makes of that one. Each is written to disk first, so that no mirror is locked while another one is fetched.
// Files of Git LFS have their content in it, as with the filter that git-lfs is.
type composer struct {
	*Prepared
	dir     string // for the parts
	objects string // for the files of Git LFS, each under its OID
	parts   int
	left    int64 // bytes that the parts may still have together
}

// part is the archive of one repository.
type part struct {
	file   string
	prefix string // of all names in it
	// directory is what of the repository it is made of; empty: all.
	directory string
	subs      map[string]*part // submodules, by the name of their directory in the archive
	// pointers are the files that Git LFS keeps, by their name in the archive.
	pointers map[string]pointer
}

func (p *Prepared) compose(ctx context.Context, req Request, name, dir string) (err error) {
	if compressionOf(name) == ".zip" {
		return rpmflow.Fail(rpmflow.FailureSpec, "name Source0 with .tar.gz or another suffix of tar",
			"Source0 %s cannot be made: a zip archive with submodules is not something that git can make", show(name))
	}
	parts, err := os.MkdirTemp(filepath.Dir(p.Sources), "parts-")
	if err != nil {
		return fmt.Errorf("making Source0: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(parts)) }()
	c := &composer{Prepared: p, dir: parts, objects: filepath.Join(parts, "objects"), left: p.mostRaw()}
	if err := os.Mkdir(c.objects, 0o700); err != nil {
		return fmt.Errorf("making Source0: %w", err)
	}
	top, err := c.part(ctx, req, "", prefixOf(dir), 0)
	if err != nil {
		return fmt.Errorf("making Source0 %s: %w", show(name), err)
	}
	return p.writeSource0(name, func(file *os.File) error {
		return p.pack(ctx, file, compressionOf(name), func(w io.Writer) error {
			out := &tarWriter{w: w}
			if err := c.emit(ctx, out, top, true); err != nil {
				return err
			}
			return out.end()
		})
	})
}

// part archives a commit, and the submodules that are in its archive. at is its place in the tree of the whole.
func (c *composer) part(ctx context.Context, req Request, at, prefix string, depth int) (*part, error) {
	c.parts++
	p := &part{file: filepath.Join(c.dir, strconv.Itoa(c.parts)), prefix: prefix, subs: map[string]*part{}, pointers: map[string]pointer{}}
	var f *found
	err := c.store.readAsNeeded(ctx, req, func(snap *snapshot) (err error) {
		at := place{tree: snap.commit.TreeHash}
		if depth == 0 {
			if at, err = c.tree(snap); err != nil {
				return err
			}
		}
		f, err = c.archivePart(ctx, snap, req, at, p)
		return err
	})
	if err == nil {
		err = c.fetch(ctx, f.server, p)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range f.here {
		place := path.Join(at, p.directory, name)
		m, known := f.modules[path.Join(p.directory, name)]
		switch {
		case !known || m.url == "":
			return nil, rpmflow.Fail(rpmflow.FailureSource, "add it to .gitmodules (git submodule add), or remove the directory from git",
				"submodule %s has no entry with a path and a url in .gitmodules", show(place))
		case m.none:
			continue
		case depth >= maxNesting:
			return nil, rpmflow.Fail(rpmflow.FailureSource, "mark submodules that the package does not need with export-ignore in .gitattributes",
				"submodule %s lies in more than %d others", show(place), maxNesting)
		case c.parts > maxSubmodules:
			return nil, rpmflow.Fail(rpmflow.FailureSource, "mark submodules that the package does not need with export-ignore in .gitattributes",
				"there are more than %d submodules", maxSubmodules)
		}
		sub, err := req.nested(m, place, f.tree.links[name], c.request.URL)
		if err == nil {
			p.subs[prefix+name], err = c.part(ctx, sub, place, prefix+name+"/", depth+1)
		}
		if err != nil {
			return nil, within(place, err)
		}
	}
	return p, nil
}

// found is what else is to be fetched for a part.
type found struct {
	tree    *surveyed
	modules map[string]module
	here    []string   // submodules that are in the archive
	server  *lfsServer // of its pointers
}

// archivePart archives what is at a place, and looks at what is missing in the archive.
func (c *composer) archivePart(ctx context.Context, snap *snapshot, req Request, at place, p *part) (*found, error) {
	tree, err := snap.survey(ctx, at)
	if err != nil {
		return nil, err
	}
	f := &found{tree: tree}
	p.directory = at.dir
	if req.Sources.Submodules && len(tree.links) > 0 {
		if f.modules, err = snap.modules(ctx); err != nil {
			return nil, err
		}
	}
	if tree.lfs && !req.Sources.LFS {
		if err := c.refusePointers(ctx, snap, at); err != nil {
			return nil, err
		}
	}
	from := snap
	if tree.subst {
		view := p.file + ".view"
		if err := os.RemoveAll(view); err != nil { // of a mirror that was damaged
			return nil, fmt.Errorf("making a repository for the archive: %w", err)
		}
		if from, err = snap.asCheckedOut(ctx, view, req.Ref); err != nil {
			return nil, err
		}
	}
	if err := c.write(ctx, from, p); err != nil {
		return nil, err
	}
	if f.here, err = p.look(tree, req.Sources); err != nil || len(p.pointers) == 0 {
		return f, err
	}
	if err := c.keepFiltered(ctx, snap, p); err != nil {
		return nil, err
	}
	f.server, err = c.store.lfsServer(ctx, snap, req)
	return f, err
}

// write puts the archive of one repository on disk.
func (c *composer) write(ctx context.Context, snap *snapshot, p *part) (err error) {
	out, err := os.Create(p.file) // again, where the mirror was damaged
	if err != nil {
		return fmt.Errorf("making a part of Source0: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	limited := &limitedWriter{w: out, left: c.left, err: c.tooLarge("before compression", c.mostRaw())}
	err = snap.gitArchive(ctx, archiving{format: "tar", prefix: p.prefix, directory: p.directory}, func(r io.Reader) error {
		_, err := io.Copy(limited, r)
		return err
	})
	if err == nil {
		c.left = limited.left
	}
	return err
}

// look finds the submodules that are in the archive: export-ignore may have left some out. And it finds what may be a pointer of Git LFS.
func (p *part) look(tree *surveyed, want rpmflow.Sources) (here []string, err error) {
	in, err := os.Open(p.file)
	if err != nil {
		return nil, fmt.Errorf("reading a part of Source0: %w", err)
	}
	defer func() { _ = in.Close() }() // it was read only
	found := map[string]bool{}
	clear(p.pointers)
	err = readTar(in, func(e tarEntry) error {
		name := strings.TrimSuffix(strings.TrimPrefix(e.Name, p.prefix), "/")
		if _, is := tree.links[name]; is && e.Typeflag == tar.TypeDir && want.Submodules {
			found[name] = true
		}
		if !want.LFS || !tree.lfs || e.Typeflag != tar.TypeReg || e.Size >= maxPointer {
			return nil
		}
		text, err := io.ReadAll(e.content)
		if err != nil || !isPointer(text) {
			return err
		}
		p.pointers[e.Name], err = parsePointer(path.Join(p.directory, name), text)
		return err
	})
	var mistake *rpmflow.Failure
	if errors.As(err, &mistake) {
		return nil, mistake
	}
	if err != nil {
		return nil, fmt.Errorf("reading a part of Source0: %w", err)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// emit writes a part, and its submodules each in the place of its directory.
func (c *composer) emit(ctx context.Context, out *tarWriter, p *part, top bool) error {
	in, err := os.Open(p.file)
	if err != nil {
		return fmt.Errorf("reading a part of Source0: %w", err)
	}
	defer func() { _ = in.Close() }() // it was read only
	return readTar(in, func(e tarEntry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.Typeflag == tar.TypeXGlobalHeader && !top { // the commit of the whole is the project's
			return nil
		}
		if sub := p.subs[strings.TrimSuffix(e.Name, "/")]; sub != nil && e.Typeflag == tar.TypeDir {
			return c.emit(ctx, out, sub, false)
		}
		if pointer, is := p.pointers[e.Name]; is && e.Typeflag == tar.TypeReg {
			return c.put(out, e, pointer)
		}
		return out.put(e)
	})
}

// keepFiltered forgets the files that look like pointers, but are none for git.
func (c *composer) keepFiltered(ctx context.Context, snap *snapshot, p *part) error {
	var paths []string
	for _, l := range p.pointers {
		paths = append(paths, l.path)
	}
	slices.Sort(paths)
	filtered, err := snap.smudged(ctx, p.file+".index", paths)
	maps.DeleteFunc(p.pointers, func(_ string, l pointer) bool { return !filtered[l.path] })
	return err
}

// fetch gets the content of a part's pointers.
func (c *composer) fetch(ctx context.Context, server *lfsServer, p *part) error {
	if len(p.pointers) == 0 {
		return nil
	}
	var all []pointer
	for _, name := range slices.Sorted(maps.Keys(p.pointers)) {
		all = append(all, p.pointers[name])
		if c.left -= p.pointers[name].Size; c.left < 0 {
			return c.tooLarge("before compression", c.mostRaw())
		}
	}
	notes, err := c.store.fetchObjects(ctx, c.request.Project, server, c.objects, all)
	c.Notes = append(c.Notes, notes...)
	return err
}

// put writes the content of a pointer in its place.
func (c *composer) put(out *tarWriter, e tarEntry, p pointer) error {
	content, err := os.Open(filepath.Join(c.objects, p.OID))
	if err != nil {
		return fmt.Errorf("file %s of Git LFS: %w", show(p.path), err)
	}
	defer func() { _ = content.Close() }() // it was read only
	return out.replace(e, content, p.Size)
}
