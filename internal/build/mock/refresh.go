package mock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
)

// Refresh compares a target's root with the repositories now, whatever its age, and makes or updates it where that is needed. What
// mock says goes to log.
func (e *Engine) Refresh(ctx context.Context, target rpmflow.Target, log io.Writer) (root rpmflow.BuildRoot, err error) {
	target.MaxAge, target.AllowStale = time.Nanosecond, false
	err = inTemporary(func(dir string) error {
		return e.makeReady(ctx, build.Job{Build: rpmflow.Build{BuildRequest: rpmflow.BuildRequest{Options: target.Options.Trust()}}, Target: target, Dir: dir, Log: log, OnContainer: func(string) {}, OnRoot: func(r rpmflow.BuildRoot) { root = r }})
	})
	if err != nil {
		return root, fmt.Errorf("make the root ready: %w", err)
	}
	return root, nil
}

// Warm implements build.Warmer.
func (e *Engine) Warm(ctx context.Context, job build.Job) error {
	e.keeper.use(job.Target, job.Build.Options)
	job.Target.AllowStale = false // what is to be said of a root that is too old, Root says
	return e.makeReady(ctx, job)
}

func (e *Engine) makeReady(ctx context.Context, job build.Job) error {
	s, err := e.Open(ctx, job)
	if err != nil {
		return err
	}
	return errors.Join(s.Root(ctx), s.Close(context.WithoutCancel(ctx)))
}
