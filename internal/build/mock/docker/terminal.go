package docker

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
)

// HasTerminal reports whether this program's standard input and output are a terminal.
func HasTerminal() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
}

// Attach starts a container with a terminal and connects it with this program's until it ends. Meanwhile signals of the
// keyboard go to the container.
func (c *Client) Attach(ctx context.Context, id string) error {
	attached, err := c.api.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true,
		Stderr: true})
	if err != nil {
		return failed(err, "attach to container %s", id)
	}
	defer attached.Close()
	exits, failures := c.api.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := c.start(ctx, id); err != nil {
		return err
	}
	in := int(os.Stdin.Fd())
	before, err := term.MakeRaw(in)
	if err != nil {
		return fmt.Errorf("the terminal: %w", err)
	}
	defer func() { _ = term.Restore(in, before) }()

	resize := func() {
		if width, height, err := term.GetSize(in); err == nil { // a wrong size only looks bad
			_ = c.api.ContainerResize(ctx, id, container.ResizeOptions{Width: uint(width), Height: uint(height)})
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
			return failed(err, "wait for container %s", id)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// keys copies what is typed until ended is closed. It does not block in a read: that could not be stopped, and would
// take the next key from the program that reads after it.
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
