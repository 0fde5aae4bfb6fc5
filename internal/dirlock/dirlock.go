// Package dirlock locks files and directories that several processes use, and that must be free again when a process
// dies.
//
// Names come in; locks of the kernel (flock) go out, which end with the process, however that ends, and ErrBusy if
// another process has the lock. It imports nothing of ours but other leaf libraries, and every package may import it.
package dirlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/retry"
)

// Kind is whether others may have the lock at the same time.
type Kind int

// The kinds.
const (
	Shared    Kind = unix.LOCK_SH // with others that share it
	Exclusive Kind = unix.LOCK_EX
)

// ErrBusy means that another process has the lock, or this one under another open file.
var ErrBusy = errors.New("in use by another process")

// Open locks a file, which it makes if there is none. It waits for a lock that is held until ctx ends, and for `wait`
// at most; 0: not at all. Closing the file unlocks it. The file stays: if it were removed, two processes could
// have a lock each.
func Open(ctx context.Context, name string, kind Kind, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := Lock(ctx, f, kind, wait); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Lock is Open for a file or a directory that is open.
func Lock(ctx context.Context, f *os.File, kind Kind, wait time.Duration) error {
	policy := retry.Policy{First: 5 * time.Millisecond, Most: 100 * time.Millisecond, Limit: wait}
	if wait <= 0 {
		policy.Tries = 1
	}
	return policy.Do(ctx, func() error {
		err := unix.Flock(int(f.Fd()), int(kind)|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock %s: %w", f.Name(), ErrBusy)
		case errors.Is(err, unix.EINTR):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		return retry.Permanent(fmt.Errorf("lock %s: %w", f.Name(), err))
	})
}

// Dir makes a directory that one process uses at a time, and locks it at once or says ErrBusy. The lock is on the file
// "lock" in it.
func Dir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return Open(context.Background(), filepath.Join(dir, "lock"), Exclusive, 0)
}
