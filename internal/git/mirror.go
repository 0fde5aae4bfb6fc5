package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
)

const (
	// largeObject is the size from which go-git streams an object instead of reading it into memory.
	largeObject = 8 << 20
	// manyPacks is how many packs a mirror may have before they are joined: every fetch adds one, and every look-up
	// reads the index of each.
	manyPacks = 40
	// maxRounds is how often a commit is fetched and read before giving up: another process may replace the mirror in
	// between.
	maxRounds = 4
)

// mirror is the bare repository that is kept of a remote. There may be two: most builds need the trees of the commits
// that were pushed and nothing else, which for a repository with 3,000 commits is a third of the disk and a quarter
// of the time of the first fetch, and no slower later. One with history is a mirror of its own, so that neither
// changes what the other is.
type mirror struct {
	*Mirrors
	remote  *remote
	dir     string
	project string
	history bool // all commits, and the tags
}

// Read calls use with the requested commit, which is valid until use returns: others may read the mirror then, but
// no process changes it. It fetches the commit if it is missing, and its history if use turns out to need it. If use
// finds the mirror damaged, the mirror is replaced once. So use may be called more than once, and must begin from the
// start each time.
func (m *Mirrors) Read(ctx context.Context, req Request, use func(*Commit) error) error {
	err := m.read(ctx, req, use)
	if errors.Is(err, errHistory) {
		req.History, req.Fetched = true, false
		err = m.read(ctx, req, use)
	}
	return err
}

func (m *Mirrors) read(ctx context.Context, req Request, use func(*Commit) error) error {
	remote, err := m.remote(req)
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
		if err := CheckRef(ref); err != nil {
			return err
		}
	}
	mirror := m.mirror(remote, req)
	if req.History && !req.Fetched { // there may be new tags, also of commits that the mirror has
		if err := mirror.update(ctx, ref, req.Commit, true); err != nil {
			return err
		}
	}
	renewed := false
	for range maxRounds {
		var seen os.FileInfo
		seen, err = mirror.tryRead(ctx, req, use)
		var bad *damageError
		switch {
		case errors.Is(err, errAbsent):
			err = mirror.update(ctx, ref, req.Commit, false)
		case errors.As(err, &bad) && !renewed:
			renewed = true
			m.Logger.Warn("git mirror is damaged and is replaced", "project", req.Project, "mirror", mirror.dir,
				"error", bad.err)
			err = mirror.renew(ctx, seen)
		default:
			return err
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("reading commit %s: the git mirror %s changes all the time; is something else writing to it?",
		short(req.Commit), mirror.dir)
}

// remote is the request's, with its credentials.
func (m *Mirrors) remote(req Request) (*remote, error) {
	r, err := parseRemote(req.URL)
	if err != nil {
		return nil, err
	}
	if req.parent != nil {
		return m.submodule(r, req.parent)
	}
	return r.with(m.Access(r.url)), nil
}

func (m *Mirrors) mirror(r *remote, req Request) *mirror {
	name := r.mirrorName()
	if req.History {
		name = strings.TrimSuffix(name, ".git") + "-history.git"
	}
	return &mirror{Mirrors: m, remote: r, dir: filepath.Join(m.Dir, name), project: req.Project, history: req.History}
}

// tryRead calls use under the shared lock. It returns which directory it read, for renew.
func (m *mirror) tryRead(ctx context.Context, req Request, use func(*Commit) error) (os.FileInfo, error) {
	lock, err := m.lock(ctx, dirlock.Shared)
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }() // which unlocks it
	m.used(lock)
	seen, err := os.Stat(m.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, fmt.Errorf("opening the git mirror: %w", err)
	}
	repo, err := m.open()
	if err != nil {
		return seen, err
	}
	c, err := peel(repo, plumbing.NewHash(req.Commit))
	if err != nil {
		return seen, err
	}
	return seen, use(&Commit{ID: c.Hash.String(), Time: c.Committer.When.UTC(),
		dir: m.dir, repo: repo, object: c, history: m.history, ref: req.Ref, remote: m.remote})
}

// update fetches, so that the commit is in the mirror afterwards. If it is there already, it fetches only if always
// is set.
func (m *mirror) update(ctx context.Context, ref, commit string, always bool) error {
	lock, err := m.lock(ctx, dirlock.Exclusive)
	if err != nil {
		return err
	}
	err = m.updateLocked(ctx, lock, ref, commit, always)
	_ = lock.Close() // unlocks it
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
				return nil // another process has fetched it meanwhile
			}
		}
		if err == nil || errors.Is(err, errAbsent) {
			err = m.fetch(ctx, lock, ref, commit)
		}
		var bad *damageError
		if !errors.As(err, &bad) || retried {
			return err
		}
		m.Logger.Warn("git mirror is damaged and is replaced", "project", m.project, "mirror", m.dir, "error", bad.err)
		if err := discard(m.dir); err != nil {
			return fmt.Errorf("removing the damaged git mirror: %w", err)
		}
	}
}

// attempt is one way to ask for a commit.
type attempt struct {
	options, specs []string
}

