package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/rpmflow/rpmflow"
)

// WorkTree is a directory of somebody's own, as it is now: with changes that nobody has committed.
type WorkTree struct {
	// Repository is a bare repository with a commit of what is there. It borrows objects from the user's own, and is read in place.
	Repository string
	Commit     string
	Ref        string // the branch that is checked out; empty: none, or no repository
	Top        string // the directory that the commit's paths start from
	// Explanation says how the commit came about.
	Explanation string
}

// Snap makes a commit of a directory's files, those that git ignores aside, in a new repository at into. Nothing is written to the directory
// itself nor to its repository, which is looked for as git does; without one the directory alone is taken. Where nothing differs
// from the commit that is checked out, that is the one.
//
// git runs as the user would run it: with the user's configuration, filters and ignored files.
func Snap(ctx context.Context, dir, into string) (*WorkTree, error) {
	if err := findGit(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", dir, err)
	}
	s := &snapper{dir: dir, into: into, env: userEnv()}
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("directory %s: %w", show(dir), err)
	}
	w, err := s.commit(ctx)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", show(dir), err)
	}
	return w, nil
}

type snapper struct {
	dir, into string
	env       []string
	top       string
	head      string // empty: nothing is committed yet, or there is no repository
	own       bool   // whether the directory has a repository
}

// userEnv is the environment without what would lead git elsewhere.
func userEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") && !strings.HasPrefix(v, "GIT_CONFIG_") })
	return append(env, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0")
}

func (s *snapper) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = s.dir, s.env, 5*time.Second
	errs := tail{max: 4 << 10}
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", childError(ctx, err, &errs)
	}
	return strings.TrimRight(string(out), "\n"), nil
}

// prepare makes the repository, and turns to it what git writes.
func (s *snapper) prepare(ctx context.Context) error {
	if _, err := runGit(ctx, "init", "--quiet", "--bare", s.into); err != nil {
		return err
	}
	top, err := s.git(ctx, "rev-parse", "--show-toplevel")
	if err != nil && !strings.Contains(err.Error(), "not a git repository") {
		return err
	}
	s.own = err == nil
	index := filepath.Join(s.into, "index")
	if !s.own {
		s.top = s.dir
		// What rpmbuild leaves in its own tree is no source.
		exclude := "/BUILD/\n/BUILDROOT/\n/RPMS/\n/SRPMS/\n"
		if err := errors.Join(os.MkdirAll(filepath.Join(s.into, "info"), 0o700), os.WriteFile(filepath.Join(s.into, "info", "exclude"), []byte(exclude), 0o600)); err != nil {
			return err
		}
		s.env = append(s.env, "GIT_DIR="+s.into, "GIT_WORK_TREE="+s.dir, "GIT_INDEX_FILE="+index)
		return nil
	}
	s.top = top
	paths, err := s.git(ctx, "rev-parse", "--path-format=absolute", "--git-path", "objects", "--git-path", "index", "--git-path", "shallow")
	if err != nil {
		return err
	}
	p := strings.Split(paths, "\n")
	if len(p) != 3 {
		return fmt.Errorf("git names the paths %q, which is not understood", paths)
	}
	if head, err := s.git(ctx, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"); err == nil {
		s.head = head
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(s.into, "objects", "info", "alternates"), []byte(p[0]+"\n"), 0o600),
		copyIfThere(p[1], index), // git need not read again what has not changed since
		copyIfThere(p[2], filepath.Join(s.into, "shallow")), s.tags(ctx))
	s.env = append(s.env, "GIT_INDEX_FILE="+index, "GIT_OBJECT_DIRECTORY="+filepath.Join(s.into, "objects"), "GIT_ALTERNATE_OBJECT_DIRECTORIES="+p[0])
	return err
}

