package source

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
)

// converting are the attributes with which git archive writes another content than that of the blob. Filters are none of them:
// those of a repository are never run.
var converting = regexp.MustCompile(`(?m)\s(eol=crlf|working-tree-encoding=|ident(\s|$)|export-subst(\s|$))`)

// substituting is the one of them for which git may need the commit's history.
var substituting = regexp.MustCompile(`(?m)\sexport-subst(\s|$)`)

// attributes are the texts of .gitattributes by the directories that they lie in, "" where there is none.
type attributes struct {
	snap *snapshot
	seen map[string]string
}

// of is what a directory and those above it say.
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
	e, _, err := a.snap.find(path.Join(dir, ".gitattributes"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err == nil && e.Mode.IsFile() {
		own, err := a.snap.head(e.Hash, 1<<20)
		if err != nil {
			return "", err
		}
		text += "\n" + string(own)
	}
	a.seen[dir] = text
	return text, nil
}

// conversions are files whose content is not that of their blobs, by their paths in the repository.
type conversions struct {
	files   map[string]string // where they are on disk
	refused map[string]error
}

// convert writes the files of which the content is not that of their blobs into dir, as git archive writes them. Those that
// export-ignore leaves out of an archive are there too: a checkout has them.
func (s *snapshot) convert(ctx context.Context, files []file, ref, dir string, maxFile int64) (c conversions, err error) {
	attributes := &attributes{snap: s, seen: map[string]string{}}
	c = conversions{files: map[string]string{}, refused: map[string]error{}}
	if s.disk != nil {
		return c, nil // they are as they were checked out
	}
	var paths []string
	for _, f := range files {
		text, err := attributes.of(path.Dir(f.path))
		if err != nil {
			return c, err
		}
		if !converting.MatchString(text) || slices.Contains(paths, f.path) {
			continue
		}
		paths = append(paths, f.path)
		if !substituting.MatchString(text) {
			continue
		}
		if !s.history {
			return c, errHistory
		}
		if err := s.refuseSignature(f); failureOf(err) != nil {
			c.refused[f.path] = err
		} else if err != nil {
			return c, err
		}
	}
	if len(paths) == 0 {
		return c, nil
	}
	into := filepath.Join(dir, "files")
	if err := os.MkdirAll(into, 0o700); err != nil {
		return c, fmt.Errorf("making a directory for sources: %w", err)
	}
	view, err := s.viewAs(ctx, filepath.Join(dir, "view"), ref)
	if err != nil {
		return c, err
	}
	info := filepath.Join(view.mirror, "info")
	err = errors.Join(os.MkdirAll(info, 0o700), os.WriteFile(filepath.Join(info, "attributes"), []byte("* -export-ignore\n"), 0o600))
	if err != nil {
		return c, fmt.Errorf("making a repository for sources: %w", err)
	}
	for some := range slices.Chunk(paths, 1000) {
		a := archiving{format: "tar", paths: some}
		if err := view.gitArchive(ctx, a, func(r io.Reader) error { return c.extract(r, into, maxFile) }); err != nil {
			return c, err
		}
	}
	for _, p := range paths {
		if c.files[p] == "" && c.refused[p] == nil {
			return c, &damage{fmt.Errorf("git archive leaves %s out", show(p))}
		}
	}
	return c, nil
}

var signed = regexp.MustCompile(ofSignature)

// refuseSignature is refuseSignatures of one file.
func (s *snapshot) refuseSignature(f file) error {
	if s.commit.PGPSignature == "" {
		return nil
	}
	text, err := s.head(f.hash, 1<<20)
	if err != nil || !signed.Match(text) {
		return err
	}
	return signaturePlaceholder(f.path)
}

// extract puts the files of an archive into dir under names of our own, and notes them by theirs.
func (c conversions) extract(r io.Reader, dir string, maxFile int64) error {
	return readTar(r, func(e tarEntry) error {
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
		_, err = io.Copy(out, e.content)
		if err = errors.Join(err, out.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", show(e.Name), err)
		}
		c.files[e.Name] = name
		return nil
	})
}

func tooLargeInGit(name string, size, most int64) error {
	return rpmflow.Fail(rpmflow.FailureSource, "keep large sources outside of git, or ask the operator to raise the limit",
		"%s has %d bytes; up to %d are taken from git", show(name), size, most)
}
