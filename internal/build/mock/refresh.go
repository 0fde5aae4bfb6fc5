package mock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
)

// Refresh compares a target's root with the repositories now, whatever its age, and makes or updates it where that is needed. What
// mock says goes to log.
func (e *Engine) Refresh(ctx context.Context, target rpmflow.Target, log io.Writer) (root rpmflow.BuildRoot, err error) {
	dir, err := os.MkdirTemp("", "rpmflow-refresh-")
	if err != nil {
		return root, fmt.Errorf("engine mock: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	target.MaxAge, target.AllowStale = time.Nanosecond, false
	s, err := e.Open(ctx, build.Job{
		Build: rpmflow.Build{Options: target.Options.Trust()}, Target: target, Dir: dir, Log: log, OnContainer: func(string) {}, OnRoot: func(r rpmflow.BuildRoot) { root = r },
	})
	if err != nil {
		return root, err
	}
	return root, errors.Join(s.Root(ctx), s.Close(context.WithoutCancel(ctx)))
}
