package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/rpmflow/rpmflow"
)

const (
	// largeObject is the size from which go-git streams an object instead of reading it into memory.
	largeObject = 8 << 20
	// manyPacks is where a mirror's packs are rolled up: every fetch adds one, and every look-up asks all of them.
	manyPacks = 40
	// maxTags bounds tags of tags.
	maxTags = 10
)

// errAbsent says that the mirror does not have the commit yet.
var errAbsent = errors.New("the commit is not in the mirror")

// damage is an error that a new mirror would not have: an object that must be there is missing or unreadable.
type damage struct{ err error }

func (d *damage) Error() string { return "the git mirror is damaged: " + d.err.Error() }
func (d *damage) Unwrap() error { return d.err }

// mirror is the bare repository that we keep of a remote. There may be two: most builds need the trees of the commits that were
// pushed and nothing else, which for a repository with 3,000 commits is a third of the disk and a quarter of the time of the first
// fetch, and no slower later. One with history is a mirror of its own, so that neither changes what the other is.
type mirror struct {
	*Store
	remote  *remote
	dir     string
	project string
	history bool // all commits, and the tags
}

// snapshot is a commit in a mirror, valid while the mirror's lock is held.
type snapshot struct {
	// disk, where it is set, is a directory in place of a commit: then the ids of files and directories are its own.
	disk   *WorkTree
	mirror string
	repo   *git.Repository
	commit *object.Commit
	// history says that the mirror has all commits and the tags.
	history bool
}

