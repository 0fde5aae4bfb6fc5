package source

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
	// directory, where it is set, is archived alone, as if git archive were called in it.
	directory string
	// paths, where there are any, are the only files of the archive.
	paths []string
}

// gitArchive lets read have what git archive writes.
func (s *snapshot) gitArchive(ctx context.Context, a archiving, read func(r io.Reader) error) error {
	return s.withArchive(ctx, a, func(ctx context.Context, stop func(), cmd *exec.Cmd) error { return run(ctx, stop, cmd, read) })
}

// gitArchiveInto has git write to the file itself, so that no byte goes through a pipe and through us. over is what is said when the archive has more
// than max bytes, which the kernel sees to.
func (s *snapshot) gitArchiveInto(ctx context.Context, a archiving, out *os.File, max int64, over error) error {
	return s.withArchive(ctx, a, func(ctx context.Context, _ func(), cmd *exec.Cmd) error {
		errs := tail{max: 4 << 10}
		cmd.Stdout, cmd.Stderr = out, &errs
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("git archive: %w", err)
		}
		limit := &unix.Rlimit{Cur: uint64(max), Max: uint64(max)}
		limitErr := errors.Join(unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil), unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_FSIZE, limit, nil))
		if errors.Is(limitErr, unix.ESRCH) {
			limitErr = nil // it is over already
		} else if limitErr != nil {
			_ = cmd.Cancel() // Wait says so
		}
		err := cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == unix.SIGXFSZ {
			return over
		}
		switch info, statErr := out.Stat(); {
		case ctx.Err() != nil:
			return fmt.Errorf("git archive: %w", ctx.Err())
		case limitErr != nil:
			return fmt.Errorf("limiting what git archive writes: %w", limitErr)
		case err != nil:
			return &damage{childError(ctx, err, &errs)}
		case statErr != nil:
			return fmt.Errorf("git archive: %w", statErr)
		case info.Size() > max: // it was faster than we were with its limit
			return over
		}
		return nil
	})
}

// withArchive calls use with the command. It may be given up by stop.
func (s *snapshot) withArchive(ctx context.Context, a archiving, use func(ctx context.Context, stop func(), cmd *exec.Cmd) error) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	args := []string{"--git-dir=" + s.mirror, "archive", "--format=" + a.format}
	if a.prefix != "" {
		args = append(args, "--prefix="+a.prefix)
	}
	args = append(args, s.commit.Hash.String())
	if len(a.paths) > 0 {
		args = append(append(args, "--"), a.paths...)
	}
	cmd := gitCommand(ctx, args...)
	cmd.Env = append(cmd.Env, "GIT_LITERAL_PATHSPECS=1")
	if a.directory == "" {
		return use(ctx, stop, cmd)
	}
	// Given the directory's tree in place of the commit, git would not know the commit's id and time.
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

// gitOutput lets read have what a git command on the mirror writes.
func (s *snapshot) gitOutput(ctx context.Context, read func(r io.Reader) error, args ...string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	return run(ctx, stop, gitCommand(ctx, append([]string{"--git-dir=" + s.mirror}, args...)...), read)
}

// run lets read have what a command of git writes that only reads. stop ends the context, for git must not wait for a reader that has given up.
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
		return &damage{childError(ctx, gitErr, &errs)} // of all that it can fail of, a new mirror helps
	case gitErr != nil:
		return childError(ctx, gitErr, &errs)
	}
	return nil
}
