package worktree

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // git's own object names
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/filetime"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
)

// repository is a repository of the user with a working tree. Git is asked about it through a view, a bare
// repository of ours that has its objects, its index and nothing of its configuration: no filter, attribute, excluded
// name or command of the user's counts, and it may belong to another user. Nothing is written to it.
type repository struct {
	top   string // of the working tree
	view  string
	index string
	head  string // commit; empty: there is none yet
	ref   string // the branch that is checked out; empty: none
	when  time.Time
}

// readOnly are options with which git reads what a repository is, in it: nothing that its configuration names is run.
func readOnly() []string {
	return []string{"-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=" + os.DevNull}
}

// openRepository finds the repository whose working tree a directory is in, as git does; nil: there is none.
// The view is made at into.
func openRepository(ctx context.Context, dir, into string) (*repository, error) {
	options := append(readOnly(), "-C", dir)
	ask := func(args ...string) (string, error) {
		out, err := gitcmd.Run(ctx, append(slices.Clip(options), args...)...)
		return strings.TrimSuffix(string(out), "\n"), err
	}
	r := &repository{view: into}
	var err error
	if r.top, err = ask("rev-parse", "--show-toplevel"); err != nil {
		for _, none := range []string{"not a git repository (or any", "must be run in a work tree"} {
			if strings.Contains(err.Error(), none) {
				return nil, nil
			}
		}
		return nil, brokenRepository(ctx, dir, err)
	}
	text, err := ask("rev-parse", "--show-object-format", "--path-format=absolute", "--git-path", "objects",
		"--git-path", "shallow", "--git-path", "index")
	lines := strings.Split(text, "\n")
	if err == nil && len(lines) != 4 {
		err = fmt.Errorf("git rev-parse printed %q, which is not understood", text)
	}
	if err != nil {
		return nil, brokenRepository(ctx, dir, err)
	}
	r.index = lines[3]
	v := gitcmd.View{Format: lines[0], Objects: lines[1], Shallow: lines[2]}
	if ref, err := ask("symbolic-ref", "--quiet", "HEAD"); err == nil && git.CheckRef(ref) == nil {
		r.ref = ref
	}
	if head, err := ask("rev-parse", "--verify", "--quiet", "HEAD^{commit}"); err == nil && rpmflow.IsCommit(head) {
		r.head = head
	}
	if v.Tags, err = gitcmd.Tags(ctx, options...); err != nil {
		return nil, brokenRepository(ctx, dir, err)
	}
	v.Commit, v.Ref = r.head, r.ref
	if err := r.makeView(v); err != nil {
		return nil, fmt.Errorf("reading the repository %s: %w", show(r.top), err)
	}
	if r.head == "" {
		return r, nil
	}
	out, _, err := r.git(ctx, r.top, "log", "-1", "--format=%ct", r.head)
	seconds, perr := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err = errors.Join(err, perr); err != nil {
		return nil, brokenRepository(ctx, dir, err)
	}
	r.when = filetime.Sane(time.Unix(seconds, 0))
	return r, nil
}

// brokenRepository is the failure of a repository that git cannot read.
func brokenRepository(ctx context.Context, dir string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: "git cannot read the repository of " + show(dir),
		Err:  err,
		Hint: "repair it (git status says what is wrong), or remove its .git"}
}

func (r *repository) makeView(v gitcmd.View) error {
	if err := v.Make(r.view); err != nil {
		return err
	}
	// The parts of an index that is split are next to it.
	parts, err := filepath.Glob(filepath.Join(filepath.Dir(r.index), "sharedindex.*"))
	if err != nil {
		parts = nil // a directory with characters of patterns in its name
	}
	for _, part := range parts {
		if err := os.Symlink(part, filepath.Join(r.view, filepath.Base(part))); err != nil {
			return err
		}
	}
	return nil
}

// git runs a command on the view, in a directory of the working tree.
func (r *repository) git(ctx context.Context, dir string, args ...string) (out []byte, warnings string, err error) {
	cmd := gitcmd.Command(ctx, args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "GIT_DIR="+r.view, "GIT_WORK_TREE="+r.top, "GIT_INDEX_FILE="+r.index,
		"GIT_OPTIONAL_LOCKS=0")
	return gitcmd.Output(ctx, cmd)
}

// treeStatus is git's state of the files of a directory, by their names from it on.
type treeStatus struct {
	tracked map[string]string // and the commit of what is a submodule, else ""
	fresh   []string          // neither tracked nor ignored; a repository in itself ends with a slash
	changed map[string]bool   // tracked, and not what is committed: changed or deleted
}

