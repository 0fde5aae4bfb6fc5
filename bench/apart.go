package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/ready"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

// apart is the listener and builders as programs of their own, with NATS and S3 in this process.
type apart struct {
	bin, dir, url string
	env           []string
	running       []*exec.Cmd
	server        *natsserver.Server
	s3            *gateway.Gateway
	nc            *nats.Conn
	js            jetstream.JetStream
	ledger        *events.Ledger
}

// startApart starts all but the builders. yaml is the configuration of targets and projects.
func startApart(ctx context.Context, bin, dir, yaml string) (_ *apart, err error) {
	a := &apart{bin: bin, dir: dir}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	quiet := slog.New(slog.DiscardHandler)
	if a.server, err = natsserver.Start(natsserver.Options{Dir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0",
		Logger: quiet}); err != nil {
		return nil, err
	}
	if a.s3, err = gateway.Start(ctx, gateway.Options{Dir: filepath.Join(dir, "s3"), Listen: "127.0.0.1:0",
		AccessKey: "bench", SecretKey: "bench-secret", Logger: quiet}); err != nil {
		return nil, err
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := socket.Addr().String()
	file := filepath.Join(dir, "rpmflow.yaml")
	if err := errors.Join(socket.Close(), os.WriteFile(file, []byte(yaml), 0o600)); err != nil {
		return nil, err
	}
	a.url = "http://" + address
	a.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "DOCKER_HOST=" + os.Getenv("DOCKER_HOST"), "RPMFLOW_CONFIG=" + file,
		"RPMFLOW_NATS_URL=" + a.server.URL(), "RPMFLOW_S3_ENDPOINT=" + a.s3.Endpoint(),
		"RPMFLOW_S3_ACCESS_KEY=bench", "RPMFLOW_S3_SECRET_KEY=bench-secret", "RPMFLOW_LISTENER_LISTEN=" + address,
		"RPMFLOW_LOG_LEVEL=error",
	}
	if _, err := a.start(ctx, "listener", "listener"); err != nil {
		return nil, err
	}
	rctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := ready.Wait(rctx, "listener", a.url); err != nil {
		return nil, err
	}
	if a.nc, a.js, err = events.Dial(events.Access{URL: a.server.URL(), Name: "bench"}, quiet); err != nil {
		return nil, err
	}
	a.ledger, err = events.NewLedger(ctx, a.js)
	return a, err
}

// start starts a program with a data directory of that name.
func (a *apart) start(ctx context.Context, program, name string, flags ...string) (*exec.Cmd, error) {
	p := exec.CommandContext(ctx, filepath.Join(a.bin, program),
		append([]string{"--data-dir", filepath.Join(a.dir, name)}, flags...)...)
	p.Env, p.Stderr = a.env, os.Stderr
	if err := p.Start(); err != nil {
		return nil, err
	}
	a.running = append(a.running, p)
	return p, nil
}

func (a *apart) close() {
	for _, p := range a.running {
		_ = p.Process.Signal(syscall.SIGTERM) // one that was killed has ended already
		_ = p.Wait()
	}
	if a.nc != nil {
		a.nc.Close()
	}
	if a.s3 != nil {
		_ = a.s3.Close()
	}
	if a.server != nil {
		a.server.Close()
	}
}

// submit requests a build of the project bench and returns its id.
func (a *apart) submit(ctx context.Context) (string, error) {
	answer, err := api.NewClient(a.url, "").Submit(ctx, api.Submission{Project: "bench"}, "")
	if err != nil || len(answer.Builds) != 1 {
		return "", fmt.Errorf("submit: %d builds: %w", len(answer.Builds), err)
	}
	return answer.Builds[0].ID, nil
}

// logSize is how many bytes the stored log of a build has, unpacked.
func (a *apart) logSize(ctx context.Context, id string) (int64, error) {
	log, err := api.NewClient(a.url, "").Log(ctx, id, false)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }()
	return io.Copy(io.Discard, log)
}

// until waits for a state of a build.
func (a *apart) until(ctx context.Context, id string, is func(rpmflow.Build) bool) (events.Event, error) {
	for {
		last, err := a.ledger.LastOf(ctx, id)
		if err == nil && is(last.Build) {
			return last, nil
		}
		if err == nil && last.Build.State == rpmflow.Finished {
			return last, fmt.Errorf("the build has ended: %+v", last.Build.Outcome)
		}
		select {
		case <-ctx.Done():
			return last, errors.Join(context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// memory reads what the kernel says of a program's memory: VmRSS now, VmHWM at most.
func memory(p *exec.Cmd, what string) (string, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(status), "\n") {
		if size, ok := strings.CutPrefix(line, what+":"); ok {
			return strings.TrimSpace(size), nil
		}
	}
	return "", fmt.Errorf("%s is not in /proc/%d/status", what, p.Process.Pid)
}
