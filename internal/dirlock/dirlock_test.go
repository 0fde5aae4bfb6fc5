package dirlock_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "lock")
	first, err := dirlock.Open(t.Context(), name, dirlock.Shared, 0)
	testkit.Must(t, err)
	second, err := dirlock.Open(t.Context(), name, dirlock.Shared, 0)
	testkit.Must(t, err)
	if _, err := dirlock.Open(t.Context(), name, dirlock.Exclusive, 0); !errors.Is(err, dirlock.ErrBusy) {
		t.Errorf("shared and exclusive at the same time: %v", err)
	}
	begun := time.Now()
	if _, err := dirlock.Open(t.Context(), name, dirlock.Exclusive, 50*time.Millisecond); !errors.Is(err,
		dirlock.ErrBusy) || time.Since(begun) > 5*time.Second {
		t.Errorf("bounded: %v after %s", err, time.Since(begun))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := dirlock.Open(ctx, name, dirlock.Exclusive, time.Hour); !errors.Is(err, context.DeadlineExceeded) ||
		!errors.Is(err, dirlock.ErrBusy) {
		t.Errorf("with a context that ends: %v", err)
	}
	testkit.Must(t, first.Close())
	go func() {
		<-time.After(20 * time.Millisecond)
		_ = second.Close()
	}()
	third, err := dirlock.Open(t.Context(), name, dirlock.Exclusive, time.Minute)
	testkit.Must(t, err)
	testkit.Must(t, third.Close())
	if _, err := dirlock.Open(t.Context(), filepath.Join(name, "x"), dirlock.Shared, 0); err == nil {
		t.Error("locked a file below a file")
	}
}

func TestLockOfADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := os.Open(dir)
	testkit.Must(t, err)
	testkit.Must(t, dirlock.Lock(t.Context(), first, dirlock.Exclusive, 0))
	second, err := os.Open(dir)
	testkit.Must(t, err)
	if err := dirlock.Lock(t.Context(), second, dirlock.Exclusive, 0); !errors.Is(err, dirlock.ErrBusy) {
		t.Errorf("locked twice: %v", err)
	}
	testkit.Must(t, errors.Join(first.Close(), second.Close()))
	if err := dirlock.Lock(t.Context(), second, dirlock.Exclusive, time.Hour); err == nil ||
		errors.Is(err, dirlock.ErrBusy) {
		t.Errorf("locked a closed file: %v", err)
	}
}

func TestDir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	lock, err := dirlock.Dir(dir)
	testkit.Must(t, err)
	if _, err := dirlock.Dir(dir); !errors.Is(err, dirlock.ErrBusy) {
		t.Errorf("locked twice: %v", err)
	}
	testkit.Must(t, lock.Close())
	lock, err = dirlock.Dir(dir)
	testkit.Must(t, err)
	testkit.Must(t, lock.Close())
}

func TestTemp(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	living, err := dirlock.NewTemp(parent, "living")
	testkit.Must(t, err)
	if _, err := dirlock.NewTemp(parent, "living"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	// Killed processes leave a directory, one that cannot be removed at once, and a lock that was never held.
	locked := filepath.Join(parent, "dead", "locked")
	testkit.Must(t, os.MkdirAll(locked, 0o700))
	testkit.Must(t, os.WriteFile(filepath.Join(locked, "x"), nil, 0o600))
	testkit.Must(t, os.Chmod(locked, 0o500))
	for _, name := range []string{"dead.lock", "old.new", "fresh.new", "other"} {
		testkit.Must(t, os.WriteFile(filepath.Join(parent, name), nil, 0o600))
	}
	old := time.Now().Add(-time.Hour)
	testkit.Must(t, os.Chtimes(filepath.Join(parent, "old.new"), old, old))
	if !dirlock.InUse(living.Path) || dirlock.InUse(filepath.Join(parent, "dead")) ||
		dirlock.InUse(filepath.Join(parent, "none")) {
		t.Error("the directories in use are wrong")
	}
	testkit.Must(t, dirlock.RemoveAbandoned(parent))
	left, err := filepath.Glob(filepath.Join(parent, "*"))
	testkit.Must(t, err)
	var names []string
	for _, l := range left {
		names = append(names, filepath.Base(l))
	}
	if len(names) != 4 || names[0] != "fresh.new" || names[1] != "living" || names[2] != "living.lock" ||
		names[3] != "other" {
		t.Errorf("left are %q", names)
	}
	testkit.Must(t, os.WriteFile(filepath.Join(living.Path, "x"), nil, 0o600))
	testkit.Must(t, living.Remove())
	testkit.Must(t, living.Remove())
	if _, err := os.Stat(living.Path); !errors.Is(err, fs.ErrNotExist) || dirlock.InUse(living.Path) {
		t.Errorf("not removed: %v", err)
	}
	if err := dirlock.RemoveAbandoned(filepath.Join(parent, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such directory: %v", err)
	}
}
