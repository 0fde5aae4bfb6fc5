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

// KeepFresh compares the roots that builds have used lately with the repositories ahead of time, until ctx ends. Builds
// that follow one another thus never wait for it.
func (e *Engine) KeepFresh(ctx context.Context) { e.refresher.Run(ctx) }

// Warm implements build.Warmer.
func (e *Engine) Warm(ctx context.Context, job build.Job) error {
	e.refresher.Used(job.Target, job.Build.Options)
	job.Target.AllowStale = false // Root reports a root that is too old
	return e.makeReady(ctx, job)
}

// Refresh compares a target's root with the repositories now, at any age, and makes or updates it if that is
// needed. mock's messages go to log.
func (e *Engine) Refresh(ctx context.Context, target rpmflow.Target, log io.Writer) (root rpmflow.BuildRoot,
	err error) {
	target.MaxAge, target.AllowStale = time.Nanosecond, false
	err = e.withoutBuild(ctx, target, target.Options.Trust(), log, func(r rpmflow.BuildRoot) { root = r })
	if err != nil {
		return root, fmt.Errorf("make the root ready: %w", err)
	}
	return root, nil
}

// withoutBuild makes a root ready ahead of builds.
func (e *Engine) withoutBuild(
	ctx context.Context, t rpmflow.Target, o rpmflow.Options, log io.Writer, onRoot func(rpmflow.BuildRoot),
) error {
	dir, err := os.MkdirTemp("", "rpmflow-root-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // only logs that are not used
	return e.makeReady(ctx, build.Job{
		Build: rpmflow.Build{BuildRequest: rpmflow.BuildRequest{Options: o}}, Target: t, Dir: dir, Log: log,
		OnContainer: func(string) {}, OnRoot: onRoot,
	})
}

func (e *Engine) makeReady(ctx context.Context, job build.Job) error {
	s, err := e.Open(ctx, job)
	if err != nil {
		return err
	}
	return errors.Join(s.Root(ctx), s.Close(context.WithoutCancel(ctx)))
}
