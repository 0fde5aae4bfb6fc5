package assembly

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow"
)

// DataDir says whether the data directory, or the one in which it will be made, can be written. It makes nothing.
func DataDir(dir string) (there bool, err error) {
	for there = true; ; there = false {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		dir = filepath.Dir(dir) // ends at the root at last
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return there, rpmflow.Advise(fmt.Errorf("data directory: %w", &fs.PathError{Op: "write into", Path: dir, Err: err}),
			fmt.Sprintf("give it to user %d, as whom the program runs, or set data_dir to another directory", os.Geteuid()))
	}
	return there, nil
}
