package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/rpmflow/rpmflow"
)

// surveyed is what is known of a tree before it is archived.
type surveyed struct {
	links map[string]string // commits of submodules, by path from the place on
	lfs   bool              // its attributes speak of Git LFS
	subst bool              // its attributes speak of $Format:…$
}

// survey lists the tree of a place. It refuses trees that would have git archive eat all memory: a few objects can stand for billions of files. And it asks
// for history where the archive may need it.
func (s *snapshot) survey(ctx context.Context, at place) (*surveyed, error) {
	t := &surveyed{links: map[string]string{}}
	var attributes []string
	n := 0
	err := s.listTree(ctx, at.tree, func(mode, id, name string) error {
		if n++; n > maxEntries || strings.Count(name, "/") > maxDepth {
			return rpmflow.Fail(rpmflow.FailureSource, "remove them, or use the standard layout",
				"more than %d files or %d levels of directories at %s", maxEntries, maxDepth, short(s.commit.Hash.String()))
		}
		if err := checkEntry(path.Base(name)); err != nil {
			return err
		}
		switch {
		case mode == "160000":
			t.links[name] = id
		case path.Base(name) == ".gitattributes" && strings.HasPrefix(mode, "100"):
			attributes = append(attributes, id)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, id := range attributes {
		text, err := s.head(plumbing.NewHash(id), 1<<20)
		if err != nil {
			return nil, err
		}
		t.subst = t.subst || bytes.Contains(text, []byte("export-subst"))
		if t.subst && !s.history {
			return nil, errHistory // $Format:%(describe)$, for one
		}
		t.lfs = t.lfs || bytes.Contains(text, []byte("filter=lfs"))
	}
	// For git archive those above a directory do not count; but what Git LFS keeps is not in the tree, whoever says so.
	for dir := at.dir; dir != "" && !t.lfs; {
		if dir = path.Dir(dir); dir == "." {
			dir = ""
		}
		e, _, err := s.find(path.Join(dir, ".gitattributes"))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !e.Mode.IsFile() {
			continue
		}
		if err != nil {
			return nil, err
		}
		text, err := s.head(e.Hash, 1<<20)
		if err != nil {
			return nil, err
		}
		t.lfs = bytes.Contains(text, []byte("filter=lfs"))
	}
	return t, nil
}

// listTree calls visit for all entries of a tree, directories included.
func (s *snapshot) listTree(ctx context.Context, tree plumbing.Hash, visit func(mode, id, name string) error) error {
	return s.gitOutput(ctx, func(r io.Reader) error {
		in := bufio.NewReaderSize(r, 64<<10)
		for {
			line, err := in.ReadString(0)
			if errors.Is(err, io.EOF) && line == "" {
				return nil
			}
			if err != nil {
				return &damage{fmt.Errorf("reading a tree: %w", err)}
			}
			about, name, _ := strings.Cut(strings.TrimSuffix(line, "\x00"), "\t")
			words := strings.Fields(about)
			if len(words) != 3 || name == "" {
				return &damage{fmt.Errorf("git lists %q, which is not understood", line)}
			}
			if err := visit(words[0], words[2], name); err != nil {
				return err
			}
		}
	}, "ls-tree", "-r", "-t", "-z", "--full-tree", tree.String())
}
