package mock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/rpmflow/rpmflow/internal/build/rpmlog"
)

// capabilities are the ones that mock needs in a container of Docker, and no others. Without SETFCAP packages with file
// capabilities do not unpack, without FSETID setgid bits get lost silently.
var capabilities = []string{"SYS_ADMIN", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "SETUID", "SETGID", "SYS_CHROOT"}

// step is one container: what it is made from, what it runs, and with or without network.
type step struct {
	name    string // of the container that makes a shared image; empty: any
	image   string
	network bool
	script  string
	env     []string
	files   []file
	tty     bool                             // a terminal is its standard input and output
	stdout  io.Writer                        // besides the job's log; may be nil
	failed  func(end ended, err error) error // says more of mock's failure, when it is nobody else's; may be nil
}

// ended is how a step's main process ended.
type ended struct {
	id       string
	exitCode int
	output   []string // the last lines of both streams
	stopped  bool     // by us, with the error as the reason
}

// run copies the files into a container, starts it, follows its output and waits for its end. The container stays, for its results
// and for the image that may be made of it: session.Close removes it. When ctx ends, or the container fills the disk, it is killed.
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
	ctx, stop := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); s.e.disk.watch(ctx, id, stop) }()
	defer func() { stop(nil); <-watched }()
	end := ended{id: id}
	keep := &lastLines{}
	follow := make(chan error, 1)
	go func() { follow <- s.follow(wctx, id, st.stdout, keep) }()

	select {
	case exit := <-exits:
		end.exitCode = int(exit.StatusCode)
		if exit.Error != nil {
			err = fmt.Errorf("engine mock: container %s: %s", id, exit.Error.Message)
		}
	case err = <-failures:
		cancel()
		<-follow
		return ended{}, fmt.Errorf("engine mock: wait for container %s: %w", id, err)
	case <-ctx.Done():
		s.kill(ctx, id, exits)
	}
	select { // the engine closes the stream with the container
	case ferr := <-follow:
		err = errors.Join(err, ferr)
	case <-ctx.Done():
		cancel()
		<-follow
	}
	if ctx.Err() != nil {
		end.stopped = true
		return end, context.Cause(ctx)
	}
	end.output = keep.lines()
	return end, err
}

func (s *session) create(ctx context.Context, st step) (string, error) {
	config := &container.Config{
		Image: st.image, User: "0:0", WorkingDir: "/", Entrypoint: []string{"/bin/sh", "-euc", prelude + st.script},
		Env: append([]string{"LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=dumb"}, st.env...), Labels: s.e.labels(s.job.Build), Hostname: "rpmflow",
	}
	config.Tty, config.OpenStdin, config.StdinOnce, config.AttachStdin, config.AttachStdout, config.AttachStderr = st.tty, st.tty, st.tty, st.tty, st.tty, st.tty
	pids := s.e.s.PIDs
	host := &container.HostConfig{
		NetworkMode: "none", CapDrop: []string{"ALL"}, CapAdd: capabilities, SecurityOpt: []string{"no-new-privileges"},
		// The engine's own log is for watching. It is limited to more than a build may write before it is stopped.
		LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1g", "max-file": "1"}},
		// As much memory with swap as without: the engine's default is twice the limit.
		Resources:  container.Resources{Memory: s.e.s.Memory, MemorySwap: s.e.s.Memory, NanoCPUs: int64(s.e.s.CPUs * 1e9)},
		StorageOpt: s.e.disk.option(),
	}
	if st.name != "" { // of what is committed, what goes in and comes out is no part; elsewhere the limit of the disk covers it
		host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Target: inWork}}
		if st.network && s.e.s.Packages > 0 {
			host.Mounts = append(host.Mounts, s.e.packages(s.job.Target.Name, true))
		}
	}
	if limit := s.e.s.Disk; limit > 0 { // a file that is open and has no name is seen by no watcher
		host.Ulimits = []*container.Ulimit{{Name: "fsize", Soft: limit, Hard: limit}}
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
	// A build that ends meanwhile hears of its container all the same: nobody else would remove it, and others would wait for one that has a name.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createWait)
	defer cancel()
	created, err := s.e.api.ContainerCreate(ctx, config, host, nil, nil, st.name)
	if err != nil && host.StorageOpt != nil && !errdefs.IsConflict(err) && ctx.Err() == nil { // most drivers have no quotas
		host.StorageOpt = nil
		if created, err = s.e.api.ContainerCreate(ctx, config, host, nil, nil, st.name); err == nil {
			s.e.disk.noQuota.Store(true)
		}
	}
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

// kill ends a container and waits until it is over, for what it leaves; one that does not end is removed by session.Close.
func (s *session) kill(ctx context.Context, id string, exits <-chan container.WaitResponse) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callWait)
	defer cancel()
	if err := s.e.api.ContainerKill(ctx, id, "SIGKILL"); err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) { // conflict: it has ended
		s.e.s.Logger.Warn("container not killed", "container", id, "build", s.job.Build.ID, "error", err)
		return
	}
	select {
	case <-exits:
	case <-ctx.Done():
	}
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
	return rpmlog.Lines(strings.NewReader(string(bytes.ReplaceAll(l.data, []byte{'\r'}, []byte{'\n'}))), 300)
}
