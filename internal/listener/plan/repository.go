package plan

import (
	"context"
	"errors"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
)

const (
	// readWait is how long an answer waits for a repository. A forge gives a webhook ten seconds, and the push is not
	// stored yet.
	readWait = 5 * time.Second
	// readLimit is how long a read may go on after the answer. The next one finds what it has fetched.
	readLimit = 15 * time.Minute
	// maxReads is how many reads one repository may have at once.
	maxReads = 2
)

var (
	errNoMirrors = errors.New("this listener keeps no git mirrors")
	// ErrSlow is returned if the answer cannot wait longer. The read goes on, and the next call finds what it has
	// fetched.
	ErrSlow = errors.New("the repository could not be read in time")
)

// read calls f, which reads a project's repository, and waits for it for a limited time.
func read[T any](ctx context.Context, pl *Planner, project string, f func(context.Context) (T, error)) (T, error) {
	var nothing T
	if pl.o.Repositories == nil {
		return nothing, errNoMirrors
	}
	wait, cancel := context.WithTimeoutCause(ctx, min(readWait, pl.o.Wait), ErrSlow)
	defer cancel()
	slots := pl.reading[project]
	select {
	case slots <- struct{}{}:
	case <-wait.Done():
		return nothing, context.Cause(wait)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	work, stop := context.WithTimeout(pl.ctx, readLimit)
	pl.reads.Go(func() {
		defer func() { <-slots }()
		defer stop()
		value, err := f(work)
		done <- result{value, err}
		if err != nil && wait.Err() != nil {
			pl.log.Warn("repository not read", "project", project, "error", err)
		}
	})
	select {
	case r := <-done:
		return r.value, r.err
	case <-wait.Done():
		return nothing, context.Cause(wait)
	}
}

// whyNot is the public reason why a repository was not read. The log has the whole error.
func (pl *Planner) whyNot(project rpmflow.Project, c forge.Change, err error) string {
	pl.log.Warn("the repository was not read", "project", project.Name, "ref", c.Ref, "commit", c.Commit, "error",
		err)
	var f *rpmflow.Failure
	switch {
	case errors.As(err, &f):
		return f.Message
	case errors.Is(err, errNoMirrors):
		return errNoMirrors.Error()
	case errors.Is(err, ErrSlow), errors.Is(err, context.DeadlineExceeded):
		return ErrSlow.Error()
	}
	return "the repository could not be read; the listener's log says why"
}
