package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
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
func (c *Commit) gitArchive(ctx context.Context, a archiving, read func(r io.Reader) error) error {
	return c.withArchive(ctx, a, func(ctx context.Context, stop func(), cmd *exec.Cmd) error {
		return run(ctx, stop, cmd, read)
	})
}

// gitArchiveInto has git write to the file itself, so that no byte goes through a pipe and this process. over is the
// error if the archive has more than most bytes, which the kernel limits.
func (c *Commit) gitArchiveInto(ctx context.Context, a archiving, out *os.File, most int64, over error) error {
	return c.withArchive(ctx, a, func(ctx context.Context, _ func(), cmd *exec.Cmd) error {
		errs := tail{max: 4 << 10}
		cmd.Stdout, cmd.Stderr = out, &errs
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("git archive: %w", err)
		}
		limit := &unix.Rlimit{Cur: uint64(most), Max: uint64(most)}
		limitErr := errors.Join(unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil),
			unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_FSIZE, limit, nil))
		if errors.Is(limitErr, unix.ESRCH) {
			limitErr = nil // it has ended already
		} else if limitErr != nil {
			_ = cmd.Cancel() // Wait says so
		}
		err := cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() &&
			status.Signal() == unix.SIGXFSZ {
			return over
		}
		switch info, statErr := out.Stat(); {
		case ctx.Err() != nil:
			return fmt.Errorf("git archive: %w", ctx.Err())
		case limitErr != nil:
			return fmt.Errorf("limiting what git archive writes: %w", limitErr)
		case err != nil:
			return &damageError{childError(ctx, err, &errs)}
		case statErr != nil:
			return fmt.Errorf("git archive: %w", statErr)
		case info.Size() > most: // it was done before the limit was set
			return over
		}
		return nil
	})
}

// withArchive calls use with the command. use may call stop to end the command.
func (c *Commit) withArchive(ctx context.Context, a archiving,
	use func(ctx context.Context, stop func(), cmd *exec.Cmd) error) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	args := []string{"--git-dir=" + c.dir, "archive", "--format=" + a.format}
	if a.prefix != "" {
		args = append(args, "--prefix="+a.prefix)
	}
	args = append(args, c.ID)
	if len(a.paths) > 0 {
		args = append(append(args, "--"), a.paths...)
	}
	cmd := gitCommand(ctx, args...)
	cmd.Env = append(cmd.Env, "GIT_LITERAL_PATHSPECS=1")
	if a.directory == "" {
		return use(ctx, stop, cmd)
	}
	// Given the directory's tree in place of the commit, git would not have the commit's id and time.
	top, err := os.MkdirTemp("", "rpmflow-tree-")
	if err != nil {
		return fmt.Errorf("git archive: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
	cmd.Dir = filepath.Join(top, a.directory)
	cmd.Env = append(cmd.Env, "GIT_WORK_TREE="+top)
	if err := os.MkdirAll(cmd.Dir, 0o700); err != nil {
		return fmt.Errorf("git archive: %w", err)
	}
	return use(ctx, stop, cmd)
}

// run passes to read what a command of git writes that changes nothing. stop ends the command: git must not wait for a
// reader that has failed.
func run(ctx context.Context, stop func(), cmd *exec.Cmd, read func(r io.Reader) error) error {
	errs := tail{max: 4 << 10}
	cmd.Stderr = &errs
	raw, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("git: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("git: %w", err)
	}
	readErr := read(raw)
	outer := ctx.Err()
	if readErr != nil {
		stop()
	}
	gitErr := cmd.Wait()
	switch {
	case outer != nil:
		return fmt.Errorf("git: %w", outer)
	case readErr != nil:
		return readErr
	case gitErr != nil && ctx.Err() == nil:
		return &damageError{childError(ctx, gitErr, &errs)} // a new mirror helps in any case
	case gitErr != nil:
		return childError(ctx, gitErr, &errs)
	}
	return nil
}
