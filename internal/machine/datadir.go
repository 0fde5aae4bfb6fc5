// Package machine says what the machine that a program runs on offers: a data directory that can be written, free disk
// space, available memory.
//
// Paths and limits come in; numbers, or an error with what to do, go out. The programs and their checks import it.
package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// DataDir reports whether the data directory exists, and fails when it, or the directory in which it will be made,
// cannot be written. It makes nothing.
func DataDir(dir string) (exists bool, err error) {
	for exists = true; ; exists = false {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		dir = filepath.Dir(dir) // ends at the root
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return exists, hint.Add(fmt.Errorf("data directory: %w", &fs.PathError{Op: "write into", Path: dir, Err: err}),
			fmt.Sprintf("give it to user %d, as whom the program runs, or set data_dir to another directory",
				os.Geteuid()))
	}
	return exists, nil
}

// CheckDataDir looks whether the data directory can be written and has room, as room says.
func CheckDataDir(dir string, room func(ctx context.Context) error) doctor.Check {
	return func(ctx context.Context, f *doctor.Findings) {
		const name = "data directory"
		exists, err := DataDir(dir)
		if err == nil && exists {
			err = room(ctx)
		}
		switch {
		case err != nil:
			f.Error(name, doctor.Failed, err)
		case !exists:
			f.OK(name, "%s is made at the start", dir)
		default:
			f.OK(name, "%s can be written", dir)
		}
	}
}