// read calls use with the requested commit, while others may read the mirror but nobody changes it. It fetches where
// the commit is missing. Where use reports damage, the mirror is made anew once and use called again.
func (s *Store) read(ctx context.Context, req Request, use func(*snapshot) error) error {
	if req.WorkTree != nil {
		snap, err := req.WorkTree.snapshot(ctx)
		if err != nil {
			return err
		}
		return use(snap)
	}
	remote, err := s.remote(req)
	if err != nil {
		return err
	}
	if len(req.Commit) != 40 || !rpmflow.IsCommit(req.Commit) || rpmflow.IsZeroCommit(req.Commit) {
		return rpmflow.Fail(rpmflow.FailureSource, "repositories with SHA-1 object names can be built, by a full id",
			"%q is not the full id of a commit", req.Commit)
	}
	ref := req.Ref
	if rpmflow.IsCommit(ref) {
		ref = ""
	}
	if ref != "" {
		if err := checkRef(ref); err != nil {
			return err
		}
	}
	m := s.mirror(remote, req)
	if req.History && !req.fetched { // there may be new tags, whatever commits we have
		if err := m.update(ctx, ref, req.Commit, true); err != nil {
			return err
		}
	}
	renewed := false
	// A colleague who makes the mirror anew between our fetch and our reading costs one round more.
	for range 4 {
		var seen os.FileInfo
		seen, err = m.tryRead(ctx, req.Commit, use)
		var bad *damage
		switch {
		case errors.Is(err, errAbsent):
			err = m.update(ctx, ref, req.Commit, false)
		case errors.As(err, &bad) && !renewed:
			renewed = true
			s.log.Warn("git mirror is damaged; making it anew", "project", req.Project, "mirror", m.dir, "error", bad.err)
			err = m.renew(ctx, seen)
		default:
			return err
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("reading commit %s: the git mirror %s changes all the time; is something else writing to it?", short(req.Commit), m.dir)
}

// remote is the request's, with the means to get in.
func (s *Store) remote(req Request) (*remote, error) {
	r, err := parseRemote(req.URL)
	if err != nil {
		return nil, err
	}
	if req.from != nil {
		return s.enter(r, req.from)
	}
	return r.with(s.access(r.clean)), nil
}

func (s *Store) mirror(r *remote, req Request) *mirror {
	name := r.mirrorName()
	if req.History {
		name = strings.TrimSuffix(name, ".git") + "-history.git"
	}
	return &mirror{Store: s, remote: r, dir: filepath.Join(s.dir, name), project: req.Project, history: req.History}
}

// tryRead calls use under the shared lock. It returns which directory it looked at, for renew.
func (m *mirror) tryRead(ctx context.Context, commit string, use func(*snapshot) error) (os.FileInfo, error) {
	lock, err := m.lock(ctx, syscall.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }() // which gives it back
	m.used(lock)
	seen, err := os.Stat(m.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, fmt.Errorf("looking at the git mirror: %w", err)
	}
	repo, err := m.open()
	if err != nil {
		return seen, err
	}
	c, err := peel(repo, plumbing.NewHash(commit))
	if err != nil {
		return seen, err
	}
	return seen, use(&snapshot{mirror: m.dir, repo: repo, commit: c, history: m.history})
}

// update fetches, so that the commit is in the mirror afterwards: where it is there already, only if always.
func (m *mirror) update(ctx context.Context, ref, commit string, always bool) error {
	lock, err := m.lock(ctx, syscall.LOCK_EX)
	if err != nil {
		return err
	}
	err = m.updateLocked(ctx, lock, ref, commit, always)
	_ = lock.Close() // gives it back
	if err == nil {
		m.sweep(filepath.Base(m.dir))
	}
	return err
}

func (m *mirror) updateLocked(ctx context.Context, lock *os.File, ref, commit string, always bool) error {
	m.used(lock)
	for retried := false; ; retried = true {
		repo, err := m.ready()
		if err == nil {
			if _, err = peel(repo, plumbing.NewHash(commit)); err == nil && !always {
				return nil // a colleague was faster
			}
		}
		if err == nil || errors.Is(err, errAbsent) {
			err = m.fetch(ctx, lock, ref, commit)
		}
		var bad *damage
		if !errors.As(err, &bad) || retried {
			return err
		}
		m.log.Warn("git mirror is damaged; making it anew", "project", m.project, "mirror", m.dir, "error", bad.err)
		if err := discard(m.dir); err != nil {
			return fmt.Errorf("removing the damaged git mirror: %w", err)
		}
	}
}

// asked is one way to ask for a commit.
type asked struct {
	options, specs []string
}

// ways are the ways to ask for a commit, in the order in which they are tried: by the pushed ref and, if that has moved on
// without the commit, by its id, which not every server allows.
func (m *mirror) ways(ref, commit string) []asked {
	var ways []asked
	// The ref is kept under a flat name: a/b on top of a deleted a would be in its way.
	pushed := "+" + ref + ":refs/rpmflow/pushed/" + rpmflow.Digest([]byte(ref))[:20]
	exact := "+" + commit + ":refs/rpmflow/commits/" + commit
	if m.history {
		const tags = "+refs/tags/*:refs/tags/*"
		if ref != "" {
			ways = append(ways, asked{[]string{"--prune"}, []string{pushed, tags}})
		}
		return append(ways, asked{[]string{"--prune"}, []string{tags}}, asked{nil, []string{exact}})
	}
	if ref != "" {
		ways = append(ways, asked{[]string{"--depth=1"}, []string{pushed}})
	}
	ways = append(ways, asked{[]string{"--depth=1"}, []string{exact}})
	if ref != "" { // somewhere behind the ref's newest commit
		ways = append(ways, asked{[]string{"--depth=2147483647"}, []string{pushed}})
	}
	return ways
}

// fetch asks the remote until the commit is there.
func (m *mirror) fetch(parent context.Context, lock *os.File, ref, commit string) error {
	ctx, cancel := context.WithTimeout(parent, m.fetchTimeout)
	defer cancel()
	started := time.Now()
	for _, way := range m.ways(ref, commit) {
		err := m.remote.fetch(ctx, m.dir, lock, way.options, way.specs...)
		if errors.Is(err, errNoRef) {
			continue
		}
		if err != nil {
			m.tidy()
			return m.fetchError(ctx, err)
		}
		repo, err := m.open() // git may have written packs that an open repository does not know
		if err != nil {
			return err
		}
		_, err = peel(repo, plumbing.NewHash(commit))
		if errors.Is(err, errAbsent) {
			continue
		}
		if err == nil {
			m.log.Debug("git fetched", "project", m.project, "repository", m.remote.clean, "ref", ref, "commit", commit, "history", m.history, "duration", time.Since(started))
			m.rollUp(ctx, lock)
		}
		return err
	}
	return m.gone(ref, commit)
}

func (m *mirror) gone(ref, commit string) error {
	where := m.remote.clean
	if m.remote.from != nil {
		return rpmflow.Fail(rpmflow.FailureSource, "push the commit to that repository, or set the submodule to one that is there",
			"commit %s is not in %s: the repository does not give it out", short(commit), where)
	}
	if ref != "" {
		where = ref + " of " + where
	}
	return rpmflow.Fail(rpmflow.FailureSource, "push again, or build the ref's newest commit",
		"commit %s is not in %s any more (force-pushed or deleted?): the repository does not give it out", short(commit), where)
}

// fetchError tells our own mirror's damage from the remote's errors.
func (m *mirror) fetchError(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %w", ctx.Err(), err) // go-git does not always say that it was the context
	}
	explained := m.remote.explain("fetching", err)
	var mistake *rpmflow.Failure
	if ctx.Err() != nil || errors.As(explained, &mistake) {
		return explained
	}
	// Git's texts about broken repositories are legion, and those about broken connections not few. So the mirror itself is asked.
	if !errors.Is(err, errOutside) {
		if _, unsound := runGit(ctx, "--git-dir="+m.dir, "fsck", "--full", "--no-dangling", "--no-progress"); unsound != nil && ctx.Err() == nil {
			return &damage{m.remote.scrub(err)}
		}
	}
	return explained
}

// rollUp joins small packs to larger ones, all objects kept. That it does not succeed costs time later, nothing else.
func (m *mirror) rollUp(ctx context.Context, lock *os.File) {
	packs, err := filepath.Glob(filepath.Join(m.dir, "objects", "pack", "*.pack"))
	if err == nil && len(packs) > manyPacks {
		_, err = runGitWith(ctx, nil, lock, "--git-dir="+m.dir, "repack", "-d", "-q", "--geometric=2")
	}
	if err != nil {
		m.log.Warn("rolling up the git mirror's packs failed", "project", m.project, "mirror", m.dir, "error", err)
	}
}

// renew removes the mirror, if it still is the one that was seen damaged.
func (m *mirror) renew(ctx context.Context, seen os.FileInfo) error {
	lock, err := m.lock(ctx, syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // which gives it back
	if now, err := os.Stat(m.dir); err != nil || !os.SameFile(seen, now) {
		return nil
	}
	if err := discard(m.dir); err != nil {
		return fmt.Errorf("removing the damaged git mirror: %w", err)
	}
	return nil
}

// ready opens the mirror, or makes it, and looks whether it is sound enough to fetch into.
func (m *mirror) ready() (*git.Repository, error) {
	if _, err := os.Stat(m.dir); errors.Is(err, fs.ErrNotExist) {
		if _, err := git.PlainInit(m.dir, true); err != nil {
			return nil, fmt.Errorf("making the git mirror: %w", err)
		}
	}
	m.tidy()
	repo, err := m.open()
	if err != nil {
		return nil, err
	}
	refs, err := repo.References()
	if err != nil {
		return nil, &damage{err}
	}
	err = refs.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() != plumbing.HashReference {
			return nil
		}
		_, err := repo.Storer.EncodedObject(plumbing.AnyObject, ref.Hash())
		return err
	})
	if err != nil {
		return nil, &damage{err}
	}
	return repo, nil
}

