package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
)

// Commit is a commit in a mirror. It is valid only in the function that Read calls.
type Commit struct {
	ID   string    // never that of a tag
	Time time.Time // the committer's, in UTC

	dir     string // of the mirror, or of a view of it
	repo    *gogit.Repository
	object  *object.Commit
	history bool // the mirror has all commits and the tags
	ref     string
	remote  *remote
}

// Revision implements Tree.
func (c *Commit) Revision() (string, time.Time) { return c.ID, c.Time }

// Where implements Tree.
func (c *Commit) Where() string { return " at " + short(c.ID) }

// Root implements Tree.
func (c *Commit) Root() Entry { return Entry{mode: filemode.Dir, id: c.object.TreeHash} }

// Entries implements Tree.
func (c *Commit) Entries(dir Entry) ([]Entry, error) {
	list, err := c.tree(dir.id)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(list))
	for _, e := range list {
		entries = append(entries, Entry{Path: path.Join(dir.Path, e.Name), mode: e.Mode, id: e.Hash})
	}
	return entries, nil
}

// tree reads a tree object.
func (c *Commit) tree(id plumbing.Hash) ([]object.TreeEntry, error) {
	t, err := object.GetTree(c.repo.Storer, id)
	if errors.Is(err, object.ErrMalformedTree) {
		return nil, &rpmflow.Failure{
			Kind:    rpmflow.FailureSource,
			Message: "malformed tree " + short(id.String()),
			Hint:    "git fsck",
			Err:     err,
		}
	}
	if err != nil {
		return nil, &damageError{fmt.Errorf("tree %s: %w", short(id.String()), err)}
	}
	for _, e := range t.Entries {
		if err := checkName(e.Name); err != nil {
			return nil, err
		}
	}
	return t.Entries, nil
}

// Find implements Tree.
func (c *Commit) Find(name string) (Entry, error) {
	missing := fmt.Errorf("%s: %w", show(name), fs.ErrNotExist)
	at, links := []object.TreeEntry{{Mode: filemode.Dir, Hash: c.object.TreeHash}}, 0
	rest := strings.Split(name, "/")
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		switch word {
		case "", ".":
			continue
		case "..":
			if len(at) == 1 {
				return Entry{}, missing
			}
			at = at[:len(at)-1]
			continue
		}
		dir := at[len(at)-1]
		if dir.Mode != filemode.Dir || len(at) > MaxDepth {
			return Entry{}, missing
		}
		list, err := c.tree(dir.Hash)
		if err != nil {
			return Entry{}, err
		}
		found := false
		for _, e := range list {
			if e.Name != word {
				continue
			}
			found = true
			if e.Mode != filemode.Symlink {
				at = append(at, e)
				break
			}
			target, err := c.head(e.Hash, 4<<10)
			if err != nil {
				return Entry{}, err
			}
			links++
			if links > maxLinks || bytes.HasPrefix(target, []byte("/")) || len(target) == 0 {
				return Entry{}, missing
			}
			rest = append(strings.Split(string(target), "/"), rest...)
			break
		}
		if !found {
			return Entry{}, missing
		}
	}
	var words []string
	for _, e := range at[1:] {
		words = append(words, e.Name)
	}
	last := at[len(at)-1]
	return Entry{Path: strings.Join(words, "/"), mode: last.Mode, id: last.Hash}, nil
}

// Head implements Tree.
func (c *Commit) Head(file Entry, n int64) ([]byte, error) { return c.head(file.id, n) }

func (c *Commit) head(blob plumbing.Hash, n int64) ([]byte, error) {
	r, _, err := c.open(blob)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	text, err := io.ReadAll(io.LimitReader(r, n))
	if err != nil {
		return nil, blobError(blob, err)
	}
	return text, nil
}

// Open reads a file. Its errors are those of the mirror.
func (c *Commit) Open(file Entry) (io.ReadCloser, error) {
	r, _, err := c.open(file.id)
	return r, err
}

func (c *Commit) open(blob plumbing.Hash) (r io.ReadCloser, size int64, err error) {
	b, err := c.repo.BlobObject(blob)
	if err != nil {
		return nil, 0, blobError(blob, err)
	}
	if r, err = b.Reader(); err != nil {
		return nil, 0, blobError(blob, err)
	}
	return r, b.Size, nil
}

func blobError(blob plumbing.Hash, err error) error {
	return &damageError{fmt.Errorf("blob %s: %w", short(blob.String()), err)}
}

// maxTags bounds tags of tags.
const maxTags = 10

// peel follows annotated tags to the commit.
func peel(repo *gogit.Repository, id plumbing.Hash) (*object.Commit, error) {
	hash := id
	for range maxTags {
		o, err := repo.Storer.EncodedObject(plumbing.AnyObject, hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) && hash == id {
			return nil, errAbsent
		}
		if err != nil {
			return nil, &damageError{err}
		}
		switch o.Type() {
		case plumbing.CommitObject:
			c, err := object.DecodeCommit(repo.Storer, o)
			if err != nil {
				return nil, &damageError{err}
			}
			return c, nil
		case plumbing.TagObject:
			t, err := object.DecodeTag(repo.Storer, o)
			if err != nil {
				return nil, &damageError{err}
			}
			hash = t.Target
		default:
			return nil, rpmflow.Fail(rpmflow.FailureSource, "tag a commit",
				"%s is a %s, not a commit", short(id.String()), o.Type())
		}
	}
	return nil, rpmflow.Fail(rpmflow.FailureSource, "tag a commit",
		"%s is a tag of a tag of a tag, and so on", short(id.String()))
}

// setting is a line of a file in git's own form.
type setting struct{ key, value string }

// maxConfig bounds .gitmodules and .lfsconfig, in bytes.
const maxConfig = 1 << 20

// config reads a file of the commit in git's own form: .gitmodules, .lfsconfig.
func (c *Commit) config(ctx context.Context, name, hint string) ([]setting, error) {
	e, err := c.Find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !e.IsFile() {
		return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "%s is not a file", name)
	}
	text, err := c.head(e.id, maxConfig)
	if err != nil {
		return nil, err
	}
	if len(text) >= maxConfig {
		return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "%s has more than %d bytes", name, maxConfig)
	}
	out, err := gitcmd.Run(ctx, "--git-dir="+c.dir, "config", "--no-includes", "--null", "--list",
		"--blob="+e.id.String())
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "git cannot read %s at %s", name, short(c.ID))
	}
	var all []setting
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		key, value, _ := strings.Cut(line, "\n")
		all = append(all, setting{key, value})
	}
	return all, nil
}
