package publisher

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/repo"
)

// remains are what is there of a repository that is to be made again.
type remains struct {
	state   *repo.State
	entries []repo.Entry // the packages of the newest revision that can be read
	arches  []string
	found   bool    // the state was lost, and put together from the revisions
	lost    []error // revisions that cannot be read
}

// remains reads the state of a repository, or finds its revisions if that is damaged or not there. The version is that
// of the state's object.
func (p *Publisher) remains(ctx context.Context, place Place) (r *remains, version string, err error) {
	raw, version, err := p.repos.Read(ctx, place.key(stateName), maxState)
	if err != nil {
		return nil, "", err
	}
	r = &remains{}
	if r.state, err = repo.ParseState(raw); err == nil {
		r.entries, r.arches = r.state.Entries(), slices.Clone(r.state.Arches)
		return r, version, nil
	}
	err = p.findRevisions(ctx, place, r)
	r.found = version != "" || err == nil && r.state.Revision > 0
	return r, version, err
}

// forgetMissing takes packages whose files are gone out of those that were removed: nobody can fetch them any more.
func (p *Publisher) forgetMissing(ctx context.Context, place Place, s *repo.State) error {
	there := map[string]bool{}
	for o, err := range p.repos.List(ctx, place.key("Packages/")) {
		if err != nil {
			return err
		}
		there[o.Key] = true
	}
	s.Removed = slices.DeleteFunc(s.Removed, func(r repo.Removed) bool { return !there[place.key(r.Object())] })
	return nil
}

// findRevisions reads the revisions of a repository whose state is lost.
func (p *Publisher) findRevisions(ctx context.Context, place Place, r *remains) error {
	last, names, err := p.revisions(ctx, place)
	if err != nil {
		return err
	}
	shown, _, err := p.repos.Read(ctx, place.key(mirrorlist), maxSmall)
	if err != nil {
		return err
	}
	number, _, _ := strings.Cut(path.Base(strings.TrimSpace(string(shown))), "-")
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		last = max(last, n)
	}
	temp, err := dirlock.NewTemp(p.o.Dir, "find-"+rand.Text())
	if err != nil {
		return fmt.Errorf("rebuild %s: %w", place.Path(), err)
	}
	defer func() { _ = temp.Remove() }() // what is left is removed at the next start
	var revisions []repo.Revision
	packages := map[int64][]repo.Entry{}
	for _, name := range names {
		v, entries, err := p.findRevision(ctx, place, name, temp.Path)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if err != nil {
			r.lost = append(r.lost, fmt.Errorf("revision %s cannot be read: %w", name, err))
			continue
		}
		// Of two with the same number clients have seen one: that of the mirrorlist, if it is there.
		same := func(o repo.Revision) bool { return o.Number == v.Number }
		if slices.ContainsFunc(revisions, same) {
			if !strings.HasSuffix(string(shown), "/"+place.revision(v)+"/\n") {
				continue
			}
			revisions = slices.DeleteFunc(revisions, same)
		}
		revisions, packages[v.Number] = append(revisions, v), entries
	}
	r.state = repo.Found(revisions, packages, last, p.o.now())
	// One that a sweep would have removed long ago was pinned, or it was not swept yet: who knows may release it.
	left := r.state.Swept(p.o.now(), sweepAfter, sweepLeast-1) // the rebuilt one is among the least
	for i, v := range r.state.Revisions {
		r.state.Revisions[i].Pinned = !slices.ContainsFunc(left.Revisions, func(l repo.Revision) bool {
			return l.Number == v.Number
		})
	}
	r.entries = packages[r.state.Newest().Number]
	for _, e := range r.entries {
		if !slices.Contains(r.arches, e.Arch) {
			r.arches = append(r.arches, e.Arch)
		}
	}
	return nil
}

// revisions are the names of the directories of revisions, and the highest number that one has had, as far as the
// storage still has it.
func (p *Publisher) revisions(ctx context.Context, place Place) (last int64, names []string, err error) {
	below := place.key("r/")
	for o, err := range p.repos.List(ctx, below) {
		if err != nil {
			return 0, nil, err
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(o.Key, below), "/")
		number, _, _ := strings.Cut(name, "-")
		n, err := strconv.ParseInt(number, 10, 64)
		if err == nil && (len(names) == 0 || names[len(names)-1] != name) {
			last, names = max(last, n), append(names, name)
		}
	}
	return last, names, nil
}

// findRevision reads a revision and its packages from its directory.
func (p *Publisher) findRevision(
	ctx context.Context, place Place, name, dir string,
) (v repo.Revision, entries []repo.Entry, err error) {
	var repomd [2][]byte
	for i, from := range []string{"repodata", flat} {
		key := place.key("r/" + name + "/" + from + "/repomd.xml")
		if repomd[i], _, err = p.repos.Read(ctx, key, maxSmall); err != nil {
			return v, nil, err
		}
	}
	if v, err = repo.FindRevision(repomd[0], repomd[1]); err != nil {
		return v, nil, err
	}
	if v.Name() != name {
		return v, nil, fmt.Errorf("its repomd.xml belongs in the directory %s", v.Name())
	}
	primary, file := v.Files[0], filepath.Join(dir, "primary")
	err = p.fetch(ctx, place.key("r/"+name+"/repodata/"+primary.Name), file, primary.SHA256, primary.Size)
	if err != nil {
		return v, nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return v, nil, err
	}
	defer func() { _ = f.Close() }() // it is read only
	entries, err = repo.FindEntries(primary.Name, f)
	return v, entries, err
}