// status asks about all files of a directory in the working tree, or about some.
func (r *repository) status(ctx context.Context, dir string, some []string) (*treeStatus, error) {
	s := &treeStatus{tracked: map[string]string{}, changed: map[string]bool{}}
	limit := []string{"--"}
	if len(some) > 0 && len(some) < 1000 {
		limit = append(limit, some...)
	}
	ask := func(args ...string) ([]string, string, error) {
		out, warnings, err := r.git(ctx, dir, append(append([]string{"--literal-pathspecs"}, args...), limit...)...)
		if err != nil {
			return nil, "", brokenRepository(ctx, dir, err)
		}
		if len(out) == 0 {
			return nil, warnings, nil
		}
		return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), warnings, nil
	}
	tracked, _, err := ask("ls-files", "-z", "--stage")
	if err != nil {
		return nil, err
	}
	for _, line := range tracked {
		about, name, ok := strings.Cut(line, "\t")
		words := strings.Fields(about)
		if !ok || len(words) != 3 {
			return nil, fmt.Errorf("git lists %q, which is not understood", line)
		}
		s.tracked[name] = ""
		if words[0] == "160000" {
			s.tracked[name] = words[1]
		}
	}
	fresh, warnings, err := ask("ls-files", "-z", "--others", "--exclude-per-directory=.gitignore")
	if err != nil {
		return nil, err
	}
	if _, name, unread := strings.Cut(warnings, "could not open directory '"); unread && len(some) == 0 {
		name, _, _ = strings.Cut(name, "'")
		if _, err := os.ReadDir(filepath.Join(dir, name)); err != nil {
			return nil, Unusable(filepath.Join(dir, name), err)
		}
	}
	s.fresh = fresh
	if r.head == "" {
		for name := range s.tracked {
			s.changed[name] = true
		}
		return s, nil
	}
	// Trees may be missing if only a part of the repository was cloned; then its index is taken for what is committed.
	if names, _, err := ask("diff-index", "-z", "--cached", "--relative", "--no-renames", "--name-only",
		"--ignore-submodules=none", r.head); err == nil {
		for _, name := range names {
			s.changed[name] = true
		}
	} else if ctx.Err() != nil {
		return nil, err
	}
	return s, r.compareFiles(ctx, dir, s, ask)
}

// compareFiles finds the files that are not what the index has. Git compares times and sizes; if these differ, the
// content decides.
func (r *repository) compareFiles(ctx context.Context, dir string, s *treeStatus,
	ask func(args ...string) ([]string, string, error)) error {
	lines, _, err := ask("diff-files", "-z", "--raw", "--no-abbrev", "--relative", "--no-renames",
		"--ignore-submodules=all")
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(lines); i += 2 { // ":100644 100644 ID 000… M", then the name
		words, name := strings.Fields(strings.TrimPrefix(lines[i], ":")), lines[i+1]
		if len(words) != 5 {
			return fmt.Errorf("git lists %q, which is not understood", lines[i])
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if words[4] != "M" || words[0] != words[1] || objectID(filepath.Join(dir, name), len(words[2])) != words[2] {
			s.changed[name] = true
		}
	}
	return nil
}

// objectID is what git calls a file with this content, or a link with this target; "" if it cannot be read.
func objectID(name string, digits int) string {
	sum := sha256.New()
	if digits == 2*sha1.Size {
		sum = sha1.New() //nolint:gosec // git's own object names
	}
	if target, err := os.Readlink(name); err == nil {
		fmt.Fprintf(sum, "blob %d\x00%s", len(target), target)
		return hex.EncodeToString(sum.Sum(nil))
	}
	in, info, err := OpenRegular(name)
	if err != nil {
		return ""
	}
	defer func() { _ = in.Close() }() // it was read only
	fmt.Fprintf(sum, "blob %d\x00", info.Size())
	if _, err := io.Copy(sum, in); err != nil {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// ignoresAll reports whether .gitignore excludes a directory as a whole.
func (r *repository) ignoresAll(ctx context.Context, dir string) (bool, error) {
	rel, err := filepath.Rel(r.top, dir)
	if err != nil || rel == "." {
		return false, nil //nolint:nilerr // it is not below the top
	}
	out, _, err := r.git(ctx, r.top, "--literal-pathspecs", "ls-files", "-z", "--others", "--ignored",
		"--exclude-per-directory=.gitignore", "--directory", "--", rel)
	if err != nil {
		return false, brokenRepository(ctx, dir, err)
	}
	for name := range bytes.SplitSeq(out, []byte{0}) {
		if n := string(name); strings.HasSuffix(n, "/") && strings.HasPrefix(rel+"/", n) {
			return true, nil
		}
	}
	return false, nil
}

// BranchOf is the branch that is checked out in the repository that a directory is in; empty: there is none.
func BranchOf(ctx context.Context, dir string) string {
	out, err := gitcmd.Run(ctx, append(readOnly(), "-C", dir, "symbolic-ref", "--quiet", "--short", "HEAD")...)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