// attempts are the ways to ask for a commit, in the order in which they are tried: by the pushed ref and, if that has
// moved on without the commit, by its id, which not every server allows.
func (m *mirror) attempts(ref, commit string) []attempt {
	var list []attempt
	// The ref is kept under a flat name: a/b on top of a deleted a would be in its way.
	pushed := "+" + ref + ":refs/rpmflow/pushed/" + rpmflow.Digest([]byte(ref))[:20]
	exact := "+" + commit + ":refs/rpmflow/commits/" + commit
	if m.history {
		const tags = "+refs/tags/*:refs/tags/*"
		if ref != "" {
			list = append(list, attempt{[]string{"--prune"}, []string{pushed, tags}})
		}
		return append(list, attempt{[]string{"--prune"}, []string{tags}}, attempt{nil, []string{exact}})
	}
	if ref != "" {
		list = append(list, attempt{[]string{"--depth=1"}, []string{pushed}})
	}
	list = append(list, attempt{[]string{"--depth=1"}, []string{exact}})
	if ref != "" { // somewhere behind the ref's newest commit
		list = append(list, attempt{[]string{"--depth=2147483647"}, []string{pushed}})
	}
	return list
}

// fetch asks the remote until the commit is there.
func (m *mirror) fetch(parent context.Context, lock *os.File, ref, commit string) error {
	ctx, cancel := context.WithTimeout(parent, m.FetchTimeout)
	defer cancel()
	started := time.Now()
	for _, a := range m.attempts(ref, commit) {
		err := m.remote.fetch(ctx, m.dir, lock, a.options, a.specs...)
		if errors.Is(err, errNoRef) {
			continue
		}
		if err != nil {
			m.removeRemains()
			return m.fetchError(ctx, err)
		}
		repo, err := m.open() // an open repository does not see the packs that git has written meanwhile
		if err != nil {
			return err
		}
		_, err = peel(repo, plumbing.NewHash(commit))
		if errors.Is(err, errAbsent) {
			continue
		}
		if err == nil {
			m.Logger.Debug("git fetched", "project", m.project, "repository", m.remote.clean, "ref", ref,
				"commit", commit, "history", m.history, "duration", time.Since(started))
			m.joinPacks(ctx, lock)
		}
		return err
	}
	return m.notThere(ref, commit)
}

func (m *mirror) notThere(ref, commit string) error {
	where := m.remote.clean
	if m.remote.parent != nil {
		return rpmflow.Fail(rpmflow.FailureSource,
			"push the commit to that repository, or set the submodule to one that is there",
			"commit %s is not in %s: the repository does not serve it", short(commit), where)
	}
	if ref != "" {
		where = ref + " of " + where
	}
	return rpmflow.Fail(rpmflow.FailureSource, "push again, or build the ref's newest commit",
		"commit %s is not in %s any more (force-pushed or deleted?): the repository does not serve it", short(commit),
		where)
}

// fetchError distinguishes damage of the mirror from errors of the remote.
func (m *mirror) fetchError(ctx context.Context, err error) error {
	explained := m.remote.explain("fetching", err)
	var failure *rpmflow.Failure
	if ctx.Err() != nil || errors.As(explained, &failure) {
		return explained
	}
	// Git has too many texts about broken repositories and broken connections to distinguish them. So git checks
	// the mirror.
	if !errors.Is(err, errOutside) {
		_, broken := gitcmd.Run(ctx, "--git-dir="+m.dir, "fsck", "--full", "--no-dangling", "--no-progress")
		if broken != nil && ctx.Err() == nil {
			return &damageError{m.remote.scrub(err)}
		}
	}
	return explained
}

// joinPacks joins small packs to larger ones, all objects kept. If it fails, look-ups become slower and nothing else.
func (m *mirror) joinPacks(ctx context.Context, lock *os.File) {
	packs, err := filepath.Glob(filepath.Join(m.dir, "objects", "pack", "*.pack"))
	if err == nil && len(packs) > manyPacks {
		cmd := gitcmd.Command(ctx, "--git-dir="+m.dir, "repack", "-d", "-q", "--geometric=2")
		cmd.ExtraFiles = []*os.File{lock}
		_, _, err = gitcmd.Output(ctx, cmd)
	}
	if err != nil {
		m.Logger.Warn("joining the git mirror's packs failed", "project", m.project, "mirror", m.dir, "error", err)
	}
}

// renew removes the mirror, if it still is the one that was seen damaged.
func (m *mirror) renew(ctx context.Context, seen os.FileInfo) error {
	lock, err := m.lock(ctx, dirlock.Exclusive)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // which unlocks it
	if now, err := os.Stat(m.dir); err != nil || !os.SameFile(seen, now) {
		return nil //nolint:nilerr // another process has removed it
	}
	if err := discard(m.dir); err != nil {
		return fmt.Errorf("removing the damaged git mirror: %w", err)
	}
	return nil
}

// ready opens the mirror, or makes it, and checks that its refs lead to objects, without which nothing can be fetched
// into it.
func (m *mirror) ready() (*gogit.Repository, error) {
	if _, err := os.Stat(m.dir); errors.Is(err, fs.ErrNotExist) {
		if _, err := gogit.PlainInit(m.dir, true); err != nil {
			return nil, fmt.Errorf("making the git mirror: %w", err)
		}
	}
	m.removeRemains()
	repo, err := m.open()
	if err != nil {
		return nil, err
	}
	refs, err := repo.References()
	if err != nil {
		return nil, &damageError{err}
	}
	err = refs.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() != plumbing.HashReference {
			return nil
		}
		_, err := repo.Storer.EncodedObject(plumbing.AnyObject, ref.Hash())
		return err
	})
	if err != nil {
		return nil, &damageError{err}
	}
	return repo, nil
}

func (m *mirror) open() (*gogit.Repository, error) {
	options := filesystem.Options{LargeObjectThreshold: largeObject}
	repo, err := gogit.Open(filesystem.NewStorageWithOptions(osfs.New(m.dir), cache.NewObjectLRUDefault(), options),
		nil)
	if err != nil {
		return nil, &damageError{err}
	}
	return repo, nil
}
