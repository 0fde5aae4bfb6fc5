package mock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/rpmflow/rpmflow"
)

// scriptShell enters the root as the user that builds. What rpmbuild left there is as it was.
const scriptShell = `give_devices
run_mock --offline --quiet --no-clean --no-cleanup-after --unpriv --shell "cd /builddir/build/BUILD 2>/dev/null || cd /builddir; exec bash -i || exec sh -i"`

// failed is where the last step that has failed can be looked at.
type failed struct {
	container string // with what the step has left; empty: that is gone
	image     string // that the step began with
	what      string // the root is, for people
}

// fails writes down that a step has failed in a container.
func (s *session) fails(id string) { s.failed = failed{container: id, what: "the failed root"} }

// failsShared writes down that a step has failed whose container makes way for other builds, which wait for its name.
func (s *session) failsShared(r recipe, st step) {
	s.failed = failed{}
	if r.kind == kindDependencies {
		s.failed = failed{image: st.image, what: "the root in which the BuildRequires could not be installed, as it was before"}
	}
}

// Explore implements build.Explorer: a shell in a copy of the container whose step has failed, confined like that and without a network, on the
// terminal that standard input and output are.
func (s *session) Explore(ctx context.Context) (err error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) {
		return errors.New("engine mock: standard input and output are no terminal")
	}
	in := s.failed
	if in.container == "" && in.image == "" {
		return errors.New("engine mock: there is nothing to look around in: no root was made, or nothing has failed in one")
	}
	var id string
	committed := false
	defer func() {
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callWait)
		defer cancel()
		if id != "" {
			err = errors.Join(err, s.e.removeContainer(rctx, id))
		}
		if committed {
			err = errors.Join(err, s.e.removeImage(rctx, in.image))
		}
	}()
	if in.container != "" {
		cctx, cancel := context.WithTimeout(ctx, commitWait)
		defer cancel()
		image, err := s.e.api.ContainerCommit(cctx, in.container, container.CommitOptions{Config: &container.Config{Labels: s.e.labels(s.job.Build)}})
		if err != nil {
			return fmt.Errorf("engine mock: commit container %s: %w", in.container, err)
		}
		in.image, committed = image.ID, true
	}
	st := s.step(rpmflow.PhaseRPMs, step{image: in.image, script: scriptShell, tty: true})
	if id, err = s.create(ctx, st); err != nil {
		return err
	}
	if err := s.e.copyIn(ctx, id, s.config.own); err != nil {
		return err
	}
	s.job.OnContainer(id)
	fmt.Fprintf(os.Stderr, "rpmflow: a shell in %s, without a network; all of it is removed when the shell ends (exit, or Ctrl-D)\n", in.what)
	return s.e.terminal(ctx, id)
}

// keys copies what is typed until ended is closed. A read that waits for a key could not be called off, and would take the key from
// whoever reads next.
func keys(in int, to io.Writer, ended <-chan struct{}) {
	buffer := make([]byte, 4096)
	for {
		select {
		case <-ended:
			return
		default:
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(in), Events: unix.POLLIN}}, 50)
		if errors.Is(err, unix.EINTR) || (err == nil && n == 0) {
			continue
		}
		if err == nil {
			n, err = unix.Read(in, buffer)
		}
		if err != nil || n == 0 {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// terminal starts a container and connects it with the terminal until it ends. Signals of the keyboard are the container's meanwhile.
func (e *Engine) terminal(ctx context.Context, id string) error {
	attached, err := e.api.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return fmt.Errorf("engine mock: attach to container %s: %w", id, err)
	}
	defer attached.Close()
	exits, failures := e.api.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := e.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return fmt.Errorf("engine mock: start container %s: %w", id, err)
	}
	in := int(os.Stdin.Fd())
	before, err := term.MakeRaw(in)
	if err != nil {
		return fmt.Errorf("engine mock: the terminal: %w", err)
	}
	defer func() { _ = term.Restore(in, before) }()

	resize := func() {
		if width, height, err := term.GetSize(in); err == nil { // a size that is not right disturbs, no more
			_ = e.api.ContainerResize(ctx, id, container.ResizeOptions{Width: uint(width), Height: uint(height)})
		}
	}
	resize()
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, unix.SIGWINCH)
	defer signal.Stop(changes)

	shown := make(chan struct{})
	go func() { defer close(shown); _, _ = io.Copy(os.Stdout, attached.Reader) }()
	ended, typed := make(chan struct{}), make(chan struct{})
	go func() { defer close(typed); keys(in, attached.Conn, ended) }()
	defer func() { close(ended); <-typed }()
	for {
		select {
		case <-changes:
			resize()
		case <-exits:
			<-shown
			return nil
		case err := <-failures:
			return fmt.Errorf("engine mock: wait for container %s: %w", id, err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
