// Package hostile_test builds packages that mean harm, as a push brings them: they look for secrets and a network, fill
// what can be filled, never end, and reach for what is not theirs. Each ends in its proper outcome, the builders go on,
// and nothing leaks.
package hostile_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow/internal/builderd"
	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

func TestMain(m *testing.M) {
	lifeline.Main(map[string]lifeline.Func{gateway.ChildName: gateway.Child})
	goleak.VerifyTestMain(m)
}

// realMock reports whether mock is the real one, whose roots are larger and take their time.
func realMock() bool { return os.Getenv("MOCK_IMAGE") != "" }

// limits are small, so that what is without end ends soon.
func limits() string {
	disk := "160MiB"
	if realMock() {
		disk = "2GiB"
	}
	return "  max_output: 2MiB\n  max_failures: 1\n  docker:\n    memory: 512MiB\n    cpus: 1\n    pids: 256\n    " +
		"disk: " +
		disk + "\n"
}

// enough is the time that a build without end is given.
func enough() time.Duration {
	if realMock() {
		return 3 * time.Minute
	}
	return time.Minute
}

// another starts a second builder.
func another(t *testing.T, s *system.System) {
	t.Helper()
	cfg := *s.Config
	cfg.Builder.Name, cfg.DataDir = "another", filepath.Join(s.Dir, "another")
	p := builderd.Program{Config: &cfg, Log: slog.New(slog.NewTextHandler(s.Log, nil))}
	testkit.Run(t, "the other builder", func(ctx context.Context) error { return p.Run(ctx, ctx) })
}

// canary listens on every address of this machine, and counts who comes.
type canary struct {
	port  int
	calls atomic.Int64
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	testkit.Must(t, err)
	c := &canary{port: l.Addr().(*net.TCPAddr).Port}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.calls.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	for _, address := range addresses(t) { // it does listen there
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(address, fmt.Sprint(c.port)), 5*time.Second)
		testkit.Must(t, err)
		_ = conn.Close()
	}
	testkit.EventuallyWithin(t, 5*time.Second, "calls that were counted",
		func() bool { return c.calls.Load() == int64(len(addresses(t))) })
	c.calls.Store(0)
	return c
}

// addresses are this machine's own, the bridge's to containers among them.
func addresses(t *testing.T) (found []string) {
	t.Helper()
	all, err := net.InterfaceAddrs()
	testkit.Must(t, err)
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			found = append(found, n.IP.String())
		}
	}
	return found
}

// calling is a command that tries to reach the canary by every way.
func (c *canary) calling(t *testing.T) string {
	var b strings.Builder
	for _, a := range addresses(t) {
		fmt.Fprintf(&b, "timeout 5 bash -c 'echo called >/dev/tcp/%s/%d' 2>/dev/null && echo 'GOT'-REACHED %s; ", a,
			c.port,
			a)
	}
	return b.String() + "true"
}

// marked lists the processes of this machine whose command line has the mark.
func marked(t *testing.T, mark string) []string {
	t.Helper()
	var found []string
	out, err := exec.Command("ps", "-eo", "pid=,args=").Output()
	testkit.Must(t, err)
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, mark) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
