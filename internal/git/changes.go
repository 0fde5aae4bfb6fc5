package git

import (
	"context"
	"path"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/rpmflow/rpmflow"
)

// Changed lists the paths of the files that differ between a commit of the repository and the requested one: those
// that were added, modified or deleted, a renamed one under both of its names. One commit need not be an ancestor of
// the other.
func (m *Mirrors) Changed(ctx context.Context, req Request, before string) ([]string, error) {
	var after plumbing.Hash
	err := m.Read(ctx, req, func(c *Commit) error {
		after = c.object.TreeHash
		return nil
	})
	var changed []string
	if err == nil {
		old := req
		old.Ref, old.Commit = "", before // no ref has it any more
		err = m.Read(ctx, old, func(c *Commit) error {
			changed = nil // Read may have called this before
			return c.diff(ctx, after, func(name string) { changed = append(changed, name) })
		})
	}
	return changed, err
}

// diff calls f for each file in which another tree differs.
func (c *Commit) diff(ctx context.Context, other plumbing.Hash, f func(name string)) error {
	seen := 0
	var visit func(dir string, old, now plumbing.Hash, depth int) error
	visit = func(dir string, old, now plumbing.Hash, depth int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		before, err := c.treeIfAny(old)
		if err != nil {
			return err
		}
		after, err := c.treeIfAny(now)
		if err != nil {
			return err
		}
		if seen += len(before) + len(after); seen > MaxEntries || depth > MaxDepth {
			return rpmflow.Fail(rpmflow.FailureSource, "push less at once",
				"too much has changed to be compared (more than %d entries or %d levels)", MaxEntries, MaxDepth)
		}
		was := make(map[string]object.TreeEntry, len(before))
		for _, e := range before {
			was[e.Name] = e
		}
		one := func(name string, from, to object.TreeEntry) error {
			var old, now plumbing.Hash
			if from.Mode == filemode.Dir {
				old = from.Hash
			}
			if to.Mode == filemode.Dir {
				now = to.Hash
			}
			if isLeaf(from) || isLeaf(to) {
				f(name)
			}
			if old == now {
				return nil
			}
			return visit(name, old, now, depth+1)
		}
		for _, e := range after {
			from := was[e.Name]
			delete(was, e.Name)
			if from.Hash == e.Hash && from.Mode == e.Mode {
				continue
			}
			if err := one(path.Join(dir, e.Name), from, e); err != nil {
				return err
			}
		}
		for _, e := range before {
			if _, gone := was[e.Name]; !gone {
				continue
			}
			if err := one(path.Join(dir, e.Name), e, object.TreeEntry{}); err != nil {
				return err
			}
		}
		return nil
	}
	return visit("", c.object.TreeHash, other, 0)
}

// isLeaf reports whether there is an entry that is not a directory.
func isLeaf(e object.TreeEntry) bool { return e.Mode != filemode.Empty && e.Mode != filemode.Dir }

// treeIfAny is tree, also of a directory that does not exist.
func (c *Commit) treeIfAny(id plumbing.Hash) ([]object.TreeEntry, error) {
	if id.IsZero() {
		return nil, nil
	}
	return c.tree(id)
}
