package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// process is one of our programs, as an operator runs it.
type process struct {
	cmd  *exec.Cmd
	log  *testkit.Log
	done chan struct{}
}

func run(t *testing.T, dir string, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program(t, name), args...), log: &testkit.Log{}, done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.log, p.log
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "DOCKER_HOST=" +
		os.Getenv("DOCKER_HOST")}, env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(p.done); _ = p.cmd.Wait() }() // how it ended is in ProcessState
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended, or is to end now
		<-p.done
		if t.Failed() {
			t.Logf("log of %s %v:\n%s", name, args, p.log.String())
		}
	})
	return p
}

// says waits until the program's log has the text.
func (p *process) says(t *testing.T, text string) {
	t.Helper()
	testkit.EventuallyWithin(t, system.Patience, fmt.Sprintf("%q in the log", text),
		func() bool { return strings.Contains(p.log.String(), text) })
}

func (p *process) end(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(system.Patience):
		t.Fatalf("still running a long while after %s", s)
	}
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// children lists the processes below one.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	raw, _ := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(pid)).Output() // exit code 1: there are none
	for _, field := range strings.Fields(string(raw)) {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, append(children(t, n), n)...)
	}
	return pids
}

// gateFor names a file that builds wait for, where every user sees it.
func gateFor(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rpmflow-gate-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "gate")
}

func filter(pids []int, keep func(int) bool) (kept []int) {
	for _, pid := range pids {
		if keep(pid) {
			kept = append(kept, pid)
		}
	}
	return kept
}

// client runs a command against what runs in dir.
func client(t *testing.T, dir string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t, "rpmflow"), args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("rpmflow %v: %v: %s%s", args, err, out, stderr.Bytes())
	}
	return string(out)
}

// containers lists those of a build that run.
func containers(t *testing.T, build string) []string {
	t.Helper()
	out, err := exec.Command("docker", "ps", "-q", "--no-trunc", "--filter", "label=dev.rpmflow.build="+build).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

func startNATS(t *testing.T, port int) {
	t.Helper()
	s, err := natsserver.Start(natsserver.Options{Dir: t.TempDir(), Listen: fmt.Sprintf("127.0.0.1:%d", port),
		Logger: system.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
}
