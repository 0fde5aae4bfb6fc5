// Package filetime sets the times of files to that of a commit.
// A path and a time come in; out of range times, which git allows and file systems do not, become the epoch.
// Every package may import it; it imports nothing of ours.
package filetime

import (
	"fmt"
	"os"
	"time"
)

// Sane replaces a time that file systems cannot store by the epoch. The result is in UTC.
func Sane(t time.Time) time.Time {
	if u := t.Unix(); u < 0 || u > 1<<33 {
		t = time.Unix(0, 0)
	}
	return t.UTC()
}

// Set sets a file's time to a sane one.
func Set(name string, t time.Time) error {
	t = Sane(t)
	if err := os.Chtimes(name, t, t); err != nil {
		return fmt.Errorf("setting the time of a source: %w", err)
	}
	return nil
}
