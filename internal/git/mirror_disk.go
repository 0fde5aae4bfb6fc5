package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow/internal/dirlock"
)

// lock takes the mirror's lock, shared for reading or exclusive for changing it. Closing the file unlocks it.
func (m *mirror) lock(ctx context.Context, kind dirlock.Kind) (*os.File, error) {
	name, wait := lockOf(m.dir), 2*m.FetchTimeout
	lock, err := dirlock.Open(ctx, name, kind, wait)
	switch {
	case err == nil:
		return lock, nil
	case ctx.Err() == nil && errors.Is(err, dirlock.ErrBusy):
		return nil, fmt.Errorf("another builder has held the git mirror's lock %s for %s; check what it does: %w", name,
			wait, err)
	}
	return nil, fmt.Errorf("locking the git mirror: %w", err)
}

func lockOf(mirror string) string { return strings.TrimSuffix(mirror, ".git") + ".lock" }

// used records on the lock's file that the mirror is in use.
func (m *mirror) used(lock *os.File) {
	now := time.Now()
	if err := os.Chtimes(lock.Name(), now, now); err != nil {
		m.Logger.Warn("cannot record that a git mirror is in use", "mirror", m.dir, "error", err)
	}
}

// removeRemains removes what a git that was killed has left in the mirror. The caller has the exclusive lock, so
// no process uses it.
func (m *mirror) removeRemains() {
	err := filepath.WalkDir(m.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		base := e.Name()
		if strings.HasSuffix(base, ".lock") || strings.HasSuffix(base, ".keep") || strings.HasPrefix(base, "tmp_") ||
			strings.HasPrefix(base, ".tmp-") {
			return os.Remove(name)
		}
		return nil
	})
	if err != nil { // git will report it again if it matters
		m.Logger.Warn("removing what was left in the git mirror failed", "mirror", m.dir, "error", err)
	}
}

// discarded is the suffix of a directory that is being removed.
const discarded = ".gone"

// discard removes a mirror so that no process ever sees a part of it.
func discard(dir string) error {
	gone := dir + discarded
	if err := os.RemoveAll(gone); err != nil { // of a process that was killed here
		return err
	}
	if err := os.Rename(dir, gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(gone)
}

// stored is a mirror on disk.
type stored struct {
	dir  string
	used time.Time
	size int64
}

// sweep removes mirrors that were not used for too long and, the least recently used first, those that are too much
// for the disk; never those in use, and never the one called but. Only one process sweeps at a time.
func (m *Mirrors) sweep(but string) {
	if m.MaxBytes <= 0 && m.MaxAge <= 0 {
		return
	}
	lock, err := dirlock.Open(context.Background(), filepath.Join(m.Dir, "sweep.lock"), dirlock.Exclusive, 0)
	if errors.Is(err, dirlock.ErrBusy) {
		return // another process is sweeping
	}
	if err != nil {
		m.Logger.Warn("git mirrors are not swept", "error", err)
		return
	}
	defer func() { _ = lock.Close() }()
	mirrors, total := m.list()
	for _, s := range mirrors {
		old := m.MaxAge > 0 && time.Since(s.used) > m.MaxAge
		if !old && (m.MaxBytes <= 0 || total <= m.MaxBytes) {
			continue
		}
		if filepath.Base(s.dir) == but {
			continue
		}
		removed, err := s.remove()
		switch {
		case err != nil:
			m.Logger.Warn("a git mirror could not be removed", "mirror", s.dir, "error", err)
		case removed:
			total -= s.size
			m.Logger.Info("git mirror removed", "mirror", s.dir, "bytes", s.size, "last_used", s.used.UTC())
		}
	}
}

// list returns the mirrors, the least recently used first, and how many bytes all of them take. Remains of removals are
// removed.
func (m *Mirrors) list() (list []stored, total int64) {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		m.Logger.Warn("git mirrors are not swept", "error", err)
		return nil, 0
	}
	for _, e := range entries {
		s := stored{dir: filepath.Join(m.Dir, e.Name())}
		if strings.HasSuffix(e.Name(), ".git"+discarded) {
			rest := stored{dir: strings.TrimSuffix(s.dir, discarded)}
			if removed, err := rest.removeRest(); err != nil || !removed {
				m.Logger.Debug("remains of a git mirror stay", "mirror", s.dir, "error", err)
			}
			continue
		}
		if !e.IsDir() || !strings.HasSuffix(e.Name(), ".git") {
			continue
		}
		if info, err := os.Stat(lockOf(s.dir)); err == nil {
			s.used = info.ModTime()
		}
		// what is removed meanwhile has no size
		_ = filepath.WalkDir(s.dir, func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return nil
			}
			if info, err := e.Info(); err == nil {
				s.size += info.Size()
			}
			return nil
		})
		total += s.size
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b stored) int { return a.used.Compare(b.used) })
	return list, total
}

// remove removes the mirror unless it is in use, or was used since it was listed.
func (s stored) remove() (bool, error) {
	lock, err := s.lock()
	if lock == nil {
		return false, err
	}
	defer func() { _ = lock.Close() }()
	if info, err := lock.Stat(); err != nil || !s.used.IsZero() && info.ModTime().After(s.used) {
		return false, err
	}
	return true, discard(s.dir)
}

// removeRest removes what a process that was killed while it removed a mirror has left of it.
func (s stored) removeRest() (bool, error) {
	lock, err := s.lock()
	if lock == nil {
		return false, err
	}
	defer func() { _ = lock.Close() }()
	return true, os.RemoveAll(s.dir + discarded)
}

// lock takes the mirror's lock; nil without an error: the mirror is in use.
func (s stored) lock() (*os.File, error) {
	lock, err := dirlock.Open(context.Background(), lockOf(s.dir), dirlock.Exclusive, 0)
	if errors.Is(err, dirlock.ErrBusy) {
		return nil, nil
	}
	return lock, err
}