func (m *mirror) open() (*git.Repository, error) {
	store := filesystem.NewStorageWithOptions(osfs.New(m.dir), cache.NewObjectLRUDefault(), filesystem.Options{LargeObjectThreshold: largeObject})
	repo, err := git.Open(store, nil)
	if err != nil {
		return nil, &damage{err}
	}
	return repo, nil
}

// peel follows annotated tags to the commit.
func peel(repo *git.Repository, id plumbing.Hash) (*object.Commit, error) {
	hash := id
	for range maxTags {
		o, err := repo.Storer.EncodedObject(plumbing.AnyObject, hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) && hash == id {
			return nil, errAbsent
		}
		if err != nil {
			return nil, &damage{err}
		}
		switch o.Type() {
		case plumbing.CommitObject:
			c, err := object.DecodeCommit(repo.Storer, o)
			if err != nil {
				return nil, &damage{err}
			}
			return c, nil
		case plumbing.TagObject:
			t, err := object.DecodeTag(repo.Storer, o)
			if err != nil {
				return nil, &damage{err}
			}
			hash = t.Target
		default:
			return nil, rpmflow.Fail(rpmflow.FailureSource, "tag a commit", "%s is a %s, not a commit", short(id.String()), o.Type())
		}
	}
	return nil, rpmflow.Fail(rpmflow.FailureSource, "tag a commit", "%s is a tag of a tag of a tag, and so on", short(id.String()))
}

func short(commit string) string { return commit[:min(len(commit), 12)] }
