package worktree

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/archive"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
	"github.com/rpmflow/rpmflow/internal/lfs"
)

// treeArchive is an archive of a directory on disk. The attributes export-ignore and export-subst in the tree's own
// files .gitattributes count as for git archive; nothing else changes the content.
type treeArchive struct {
	archive.Options
	tree   *Tree
	commit string // that the archive is of; empty: of none
	time   time.Time

	substituted map[string]string // "set" for files whose $Format:…$ are filled in
	formats     map[string]string // what has been filled in
	lfs         bool              // its attributes name Git LFS
}

// Archive writes an archive of the tree as it is on disk, in the format that git archive has. All files get this
// time. If the tree is as it is in a commit, the archive names that; commit is empty otherwise.
func (w *Tree) Archive(ctx context.Context, o archive.Options, commit string, mtime time.Time, out io.Writer) error {
	t := &treeArchive{Options: o, tree: w, commit: commit, time: mtime, formats: map[string]string{}}
	files, err := t.files(ctx)
	if err != nil {
		return err
	}
	return o.Compress(ctx, show(w.dir), out, func(w io.Writer) error {
		if o.Suffix == ".zip" {
			return t.zip(ctx, w, files)
		}
		return t.tar(ctx, w, files)
	})
}

// files lists what the archive has, in git's order: directories too, each before what is in it.
func (a *treeArchive) files(ctx context.Context) ([]treeFile, error) {
	list, err := a.tree.list(ctx)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(slices.Clone(list), func(f treeFile) bool { return f.info == nil })
	seen := map[string]bool{"./": true}
	for _, f := range list[:len(list):len(list)] {
		for dir := path.Dir(strings.TrimSuffix(f.name, "/")) + "/"; !seen[dir]; dir = path.Dir(strings.TrimSuffix(dir,
			"/")) + "/" {
			seen[dir] = true
			list = append(list, treeFile{name: dir, abs: filepath.Join(a.tree.dir, dir)})
		}
	}
	slices.SortFunc(list, func(a, b treeFile) int { return strings.Compare(a.name, b.name) })
	list = slices.CompactFunc(list, func(a, b treeFile) bool { return a.name == b.name })
	return a.applyAttributes(ctx, list)
}

// applyAttributes leaves out what has export-ignore, and notes what has export-subst.
func (a *treeArchive) applyAttributes(ctx context.Context, list []treeFile) ([]treeFile, error) {
	repo := a.tree.repo
	if repo == nil {
		return list, nil
	}
	export := false
	look := func(file string) {
		in, _, err := OpenRegular(file)
		if err != nil {
			return
		}
		defer func() { _ = in.Close() }() // it was read only
		text, err := io.ReadAll(io.LimitReader(in, 1<<20))
		export = export || err == nil && bytes.Contains(text, []byte("export-"))
		a.lfs = a.lfs || err == nil && bytes.Contains(text, []byte("filter=lfs"))
	}
	for _, f := range list {
		if path.Base(f.name) == ".gitattributes" {
			look(f.abs)
		}
	}
	if !export {
		// For git archive those above a directory do not count; but a file that Git LFS keeps is not there in any case.
		for dir := a.tree.dir; dir != repo.top && len(dir) > len(repo.top); {
			dir = filepath.Dir(dir)
			look(filepath.Join(dir, ".gitattributes"))
		}
		return list, nil
	}
	var names []string
	for _, f := range list {
		names = append(names, f.name)
	}
	env := []string{"GIT_DIR=" + repo.view, "GIT_WORK_TREE=" + a.tree.dir,
		"GIT_INDEX_FILE=" + filepath.Join(repo.view, "no-index")} // only the files on disk count
	values, err := gitcmd.Attributes(ctx, a.tree.dir, env, names, "export-ignore", "export-subst")
	if err != nil {
		return nil, brokenRepository(ctx, a.tree.dir, err)
	}
	a.substituted = values["export-subst"]
	out := ""
	return slices.DeleteFunc(list, func(f treeFile) bool {
		if out != "" && strings.HasPrefix(f.name, out) {
			return true
		}
		if values["export-ignore"][f.name] != "set" {
			return false
		}
		if strings.HasSuffix(f.name, "/") {
			out = f.name
		}
		return true
	}), nil
}

// open returns a file's content as it is in the archive.
func (a *treeArchive) open(ctx context.Context, f treeFile) (io.ReadCloser, int64, error) {
	in, info, err := OpenRegular(f.abs)
	if err != nil {
		return nil, 0, Unusable(f.abs, err)
	}
	if a.substituted[f.name] != "set" && (!a.lfs || info.Size() >= lfs.MaxPointer) {
		return in, info.Size(), nil
	}
	defer func() { _ = in.Close() }() // it was read only
	if info.Size() > a.MaxSize {
		return nil, 0, a.TooLarge(show(a.tree.dir), "before compression", a.MaxSize)
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, 0, Unusable(f.abs, err)
	}
	if a.lfs && lfs.IsPointer(text) {
		return nil, 0, rpmflow.Fail(rpmflow.FailureSource,
			"get the files themselves: git lfs pull, or mark them with export-ignore in .gitattributes",
			"the archive would have Git LFS pointers instead of files: %s", show(f.name))
	}
	if a.substituted[f.name] == "set" {
		if text, err = a.fillIn(ctx, f, text); err != nil {
			return nil, 0, err
		}
	}
	return io.NopCloser(bytes.NewReader(text)), int64(len(text)), nil
}

