package builder

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/dirlock"
)

// openWorkDir makes a directory for this process below dir, and removes those of builders that have died.
func openWorkDir(dir string, log *slog.Logger) (*dirlock.Temp, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("work directory: %w", err)
	}
	if err := dirlock.RemoveAbandoned(dir); err != nil {
		log.Warn("the work directory of a dead builder is not removed", "dir", dir, "error", err)
	}
	work, err := dirlock.NewTemp(dir, "builder-"+rand.Text())
	if err != nil {
		return nil, fmt.Errorf("work directory: %w", err)
	}
	return work, nil
}

// attemptDir makes the directory of an attempt.
func attemptDir(work *dirlock.Temp, b rpmflow.Build) (string, error) {
	dir := filepath.Join(work.Path, fmt.Sprintf("%s-%d", b.ID, b.Attempt))
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("work directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("work directory: %w", err)
	}
	return dir, nil
}
