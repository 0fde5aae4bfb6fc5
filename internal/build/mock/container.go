package mock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/rpmflow/rpmflow/internal/build"
)

// capabilities are the ones that mock needs in a container of Docker, and no others. Without SETFCAP packages with file
// capabilities do not unpack, without FSETID setgid bits get lost silently.
var capabilities = []string{"SYS_ADMIN", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "SETUID", "SETGID", "SYS_CHROOT"}

// step is one container: what it is made from, what it runs, and with or without network.
type step struct {
	name    string // of the container; empty: any
	image   string
	network bool
	script  string
	env     []string
	files   []file
	stdout  io.Writer                        // besides the job's log; may be nil
	failed  func(end ended, err error) error // says more of mock's failure; may be nil
}

// ended is how a step's main process ended.
type ended struct {
	id       string
	exitCode int
	output   []string // the last lines of both streams
}

// run copies the files into a container, starts it, follows its output and waits for its end. The container stays, for its results
// and for the image that may be made of it: session.Close removes it. When ctx ends the container is killed.
func (s *session) run(ctx context.Context, id string, st step) (ended, error) {
	var err error
	if err := s.e.copyIn(ctx, id, st.files); err != nil {
		return ended{}, err
	}
	s.job.OnContainer(id)

	// The container's end is watched on a context of its own: after a kill its exit is still wanted.
	wctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	exits, failures := s.e.api.ContainerWait(wctx, id, container.WaitConditionNextExit)
	if err := s.e.api.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return ended{}, fmt.Errorf("engine mock: start container %s: %w", id, err)
	}
	keep := &lastLines{}
	follow := make(chan error, 1)
	go func() { follow <- s.follow(wctx, id, st.stdout, keep) }()

	var exit container.WaitResponse
	select {
	case exit = <-exits:
	case err = <-failures:
		err = fmt.Errorf("engine mock: wait for container %s: %w", id, err)
	case <-ctx.Done():
		err = errors.Join(context.Cause(ctx), s.kill(ctx, id))
	}
	if err != nil {
		cancel()
		<-follow
		return ended{}, err
	}
	if exit.Error != nil {
		err = fmt.Errorf("engine mock: container %s: %s", id, exit.Error.Message)
	}
	select { // the engine closes the stream with the container
	case ferr := <-follow:
		err = errors.Join(err, ferr)
	case <-ctx.Done():
		cancel()
		<-follow
		return ended{}, context.Cause(ctx)
	}
	return ended{id: id, exitCode: int(exit.StatusCode), output: keep.lines()}, err
}

func (s *session) create(ctx context.Context, st step) (string, error) {
	config := &container.Config{
		Image: st.image, User: "0:0", WorkingDir: "/", Entrypoint: []string{"/bin/sh", "-euc", prelude + st.script},
		Env: append([]string{"LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=dumb"}, st.env...), Labels: s.e.labels(s.job.Build), Hostname: "rpmflow",
	}
	pids := s.e.s.PIDs
	host := &container.HostConfig{
		NetworkMode: "none", CapDrop: []string{"ALL"}, CapAdd: capabilities, SecurityOpt: []string{"no-new-privileges"},
		// The engine's own log is for watching. It is limited to more than a build may write before it is stopped.
		LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1g", "max-file": "1"}},
		Mounts:    []mount.Mount{{Type: mount.TypeVolume, Target: inWork}},
		Resources: container.Resources{Memory: s.e.s.Memory, NanoCPUs: int64(s.e.s.CPUs * 1e9)},
	}
	if pids > 0 {
		host.PidsLimit = &pids
	}
	if st.network {
		host.NetworkMode = container.NetworkMode(s.e.s.Network)
	}
	if s.e.s.AppArmor != "" {
		host.SecurityOpt = append(host.SecurityOpt, "apparmor="+s.e.s.AppArmor)
	}
	created, err := s.e.api.ContainerCreate(ctx, config, host, nil, nil, st.name)
	if err != nil {
		return "", fmt.Errorf("engine mock: create a container of %s: %w", st.image, err)
	}
	s.containers = append(s.containers, created.ID)
	return created.ID, nil
}

// follow reads the container's output from its beginning to its end.
func (s *session) follow(ctx context.Context, id string, stdout io.Writer, keep *lastLines) error {
	r, err := s.e.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if err != nil {
		return fmt.Errorf("engine mock: follow container %s: %w", id, err)
	}
	defer func() { _ = r.Close() }()
	both := io.MultiWriter(s.job.Log, keep)
	out := both
	if stdout != nil {
		out = stdout // what is data is not log
	}
	if _, err := stdcopy.StdCopy(out, both, r); err != nil {
		return fmt.Errorf("engine mock: output of container %s: %w", id, err)
	}
	return nil
}

func (s *session) kill(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callWait)
	defer cancel()
	return s.e.removeContainer(ctx, id)
}

// lastLines keeps the end of an output.
type lastLines struct {
	mu   sync.Mutex
	data []byte
}

const keepOutput = 64 << 10

func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.data = append(l.data, p...)
	if over := len(l.data) - keepOutput; over > keepOutput { // now and then, not at every write
		l.data = append([]byte(nil), l.data[over:]...)
	}
	return len(p), nil
}

func (l *lastLines) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	// dnf draws its progress with carriage returns.
	return build.Lines(strings.NewReader(string(bytes.ReplaceAll(l.data, []byte{'\r'}, []byte{'\n'}))), 300)
}