var (
	placeholder     = regexp.MustCompile(`\$Format:([^$\n]*)\$`)
	signatureFormat = regexp.MustCompile(`%G[GKSFPT?]`)
)

// fillIn replaces $Format:…$ by what git writes for the commit that is checked out.
func (a *treeArchive) fillIn(ctx context.Context, f treeFile, text []byte) ([]byte, error) {
	repo := a.tree.repo
	if repo.head == "" {
		return text, nil
	}
	commit, _, err := repo.git(ctx, repo.top, "cat-file", "commit", repo.head)
	if err != nil {
		return nil, brokenRepository(ctx, repo.top, err)
	}
	signed := bytes.Contains(commit, []byte("\ngpgsig"))
	var failure error
	made := placeholder.ReplaceAllFunc(text, func(found []byte) []byte {
		format := string(placeholder.FindSubmatch(found)[1])
		if failure != nil {
			return found
		}
		if signed && signatureFormat.MatchString(format) {
			failure = git.SignatureRefused(f.name)
			return found
		}
		value, known := a.formats[format]
		if !known {
			out, _, err := repo.git(ctx, repo.top, "log", "-1", "--no-color", "--no-show-signature", "--no-notes",
				"--format=format:"+format, repo.head, "--")
			if err != nil {
				failure = brokenRepository(ctx, repo.top, err)
				return found
			}
			value = string(out)
			a.formats[format] = value
		}
		return []byte(value)
	})
	return made, failure
}

// tar writes the archive as git archive does.
func (a *treeArchive) tar(ctx context.Context, w io.Writer, files []treeFile) error {
	out := archive.NewTarWriter(w)
	if a.commit != "" {
		if err := out.Comment(a.commit, a.time.Unix()); err != nil {
			return err
		}
	}
	err := a.each(ctx, files, func(f archive.File, content io.Reader) error {
		if err := out.Header(f); err != nil || content == nil {
			return err
		}
		return out.Content(content)
	})
	if err != nil {
		return err
	}
	return out.End()
}

// zip writes the archive for sources that are named .zip.
func (a *treeArchive) zip(ctx context.Context, w io.Writer, files []treeFile) error {
	out := zip.NewWriter(w)
	if a.commit != "" {
		if err := out.SetComment(a.commit); err != nil {
			return fmt.Errorf("zip archive: %w", err)
		}
	}
	err := a.each(ctx, files, func(f archive.File, content io.Reader) error {
		h := &zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: a.time.UTC()}
		switch f.Kind {
		case '5':
			h.Method = zip.Store
			h.SetMode(fs.ModeDir | 0o755)
		case '2':
			h.SetMode(fs.ModeSymlink | 0o777)
			content = strings.NewReader(f.Link)
		default:
			h.SetMode(fs.FileMode(f.Mode) &^ 0o22)
		}
		entry, err := out.CreateHeader(h)
		if err == nil && content != nil {
			_, err = io.Copy(entry, content)
		}
		return err
	})
	if err != nil {
		return err
	}
	return out.Close()
}

// each passes what the archive has to put: content is nil for what is not a file.
func (a *treeArchive) each(ctx context.Context, files []treeFile,
	put func(f archive.File, content io.Reader) error) error {
	mask := int64(0o22)
	if a.tree.repo != nil {
		mask = 0o02 // as git archive has it
	}
	dir := archive.File{Name: a.Dir(), Kind: '5', Mode: 0o777 &^ mask, MTime: a.time.Unix()}
	if a.Prefix != "" {
		if err := put(dir, nil); err != nil {
			return err
		}
	}
	for _, f := range files {
		err := ctx.Err()
		h := dir
		h.Name += f.name
		switch {
		case err != nil:
		case strings.HasSuffix(f.name, "/"):
			err = put(h, nil)
		case f.info.Mode()&fs.ModeSymlink != 0:
			h.Kind, h.Mode = '2', 0o777
			if h.Link, err = os.Readlink(f.abs); err != nil {
				return Unusable(f.abs, err)
			}
			err = put(h, nil)
		default:
			h.Kind = '0'
			if f.info.Mode()&0o100 == 0 {
				h.Mode &^= 0o111
			}
			err = a.putFile(ctx, f, h, put)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putFile passes the content of a file, exactly as many bytes as its size.
func (a *treeArchive) putFile(ctx context.Context, f treeFile, h archive.File,
	put func(f archive.File, content io.Reader) error) error {
	in, size, err := a.open(ctx, f)
	if err != nil {
		return err
	}
	h.Size = size
	return errors.Join(put(h, &exactReader{in: in, left: size, name: f.abs}), in.Close())
}

// exactReader reads as many bytes as there were when reading began.
type exactReader struct {
	in   io.Reader
	left int64
	name string
}

func (e *exactReader) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.in.Read(b[:min(int64(len(b)), e.left)])
	e.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && e.left > 0:
		err = rpmflow.Fail(rpmflow.FailureSource, "build again when nothing changes it",
			"%s became shorter while it was read", show(e.name))
	case err != nil && !errors.Is(err, io.EOF):
		err = Unusable(e.name, err)
	}
	return n, err
}
