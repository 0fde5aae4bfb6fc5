package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
)

// content is what is known of a directory of a tree before it is archived.
type content struct {
	directory    string            // links followed
	submodules   map[string]string // their commits by their paths below the directory
	lfs          bool              // its attributes name Git LFS
	substitution bool              // its attributes name $Format:…$
}

// scan lists a directory of the tree. It refuses trees with which git archive would use up the memory: a few objects
// can stand for billions of files. And it asks for history if the archive may need it.
func (c *Commit) scan(ctx context.Context, dir string) (*content, error) {
	top, err := c.Find(dir)
	if err != nil {
		return nil, err
	}
	t := &content{directory: top.Path, submodules: map[string]string{}}
	attributes, err := c.listTree(ctx, top, t)
	if err != nil {
		return nil, err
	}
	for _, id := range attributes {
		text, err := c.head(id, maxAttributes)
		if err != nil {
			return nil, err
		}
		t.substitution = t.substitution || bytes.Contains(text, []byte("export-subst"))
		if t.substitution && !c.history {
			return nil, errHistory // $Format:%(describe)$, for one
		}
		t.lfs = t.lfs || bytes.Contains(text, []byte("filter=lfs"))
	}
	// For git archive those above the directory do not count; but what Git LFS keeps is not in the tree, wherever the
	// attribute is.
	for dir := top.Path; dir != "" && !t.lfs; {
		if dir = path.Dir(dir); dir == "." {
			dir = ""
		}
		text, err := c.attributesIn(dir)
		if err != nil {
			return nil, err
		}
		t.lfs = bytes.Contains(text, []byte("filter=lfs"))
	}
	return t, nil
}

// listTree lists a directory of the tree with all below it: its submodules into t, and the ids of the files
// .gitattributes.
func (c *Commit) listTree(ctx context.Context, dir Entry, t *content) (attributes []plumbing.Hash, err error) {
	n := 0
	visit := func(mode, id, name string) error {
		if n++; n > MaxEntries || strings.Count(name, "/") > MaxDepth {
			return rpmflow.Fail(rpmflow.FailureSource, "remove them, or use the standard layout",
				"more than %d files or %d levels of directories at %s", MaxEntries, MaxDepth, short(c.ID))
		}
		if err := checkName(path.Base(name)); err != nil {
			return err
		}
		switch {
		case mode == "160000":
			t.submodules[name] = id
		case path.Base(name) == ".gitattributes" && strings.HasPrefix(mode, "100"):
			attributes = append(attributes, plumbing.NewHash(id))
		}
		return nil
	}
	cmd := gitcmd.Command(ctx, "--git-dir="+c.dir, "ls-tree", "-r", "-t", "-z", "--full-tree", dir.id.String())
	err = gitcmd.Stream(ctx, cmd, func(r io.Reader) error {
		in := bufio.NewReaderSize(r, 64<<10)
		for {
			line, err := in.ReadString(0)
			if errors.Is(err, io.EOF) && line == "" {
				return nil
			}
			if err != nil {
				return &damageError{fmt.Errorf("reading a tree: %w", err)}
			}
			about, name, _ := strings.Cut(strings.TrimSuffix(line, "\x00"), "\t")
			words := strings.Fields(about)
			if len(words) != 3 || name == "" {
				return &damageError{fmt.Errorf("git lists %q, which is not understood", line)}
			}
			if err := visit(words[0], words[2], name); err != nil {
				return err
			}
		}
	})
	return attributes, damaged(err)
}
