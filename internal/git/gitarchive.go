package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
)

// archiving is what git archive is asked for.
type archiving struct {
	format string // tar or zip
	prefix string // of all names: empty, or with a slash at its end
	// directory is archived alone, as if git archive were called in it; empty: all.
	directory string
	// paths, if there are any, are the only files of the archive.
	paths []string
}

// gitArchive passes to read what git archive writes.
func (c *Commit) gitArchive(ctx context.Context, a archiving, read func(r io.Reader) error) (err error) {
	args := []string{"--git-dir=" + c.dir, "archive", "--format=" + a.format}
	if a.prefix != "" {
		args = append(args, "--prefix="+a.prefix)
	}
	args = append(args, c.ID)
	if len(a.paths) > 0 {
		args = append(append(args, "--"), a.paths...)
	}
	cmd := gitcmd.Command(ctx, args...)
	cmd.Env = append(cmd.Env, "GIT_LITERAL_PATHSPECS=1")
	if a.directory != "" {
		// Given the directory's tree in place of the commit, git would not have the commit's id and time.
		var top string
		if top, err = os.MkdirTemp("", "rpmflow-tree-"); err != nil {
			return fmt.Errorf("git archive: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
		cmd.Dir = filepath.Join(top, a.directory)
		cmd.Env = append(cmd.Env, "GIT_WORK_TREE="+top)
		if err := os.MkdirAll(cmd.Dir, 0o700); err != nil {
			return fmt.Errorf("git archive: %w", err)
		}
	}
	return damaged(gitcmd.Stream(ctx, cmd, read)) // a new mirror helps in any case
}
