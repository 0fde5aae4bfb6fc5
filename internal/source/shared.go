package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// How processes that may die at any moment share the directory of mirrors, and how much of the disk it takes.

// lock takes the mirror's lock, shared for reading or exclusive for changing it; closing the file gives it back. The lock's file
// stays: removing it would give two processes two locks.
func (m *mirror) lock(ctx context.Context, how int) (*os.File, error) {
	name := lockOf(m.dir)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the git mirror: %w", err)
	}
	bound := time.NewTimer(2 * m.fetchTimeout)
	defer bound.Stop()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("locking the git mirror %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("waiting for the git mirror's lock %s: %w", name, ctx.Err())
		case <-bound.C:
			_ = f.Close()
			return nil, fmt.Errorf("another builder has held the git mirror's lock %s for %s; look at what it does", name, 2*m.fetchTimeout)
		case <-time.After(pause):
		}
	}
}

func lockOf(mirror string) string { return strings.TrimSuffix(mirror, ".git") + ".lock" }

// used notes on the lock's file that the mirror is in use.
func (m *mirror) used(lock *os.File) {
	now := time.Now()
	if err := os.Chtimes(lock.Name(), now, now); err != nil {
		m.log.Warn("it could not be noted that a git mirror is in use", "mirror", m.dir, "error", err)
	}
}

// tidy removes what a git that was killed has left behind. Whoever calls it has the exclusive lock, so nobody needs it.
func (m *mirror) tidy() {
	err := filepath.WalkDir(m.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		base := e.Name()
		if strings.HasSuffix(base, ".lock") || strings.HasSuffix(base, ".keep") || strings.HasPrefix(base, "tmp_") || strings.HasPrefix(base, ".tmp-") {
			return os.Remove(name)
		}
		return nil
	})
	if err != nil { // git will say it again if it matters
		m.log.Warn("tidying the git mirror failed", "mirror", m.dir, "error", err)
	}
}

// discarded is what a directory ends in that is being removed.
const discarded = ".gone"

// discard removes a mirror so that nobody ever sees a part of it.
func discard(dir string) error {
	gone := dir + discarded
	if err := os.RemoveAll(gone); err != nil { // of somebody who was killed here
		return err
	}
	if err := os.Rename(dir, gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(gone)
}

// kept is a mirror on disk.
type kept struct {
	dir  string
	used time.Time
	size int64
}

// sweep removes mirrors that nobody has used for too long and, the least recently used first, those that are too much for the
// disk; never those in use, and never the one called but. Only one process sweeps at a time.
func (s *Store) sweep(but string) {
	if s.maxBytes <= 0 && s.maxAge <= 0 {
		return
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "sweep.lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		s.log.Warn("git mirrors not looked after", "error", err)
		return
	}
	defer func() { _ = f.Close() }()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return // a colleague is at it
	}
	mirrors, total := s.mirrors()
	for _, k := range mirrors {
		old := s.maxAge > 0 && time.Since(k.used) > s.maxAge
		if !old && (s.maxBytes <= 0 || total <= s.maxBytes) {
			continue
		}
		if filepath.Base(k.dir) == but {
			continue
		}
		removed, err := k.remove()
		switch {
		case err != nil:
			s.log.Warn("a git mirror could not be removed", "mirror", k.dir, "error", err)
		case removed:
			total -= k.size
			s.log.Info("git mirror removed", "mirror", k.dir, "bytes", k.size, "last_used", k.used.UTC())
		}
	}
}

// mirrors lists the mirrors, the least recently used first, and how many bytes all of them take. Remains of removals are removed.
func (s *Store) mirrors() (list []kept, total int64) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		s.log.Warn("git mirrors not looked after", "error", err)
		return nil, 0
	}
	for _, e := range entries {
		k := kept{dir: filepath.Join(s.dir, e.Name())}
		if strings.HasSuffix(e.Name(), ".git"+discarded) {
			if removed, err := (kept{dir: strings.TrimSuffix(k.dir, discarded)}).removeRest(); err != nil || !removed {
				s.log.Debug("remains of a git mirror stay", "mirror", k.dir, "error", err)
			}
			continue
		}
		if !e.IsDir() || !strings.HasSuffix(e.Name(), ".git") {
			continue
		}
		if info, err := os.Stat(lockOf(k.dir)); err == nil {
			k.used = info.ModTime()
		}
		_ = filepath.WalkDir(k.dir, func(_ string, e fs.DirEntry, err error) error { // what goes away meanwhile has no size
			if err != nil || e.IsDir() {
				return nil
			}
			if info, err := e.Info(); err == nil {
				k.size += info.Size()
			}
			return nil
		})
		total += k.size
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b kept) int { return a.used.Compare(b.used) })
	return list, total
}

// remove removes the mirror unless somebody uses it, or has since it was listed.
func (k kept) remove() (bool, error) {
	f, ok, err := k.tryLock()
	if err != nil || !ok {
		return false, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !k.used.IsZero() && info.ModTime().After(k.used) {
		return false, err
	}
	return true, discard(k.dir)
}

// removeRest removes what somebody has left of a mirror who was killed while removing it.
func (k kept) removeRest() (bool, error) {
	f, ok, err := k.tryLock()
	if err != nil || !ok {
		return false, err
	}
	defer func() { _ = f.Close() }()
	return true, os.RemoveAll(k.dir + discarded)
}

func (k kept) tryLock() (*os.File, bool, error) {
	f, err := os.OpenFile(lockOf(k.dir), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, false, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = nil
		}
		return nil, false, err
	}
	return f, true, nil
}
