package dirlock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	lockSuffix = ".lock" // next to the directory
	newSuffix  = ".new"  // of the lock before it is held
	newAge     = time.Minute
)

// Temp is a directory of this process. Other processes see by its lock, DIRECTORY.lock, that it is in use.
type Temp struct {
	Path string
	lock *os.File
}

// NewTemp makes the directory called name in parent. There must be none of that name.
func NewTemp(parent, name string) (*Temp, error) {
	t := &Temp{Path: filepath.Join(parent, name)}
	lock, err := os.OpenFile(t.Path+newSuffix, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = Lock(context.Background(), lock, Exclusive, 0)
	if err == nil { // a lock that is not held yet would be taken for that of a dead process
		err = os.Link(lock.Name(), t.Path+lockSuffix)
	}
	err = errors.Join(err, os.Remove(lock.Name()))
	if err == nil {
		if err = os.Mkdir(t.Path, 0o700); err != nil {
			err = errors.Join(err, os.Remove(t.Path+lockSuffix))
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make %s: %w", t.Path, err), lock.Close())
	}
	t.lock = lock
	return t, nil
}

// Remove removes the directory and its lock. It may be called twice.
func (t *Temp) Remove() error {
	if t.lock == nil {
		return nil
	}
	err := errors.Join(removeAll(t.Path), os.Remove(t.Path+lockSuffix), t.lock.Close())
	t.lock = nil
	return err
}

// InUse reports whether the process that has made the directory runs.
func InUse(path string) bool {
	f, err := os.Open(path + lockSuffix)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return Lock(context.Background(), f, Shared, 0) != nil
}

// RemoveAbandoned removes the directories in parent whose processes have ended without doing so. What cannot be removed
// does not keep it from removing the others.
func RemoveAbandoned(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(parent, e.Name())
		switch {
		case strings.HasSuffix(path, lockSuffix):
			err = removeAbandoned(path)
		case strings.HasSuffix(path, newSuffix):
			err = nil
			if info, ierr := e.Info(); ierr == nil && time.Since(info.ModTime()) > newAge { // its process died at once
				err = os.Remove(path)
			}
		default:
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // another process was faster
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func removeAbandoned(lockFile string) error {
	lock, err := os.OpenFile(lockFile, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	switch err := Lock(context.Background(), lock, Exclusive, 0); {
	case errors.Is(err, ErrBusy):
		return nil
	case err != nil:
		return err
	}
	if err := removeAll(strings.TrimSuffix(lockFile, lockSuffix)); err != nil {
		return err
	}
	return os.Remove(lockFile)
}

// removeAll removes also directories that a package's build has taken the right to write from.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(name, 0o700) // RemoveAll reports what cannot be removed for that
		}
		return nil
	})
	return os.RemoveAll(dir)
}