// tags copies the names of tags.
func (s *snapper) tags(ctx context.Context) error {
	list, err := s.git(ctx, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")
	if err != nil || list == "" {
		return err
	}
	return os.WriteFile(filepath.Join(s.into, "packed-refs"), []byte("# pack-refs with: sorted \n"+list+"\n"), 0o600)
}

// copyIfThere keeps the file's time: by an index's own git knows which of the files in it may have changed unseen.
func copyIfThere(from, to string) (err error) {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	info, serr := in.Stat()
	if err = errors.Join(err, serr, out.Close()); err == nil {
		err = os.Chtimes(to, info.ModTime(), info.ModTime())
	}
	return err
}

// commit writes the tree of the files, and a commit of it unless HEAD has the same.
func (s *snapper) commit(ctx context.Context) (*WorkTree, error) {
	w := &WorkTree{Repository: s.into, Commit: s.head, Top: s.top}
	if s.own {
		w.Ref, _ = s.git(ctx, "symbolic-ref", "--quiet", "HEAD") // none is checked out: fine as well
	}
	if _, err := s.git(ctx, "-C", s.top, "add", "--all", "--", "."); err != nil {
		return nil, err
	}
	tree, err := s.git(ctx, "write-tree")
	if err != nil {
		return nil, err
	}
	var changed []string
	args := []string{"commit-tree", "-m", "As it is in " + s.top, tree}
	switch {
	case s.head != "":
		list, err := s.git(ctx, "diff-tree", "-r", "-z", "--name-only", "--no-renames", s.head, tree)
		if err != nil {
			return nil, err
		}
		if list == "" {
			w.Explanation = "built from commit " + short(s.head) + ", which is checked out and unchanged"
			return w, s.name(ctx, w)
		}
		changed = strings.Split(strings.TrimRight(list, "\x00"), "\x00")
		w.Explanation = fmt.Sprintf("built from the working tree as it is, which differs from commit %s in %s", short(s.head), some(changed))
		args = append(args, "-p", s.head)
	default:
		list, err := s.git(ctx, "ls-tree", "-r", "-z", "--name-only", tree)
		if err != nil {
			return nil, err
		}
		changed = strings.Split(strings.TrimRight(list, "\x00"), "\x00")
		w.Explanation = "built from the directory as it is: nothing of it is committed"
	}
	date := fmt.Sprintf("@%d +0000", s.newest(ctx, changed).Unix())
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		s.env = append(s.env, "GIT_"+who+"_NAME=rpmflow", "GIT_"+who+"_EMAIL=rpmflow@localhost", "GIT_"+who+"_DATE="+date)
	}
	if w.Commit, err = s.git(ctx, args...); err != nil {
		return nil, err
	}
	return w, s.name(ctx, w)
}

// name gives the commit a ref, as a repository has one.
func (s *snapper) name(ctx context.Context, w *WorkTree) error {
	if !rpmflow.IsCommit(w.Commit) || len(w.Commit) != 40 {
		return rpmflow.Fail(rpmflow.FailureSource, "use a repository with SHA-1 object names", "%q is not the id of a commit", w.Commit)
	}
	ref := "refs/heads/tree"
	if w.Ref != "" {
		ref = w.Ref
	}
	_, err := runGit(ctx, "--git-dir="+s.into, "update-ref", ref, w.Commit)
	return err
}

// newest is when the latest of the changes was made: with it the same tree makes the same packages.
func (s *snapper) newest(ctx context.Context, changed []string) time.Time {
	var newest time.Time
	if text, err := s.git(ctx, "log", "-1", "--format=%ct", "HEAD"); err == nil {
		if unix, err := strconv.ParseInt(text, 10, 64); err == nil {
			newest = time.Unix(unix, 0)
		}
	}
	for _, name := range changed {
		if info, err := os.Lstat(filepath.Join(s.top, name)); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}

// readInPlace calls use with a commit of a repository that nobody else has.
func (s *Store) readInPlace(dir, commit string, use func(*snapshot) error) error {
	store := filesystem.NewStorageWithOptions(osfs.New(dir), cache.NewObjectLRUDefault(), filesystem.Options{
		LargeObjectThreshold: largeObject, AlternatesFS: osfs.New("/"), // alternates are absolute paths
	})
	repo, err := git.Open(store, nil)
	if err == nil {
		c, perr := peel(repo, plumbing.NewHash(commit))
		if err = perr; err == nil {
			err = use(&snapshot{mirror: dir, repo: repo, commit: c, history: true}) // as much as the user has of it
		}
	}
	var bad *damage
	if errors.As(err, &bad) {
		return fmt.Errorf("the repository cannot be read, try git fsck: %w", bad.err)
	}
	return err
}

// addIgnored puts beside the spec's sources what lies beside the spec on disk, is ignored by git, and is listed or looks like one of its sources: the
// tarballs of a dist-git repository, which nobody commits. top is the directory that the commit was made of.
func (p *Prepared) addIgnored(ctx context.Context, top string) error {
	text, err := os.ReadFile(p.Spec)
	if err != nil {
		return fmt.Errorf("reading the spec: %w", err)
	}
	named := glance(text)
	dirs := []string{filepath.Join(top, filepath.Dir(p.SpecPath))}
	if filepath.Base(dirs[0]) == "SPECS" {
		dirs = []string{filepath.Join(filepath.Dir(dirs[0]), "SOURCES"), dirs[0]}
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking for sources: %w", err)
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			file := filepath.Join(dir, e.Name())
			to := filepath.Join(p.Sources, e.Name())
			info, err := os.Stat(file)
			listed := slices.ContainsFunc(p.listed, func(l listed) bool { return l.name == e.Name() })
			if err != nil || !info.Mode().IsRegular() || !listed && !named.names(e.Name()) {
				continue
			}
			if _, err := os.Lstat(to); err == nil {
				continue
			}
			if err := copyIfThere(file, to); err != nil {
				return fmt.Errorf("copying the source %s: %w", show(e.Name()), err)
			}
			if err := errors.Join(os.Chmod(to, 0o644), setTime(to, info.ModTime())); err != nil {
				return fmt.Errorf("copying the source %s: %w", show(e.Name()), err)
			}
		}
	}
	return nil
}
