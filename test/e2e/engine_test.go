package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// engine is a Docker engine of the test's own, to be killed.
type engine struct {
	t    *testing.T
	dir  string
	done chan struct{} // closed when the present one has ended
	cmd  *exec.Cmd
	log  *testkit.Log
}

// newEngine starts an engine, which ends with the test. Where that is not possible the test is skipped: few machines
// allow it.
func newEngine(t *testing.T) *engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("an engine of its own cannot be started here: only root can")
	}
	for _, program := range []string{"dockerd", "unshare", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("an engine of its own cannot be started here: %v", err)
		}
	}
	dir, err := os.MkdirTemp("", "rpmflow-engine-") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{t: t, dir: dir, log: &testkit.Log{}}
	testkit.Write(t, filepath.Join(dir, "daemon.json"), "{}\n") // and not that of the machine's own
	t.Cleanup(func() {
		e.end(syscall.SIGTERM) // it stops its containers
		_ = syscall.Unmount(filepath.Join(dir, "data"), syscall.MNT_DETACH)
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("left of the engine: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the engine:\n%s", e.log.String())
		}
	})
	if err := e.try(); err != nil {
		t.Skipf("an engine of its own cannot be started here: %v", err)
	}
	return e
}

func (e *engine) host() string { return "unix://" + filepath.Join(e.dir, "sock") }

func (e *engine) start() {
	e.t.Helper()
	if err := e.try(); err != nil {
		e.t.Fatal(err)
	}
}

// try starts the engine and waits for its answer. It has a network of its own: an engine without a bridge removes the
// one that it finds, which is that of the machine's own engine.
func (e *engine) try() error {
	// of a killed one, whose number may still be taken
	for _, stale := range []string{"pid", "exec/containerd/containerd.pid"} {
		_ = os.Remove(filepath.Join(e.dir, stale))
	}
	e.cmd = exec.Command("unshare", "--net", "--", "sh", "-c",
		`ip link set lo up; exec dockerd --config-file "$0/daemon.json" --data-root "$0/data" `+
			`--exec-root "$0/exec" --pidfile "$0/pid" --host "unix://$0/sock" --log-level warn `+
			`--bridge=none --iptables=false`, e.dir)
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := e.cmd.Start(); err != nil {
		return err
	}
	cmd, done := e.cmd, make(chan struct{})
	e.done = done
	go func() { defer close(done); _ = cmd.Wait() }()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		select {
		case <-done:
			return fmt.Errorf("it has ended: %s", e.log.String())
		case <-time.After(200 * time.Millisecond):
		}
		if exec.Command("docker", "--host", e.host(), "version").Run() == nil {
			return nil
		}
	}
	return fmt.Errorf("no answer after a minute: %s", e.log.String())
}

func (e *engine) end(s syscall.Signal) {
	e.t.Helper()
	if e.cmd == nil || e.cmd.Process == nil {
		return
	}
	_ = e.cmd.Process.Signal(s) // it may have ended
	select {
	case <-e.done:
	case <-time.After(time.Minute):
		e.t.Errorf("the engine runs on a minute after %s", s)
		_ = e.cmd.Process.Kill()
		<-e.done
	}
}

// load copies an image from the machine's own engine.
func (e *engine) load(image string) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", `docker save "$1" | docker --host "$2" load`, "load", image,
		e.host()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Loaded image") {
		e.t.Fatalf("%v: %s", err, out)
	}
}
