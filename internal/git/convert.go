package git

import (
	"archive/tar"
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
	"strconv"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/archive"
)

// converting are the attributes with which git archive writes another content than that of the blob. Filters are not
// among them: those of a repository are never run.
var converting = regexp.MustCompile(`(?m)\s(eol=crlf|working-tree-encoding=|ident(\s|$)|export-subst(\s|$))`)

// substituting is the one of them for which git may need the commit's history.
var substituting = regexp.MustCompile(`(?m)\sexport-subst(\s|$)`)

// attributes are the texts of .gitattributes by their directories, "" if there is none.
type attributes struct {
	commit *Commit
	seen   map[string]string
}

// of is the text that counts for a directory: its own, and those of the directories above it.
func (a *attributes) of(dir string) (string, error) {
	if dir == "." {
		dir = ""
	}
	if text, ok := a.seen[dir]; ok {
		return text, nil
	}
	text := ""
	if dir != "" {
		var err error
		if text, err = a.of(path.Dir(dir)); err != nil {
			return "", err
		}
	}
	own, err := a.commit.attributesIn(dir)
	if err != nil {
		return "", err
	}
	if own != nil {
		text += "\n" + string(own)
	}
	a.seen[dir] = text
	return text, nil
}

// attributesIn reads the file .gitattributes of a directory; nil: there is none.
func (c *Commit) attributesIn(dir string) ([]byte, error) {
	e, err := c.Find(path.Join(dir, ".gitattributes"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !e.IsFile() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.head(e.id, maxAttributes)
}

// maxAttributes is how much of a file .gitattributes is read, in bytes.
const maxAttributes = 1 << 20

// conversions are files whose content is not that of their blobs, by their paths in the repository.
type conversions struct {
	files   map[string]string // where they are on disk
	refused map[string]error
}

// convert writes the files whose content is not that of their blobs to the scratch directory, as git archive writes
// them. Those that export-ignore leaves out of an archive are written, too: a checkout has them.
func (c *Commit) convert(ctx context.Context, files []File, o CheckoutOptions) (*conversions, error) {
	attributes := &attributes{commit: c, seen: map[string]string{}}
	done := &conversions{files: map[string]string{}, refused: map[string]error{}}
	if err := os.RemoveAll(o.Scratch); err != nil { // of an attempt before
		return nil, fmt.Errorf("making a directory for sources: %w", err)
	}
	var paths []string
	for _, f := range files {
		text, err := attributes.of(path.Dir(f.Path))
		if err != nil {
			return nil, err
		}
		if !converting.MatchString(text) || slices.Contains(paths, f.Path) {
			continue
		}
		paths = append(paths, f.Path)
		if !substituting.MatchString(text) {
			continue
		}
		if !c.history {
			return nil, errHistory
		}
		err = c.refuseSignature(f)
		var failure *rpmflow.Failure
		if errors.As(err, &failure) {
			done.refused[f.Path] = err
		} else if err != nil {
			return nil, err
		}
	}
	if len(paths) == 0 {
		return done, nil
	}
	into := filepath.Join(o.Scratch, "files")
	if err := os.MkdirAll(into, 0o700); err != nil {
		return nil, fmt.Errorf("making a directory for sources: %w", err)
	}
	view, err := c.checkedOut(ctx, filepath.Join(o.Scratch, "view"))
	if err != nil {
		return nil, err
	}
	info := filepath.Join(view.dir, "info")
	err = errors.Join(os.MkdirAll(info, 0o700),
		os.WriteFile(filepath.Join(info, "attributes"), []byte("* -export-ignore\n"), 0o600))
	if err != nil {
		return nil, fmt.Errorf("making a repository for sources: %w", err)
	}
	for some := range slices.Chunk(paths, 1000) {
		a := archiving{format: "tar", paths: some}
		err := view.gitArchive(ctx, a, func(r io.Reader) error { return done.extract(r, into, o.MaxFile) })
		if err != nil {
			return nil, err
		}
	}
	for _, p := range paths {
		if done.files[p] == "" && done.refused[p] == nil {
			return nil, &damageError{fmt.Errorf("git archive leaves %s out", show(p))}
		}
	}
	return done, nil
}

// extract writes the files of an archive to dir under names of our own, and records them by theirs.
func (c *conversions) extract(r io.Reader, dir string, maxFile int64) error {
	return archive.ReadTar(r, func(e archive.Entry) error {
		if e.Typeflag != tar.TypeReg {
			return nil
		}
		if e.Size > maxFile {
			c.refused[e.Name] = tooLargeInGit(e.Name, e.Size, maxFile)
			return nil
		}
		name := filepath.Join(dir, strconv.Itoa(len(c.files)))
		out, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("writing %s: %w", show(e.Name), err)
		}
		_, err = io.Copy(out, e.Content)
		if err = errors.Join(err, out.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", show(e.Name), err)
		}
		c.files[e.Name] = name
		return nil
	})
}
