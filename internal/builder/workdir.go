package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openWorkDir makes a directory for this process below dir, and removes those of processes that are gone.
func openWorkDir(dir string, log *slog.Logger) (*workDir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("work directory: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.lock"))
	if err != nil {
		return nil, fmt.Errorf("work directory: %w", err)
	}
	for _, name := range old {
		if err := reclaim(name); err != nil {
			log.Warn("what a dead builder has left is not removed", "lock", name, "error", err)
		}
	}
	lock, err := os.CreateTemp(dir, "builder-*.new")
	if err != nil {
		return nil, fmt.Errorf("work directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("work directory: lock %s: %w", lock.Name(), err), lock.Close())
	}
	// Others see it only now that it is locked: one that starts at the same moment would take it for a dead builder's.
	w := &workDir{path: strings.TrimSuffix(lock.Name(), ".new"), lock: lock}
	if err := errors.Join(os.Rename(lock.Name(), w.path+".lock"), os.Mkdir(w.path, 0o700)); err != nil {
		return nil, errors.Join(fmt.Errorf("work directory: %w", err), lock.Close())
	}
	return w, nil
}

// reclaim removes a dead process's directory and lock.
func reclaim(name string) error {
	lock, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // it lives
	}
	if err := os.RemoveAll(strings.TrimSuffix(name, ".lock")); err != nil {
		return err
	}
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) { // another was faster
		return err
	}
	return nil
}

func (w *workDir) close() error {
	return errors.Join(os.RemoveAll(w.path), os.Remove(w.path+".lock"), w.lock.Close())
}
