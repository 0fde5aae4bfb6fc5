package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

// idleMemory runs a listener and a builder as separate programs, against NATS and S3 of this process, and reads what the
// kernel says of their memory.
func idleMemory(ctx context.Context, bin, dir string) error {
	quiet := slog.New(slog.DiscardHandler)
	server, err := natsserver.Start(natsserver.Options{Dir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0", Logger: quiet})
	if err != nil {
		return err
	}
	defer server.Close()
	s3, err := gateway.Start(ctx, gateway.Options{Dir: filepath.Join(dir, "s3"), Listen: "127.0.0.1:0", AccessKey: "bench", SecretKey: "bench-secret", Logger: quiet})
	if err != nil {
		return err
	}
	defer func() { _ = s3.Close() }()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := socket.Addr().String()
	if err := socket.Close(); err != nil {
		return err
	}
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "RPMFLOW_NATS_URL=" + server.URL(), "RPMFLOW_S3_ENDPOINT=" + s3.Endpoint(), "RPMFLOW_S3_ACCESS_KEY=bench",
		"RPMFLOW_S3_SECRET_KEY=bench-secret", "RPMFLOW_LISTENER_LISTEN=" + address, "RPMFLOW_LOG_LEVEL=error",
	}
	var programs []*exec.Cmd
	defer func() {
		for _, p := range programs {
			_ = p.Process.Signal(syscall.SIGTERM)
			_ = p.Wait()
		}
	}()
	for _, name := range []string{"listener", "builder"} {
		p := exec.CommandContext(ctx, filepath.Join(bin, name), "--data-dir", filepath.Join(dir, name))
		p.Env = env
		if err := p.Start(); err != nil {
			return err
		}
		programs = append(programs, p)
	}
	rctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := assembly.WaitReady(rctx, "http://"+address); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(10 * time.Second):
	}
	var errs []error
	for _, p := range programs {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
		errs = append(errs, err)
		for _, line := range strings.Split(string(status), "\n") {
			if rss, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				fmt.Printf("  %-10s %s\n", filepath.Base(p.Path), strings.TrimSpace(rss))
			}
		}
	}
	return errors.Join(errs...)
}
