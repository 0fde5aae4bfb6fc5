// Package local is what rpmflow does on a user's own machine without a server: it answers questions about a spec, and makes one build.
//
// An engine that somebody has chosen, and a spec, a directory, a source package or a repository come in; what rpm says, or packages
// and logs in a directory of the user's, go out. The assembly and the commands import it; it knows neither queue nor storage.
package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// Place is the user's directory of what lasts longer than one command, and of the work of those that run now.
type Place struct{ dir string }

// OpenPlace makes the directory ready; empty: below the user's cache directory.
func OpenPlace(dir string) (*Place, error) {
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, hint.Add(fmt.Errorf("directory for git mirrors and running builds: %w", err), "set HOME or XDG_CACHE_HOME")
		}
		dir = filepath.Join(cache, "rpmflow")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("directory for git mirrors and running builds: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "work"), 0o700); err != nil {
		return nil, hint.Add(fmt.Errorf("directory for git mirrors and running builds: %w", err), "make it writable, or set XDG_CACHE_HOME to another")
	}
	return &Place{dir}, nil
}

// Mirrors is the directory of git mirrors.
func (p *Place) Mirrors() string { return filepath.Join(p.dir, "mirrors") }

// Installation tells what this user's commands on this machine leave on a container engine from what is another's, a server's for
// instance. All of them share it, and with it the initialised roots; but those with another place do not: only this one knows which of its commands
// still run, and whose containers are to be left alone.
func (p *Place) Installation() string {
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(machine) == 0 {
		host, _ := os.Hostname()
		machine = []byte(host)
	}
	return rpmflow.DeriveID("local", strings.TrimSpace(string(machine)), strconv.Itoa(os.Getuid()), p.dir)
}

// Work is a directory of one command, which is seen to be in use until the command ends, however that is.
type Work struct {
	ID   string // as of a build
	Dir  string
	lock *os.File
}

// Begin makes a directory of the caller's own. What commands that were killed have left is removed.
func (p *Place) Begin() (*Work, error) {
	p.tidy()
	w := &Work{ID: uuid.NewString()}
	w.Dir = filepath.Join(p.dir, "work", w.ID)
	var err error
	if w.lock, err = os.OpenFile(w.Dir+".lock", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err == nil {
		if err = syscall.Flock(int(w.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			err = os.Mkdir(w.Dir, 0o700)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make directory for the work: %w", err), w.End())
	}
	return w, nil
}

// Sub makes a directory below the work's.
func (w *Work) Sub(name string) (string, error) {
	dir := filepath.Join(w.Dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make directory for the work: %w", err)
	}
	return dir, nil
}

// End removes the directory. It may be called twice.
func (w *Work) End() error {
	if w.lock == nil {
		return nil
	}
	err := errors.Join(removeAll(w.Dir), os.Remove(w.Dir+".lock"), w.lock.Close())
	w.lock = nil
	if err != nil {
		return fmt.Errorf("remove the directory of the work: %w", err)
	}
	return nil
}

// removeAll removes what a package's build may have made unremovable: directories without the right to write.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(name, 0o700) // what cannot be removed for that is said below
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// Running says whether the command with this work still runs: what it has left on a container engine is its own until then.
func (p *Place) Running(id string) bool {
	f, err := os.Open(filepath.Join(p.dir, "work", filepath.Base(id)+".lock"))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil
}

// tidy removes the directories of commands that do not run any more. That it does not succeed is of no interest to this one.
func (p *Place) tidy() {
	locks, err := filepath.Glob(filepath.Join(p.dir, "work", "*.lock"))
	if err != nil {
		return
	}
	for _, lock := range locks {
		// A lock that was made a moment ago may not be held yet.
		info, err := os.Stat(lock)
		id := strings.TrimSuffix(filepath.Base(lock), ".lock")
		if err != nil || age(info) < grace || p.Running(id) {
			continue
		}
		_ = removeAll(strings.TrimSuffix(lock, ".lock"))
		_ = os.Remove(lock)
	}
}
