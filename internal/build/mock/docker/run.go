package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// Exit is how a container's main process ended.
type Exit struct {
	Ran     bool // it was started
	Stopped bool // by Run, with the error as the reason
	Code    int
	Running error // why a container that was to be stopped may still run
}

// Run starts a container, copies its output and waits for its end. The container stays. When ctx ends, the container
// writes more than disk bytes (0: no limit), or the engine's disk is full, it is killed. A process that ends with an
// error is not an error.
func (c *Client) Run(ctx context.Context, id string, disk int64, stdout, stderr io.Writer) (exit Exit, err error) {
	// The end is watched on a context of its own: after a kill the exit is still needed.
	wctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	exits, failures := c.api.ContainerWait(wctx, id, container.WaitConditionNextExit)
	if err := c.start(ctx, id); err != nil {
		return Exit{}, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); c.disk.watch(ctx, id, disk, c.quota(disk) != nil, stop) }()
	defer func() { stop(nil); <-watched }()
	follow := make(chan error, 1)
	go func() { follow <- c.follow(wctx, id, stdout, stderr) }()

	exit.Ran = true
	select {
	case ended := <-exits:
		exit.Code = int(ended.StatusCode)
		if ended.Error != nil {
			err = fmt.Errorf("docker: container %s: %s", id, ended.Error.Message)
		}
	case err := <-failures:
		cancel()
		<-follow
		return Exit{}, failed(err, "wait for container %s", id)
	case <-ctx.Done():
		exit.Running = c.kill(ctx, id, exits)
	}
	select { // the engine closes the stream with the container
	case ferr := <-follow:
		err = errors.Join(err, ferr)
	case <-ctx.Done():
		cancel()
		<-follow
	}
	if ctx.Err() != nil {
		exit.Stopped = true
		return exit, context.Cause(ctx)
	}
	return exit, err
}

func (c *Client) start(ctx context.Context, id string) error {
	return failed(c.api.ContainerStart(ctx, id, container.StartOptions{}), "start container %s", id)
}

// follow copies the container's output from its beginning to its end.
func (c *Client) follow(ctx context.Context, id string, stdout, stderr io.Writer) error {
	r, err := c.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if err != nil {
		return failed(err, "follow container %s", id)
	}
	defer func() { _ = r.Close() }()
	_, err = stdcopy.StdCopy(stdout, stderr, r)
	return failed(err, "output of container %s", id)
}

// kill ends a container and waits for that, so that its files can be read.
func (c *Client) kill(ctx context.Context, id string, exits <-chan container.WaitResponse) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallWait)
	defer cancel()
	if err := unlessGone(c.api.ContainerKill(ctx, id, "SIGKILL")); err != nil { // conflict: it has ended
		return failed(err, "kill container %s", id)
	}
	select {
	case <-exits:
	case <-ctx.Done():
	}
	return nil
}

// Tail keeps the end of an output.
type Tail struct {
	mu   sync.Mutex
	data []byte
}

const keepOutput = 64 << 10

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if over := len(t.data) - keepOutput; over > keepOutput { // not at every write
		t.data = append([]byte(nil), t.data[over:]...)
	}
	return len(p), nil
}

// Bytes returns what is kept. Carriage returns, with which programs draw their progress, are ends of lines.
func (t *Tail) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.ReplaceAll(t.data, []byte{'\r'}, []byte{'\n'})
}
