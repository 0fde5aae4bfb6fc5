package mock

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
)

// failedStep is where the last step that has failed can be examined.
type failedStep struct {
	container string // with what the step has left; empty: that is gone
	image     string // that the step began with
	what      string // description of the root, for people
}

// Explore implements build.Explorer: a shell in a copy of the container whose step has failed, with the same limits and
// without a network, on the terminal that standard input and output are.
func (s *session) Explore(ctx context.Context) (err error) {
	if !docker.HasTerminal() {
		return errors.New("engine mock: standard input and output are not a terminal")
	}
	in := s.failed
	if in.container == "" && in.image == "" {
		return errors.New("engine mock: there is nothing to look at: no root was made, or nothing has failed in one")
	}
	var id string
	committed := false
	defer func() {
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), docker.CallWait)
		defer cancel()
		if id != "" {
			err = errors.Join(err, s.e.docker.Remove(rctx, id))
		}
		if committed {
			err = errors.Join(err, s.e.docker.RemoveImage(rctx, in.image))
		}
	}()
	if in.container != "" {
		if in.image, err = s.e.docker.Commit(ctx, in.container, "", s.e.images.Labels(s.job.Build)); err != nil {
			return err
		}
		committed = true
	}
	st := s.step(rpmflow.PhaseRPMs, step{image: in.image, script: scriptShell, terminal: true})
	if id, err = s.create(ctx, st); err != nil {
		return err
	}
	if err := s.e.docker.CopyIn(ctx, id, s.config.own); err != nil {
		return err
	}
	s.job.OnContainer(id)
	fmt.Fprintf(os.Stderr, "rpmflow: a shell in %s, without a network; all of it is removed when the shell ends "+
		"(exit, or Ctrl-D)\n", in.what)
	return s.e.docker.Attach(ctx, id)
}
