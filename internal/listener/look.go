package listener

import (
	"context"
	"errors"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
)

const (
	// lookWait is how long an answer waits for a look at a repository: a forge gives a webhook ten seconds, and the push is yet to be stored.
	lookWait = 5 * time.Second
	// lookLimit is how long a look that nobody waits for any more may go on. What it has fetched is there for the next one.
	lookLimit = 15 * time.Minute
	// maxLooks bounds those at one repository.
	maxLooks = 2
)

var (
	errNoMirrors = errors.New("this listener keeps no git mirrors")
	errSlow      = errors.New("the repository could not be read in time")
)

// look does something with a project's repository, and waits for it for a while.
func look[T any](ctx context.Context, l *Listener, project string, f func(context.Context) (T, error)) (T, error) {
	var nothing T
	if l.o.Repositories == nil {
		return nothing, errNoMirrors
	}
	wait, cancel := context.WithTimeoutCause(ctx, min(lookWait, l.o.RequestTimeout/2), errSlow)
	defer cancel()
	slots := l.looking[project]
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
	work, stop := context.WithTimeout(l.stopping, lookLimit)
	l.looks.Go(func() {
		defer func() { <-slots }()
		defer stop()
		value, err := f(work)
		done <- result{value, err}
		if err != nil && wait.Err() != nil {
			l.log.Warn("repository not read", "project", project, "error", err)
		}
	})
	select {
	case r := <-done:
		return r.value, r.err
	case <-wait.Done():
		return nothing, context.Cause(wait)
	}
}

// whyNot says in words for everybody why a repository was not looked at. What else there is to say is for the operator.
func (l *Listener) whyNot(project rpmflow.Project, c forge.Change, err error) string {
	l.log.Warn("the repository was not looked at", "project", project.Name, "ref", c.Ref, "commit", c.Commit, "error", err)
	var f *rpmflow.Failure
	switch {
	case errors.As(err, &f):
		return f.Message
	case errors.Is(err, errNoMirrors):
		return errNoMirrors.Error()
	case errors.Is(err, errSlow), errors.Is(err, context.DeadlineExceeded):
		return errSlow.Error()
	}
	return "the repository could not be read; the listener's log says why"
}
