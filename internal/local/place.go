// Package local is what rpmflow does on a user's own machine without a server: it answers questions about a spec, and
// makes one build.
//
// An engine, and a spec, a directory, a source package or a repository come in; what rpm says,
// or packages and logs in a directory of the user's, go out. The assembly and the commands import it; it has neither
// queue nor storage.
package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// Place is the user's directory of what lasts longer than one command, and of the work of those that run now.
type Place struct{ dir string }

// OpenPlace makes the directory ready; empty: below the user's cache directory.
func OpenPlace(dir string) (*Place, error) {
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, hint.Add(fmt.Errorf("directory for git mirrors and running builds: %w", err),
				"set HOME or XDG_CACHE_HOME")
		}
		dir = filepath.Join(cache, "rpmflow")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("directory for git mirrors and running builds: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "work"), 0o700); err != nil {
		return nil, hint.Add(fmt.Errorf("directory for git mirrors and running builds: %w", err),
			"make it writable, or set XDG_CACHE_HOME to another")
	}
	return &Place{dir}, nil
}

// Mirrors is the directory of git mirrors.
func (p *Place) Mirrors() string { return filepath.Join(p.dir, "mirrors") }

// Installation distinguishes what this user's commands on this machine leave on a container engine from what is
// another's, a server's for instance. All of them share it, and with it the initialised roots; but those with another
// place do not: only this one can tell which of its commands still run, whose containers must stay.
func (p *Place) Installation() string {
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(machine) == 0 {
		host, _ := os.Hostname()
		machine = []byte(host)
	}
	return rpmflow.DeriveID("local", strings.TrimSpace(string(machine)), strconv.Itoa(os.Getuid()), p.dir)
}

// Work is a directory of one command. Other commands see by its lock that the command runs.
type Work struct {
	ID   string // as that of a build
	Dir  string
	temp *dirlock.Temp
}

// Begin makes the directory of a command. What commands that were killed have left is removed.
func (p *Place) Begin() (*Work, error) {
	parent, id := filepath.Join(p.dir, "work"), uuid.NewString()
	_ = dirlock.RemoveAbandoned(parent) // the next command tries again
	temp, err := dirlock.NewTemp(parent, id)
	if err != nil {
		return nil, fmt.Errorf("make directory for the work: %w", err)
	}
	return &Work{ID: id, Dir: temp.Path, temp: temp}, nil
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
	if err := w.temp.Remove(); err != nil {
		return fmt.Errorf("remove the directory of the work: %w", err)
	}
	return nil
}

// Running reports whether the command with this work still runs: then what is on a container engine belongs to it.
func (p *Place) Running(id string) bool {
	return dirlock.InUse(filepath.Join(p.dir, "work", filepath.Base(id)))
}
