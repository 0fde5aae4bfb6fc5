package worktree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/filetime"
	"github.com/rpmflow/rpmflow/internal/lfs"
)

// OpenRegular opens a file of the user's, links followed. It never waits for the other end of a pipe: what is not a
// regular file is an error.
func OpenRegular(name string) (*os.File, fs.FileInfo, error) {
	in, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := in.Stat()
	if err == nil {
		err = CheckRegular(info.Mode())
	}
	if err != nil {
		return nil, nil, errors.Join(err, in.Close())
	}
	return in, info, nil
}

// CheckRegular returns what a file is that is not a regular one.
func CheckRegular(mode fs.FileMode) error {
	switch {
	case mode.IsRegular():
		return nil
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("it is a named pipe, not a file")
	case mode&fs.ModeSocket != 0:
		return errors.New("it is a socket, not a file")
	case mode&fs.ModeDevice != 0:
		return errors.New("it is a device, not a file")
	}
	return errors.New("it is not a file")
}

// Unusable is the failure of a file of the user's that is needed and cannot be read.
func Unusable(file string, err error) error {
	var why *fs.PathError
	if errors.As(err, &why) {
		err = why.Err
	}
	hint := "replace it by a file"
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = "make it readable for the user who builds, or remove it"
	case errors.Is(err, syscall.ELOOP):
		err, hint = errors.New("its symbolic links lead in a circle"), "correct the link"
	case errors.Is(err, fs.ErrNotExist):
		hint = "it was there a moment ago: build again when nothing changes the directory"
	}
	return &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: show(file) + " cannot be taken", Hint: hint, Err: err}
}

// CopyFile copies a file of the user's, which may be anything, and gives the copy this time. A pointer of Git LFS is
// refused.
func CopyFile(ctx context.Context, from, to string, mtime time.Time) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	in, info, err := OpenRegular(from)
	if err != nil {
		return Unusable(from, err)
	}
	defer func() { _ = in.Close() }() // it was read only
	if info.Size() < lfs.MaxPointer {
		text, err := io.ReadAll(io.LimitReader(in, lfs.MaxPointer))
		if err == nil && lfs.IsPointer(text) {
			return rpmflow.Fail(rpmflow.FailureSource, "get the file itself: git lfs pull",
				"%s is a Git LFS pointer, not the file", show(from))
		}
		if _, serr := in.Seek(0, io.SeekStart); err != nil || serr != nil {
			return Unusable(from, errors.Join(err, serr))
		}
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fmt.Errorf("copying the source %s: %w", show(from), err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(mode), out.Close()); err != nil { // whatever the umask: the SRPM records it
		return fmt.Errorf("copying the source %s: %w", show(from), errors.Join(err, os.Remove(to)))
	}
	return filetime.Set(to, mtime)
}
