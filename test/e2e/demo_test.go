package e2e_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/test/system"
)

// TestDemonstration reads what `make run` prints after it has built the program, as a newcomer does: words, no log, no
// JSON, and a last line that is a command which works.
func TestDemonstration(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	dir := t.TempDir()
	example, err := filepath.Abs("../../examples/hello")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"up", "--demo", example, "--demo-target", "host-" + rpmflow.HostArch()},
		strings.Fields(anyPorts)...)
	up := run(t, dir, []string{"RPMFLOW_BUILDER_ENGINE=rpmbuild"}, "rpmflow", args...)
	up.says(t, "hello --wait\n")
	printed := up.log.String()
	for _, want := range []string{"rpmflow is up\n", "log      .rpmflow/up.log\n",
		"$ git push .rpmflow/demo/hello.git main\n", "\nrpms  ", "hello-1.0-1.noarch is built:\n  http://127.0.0.1:",
		"\nIt is in a signed repository for dnf and zypper, http://127.0.0.1:"} {
		if !strings.Contains(printed, want) {
			t.Errorf("not printed: %q", want)
		}
	}
	root := filepath.Join(dir, ".rpmflow", "demo", "root")
	t.Run("dnf", func(t *testing.T) {
		if _, err := exec.LookPath("dnf"); err != nil {
			t.Skipf("needs dnf: %v", err)
		}
		for _, want := range []string{
			"\n$ dnf --installroot=" + root + " --releasever=1 --assumeyes install hello-1.0-1.noarch\n",
			"dnf has checked both signatures and has installed it, into .rpmflow/demo/root.\n"} {
			if !strings.Contains(printed, want) {
				t.Errorf("not printed: %q", want)
			}
		}
		raw, err := os.ReadFile(filepath.Join(root, "usr/share/hello/greeting"))
		if string(raw) != "Hello from rpmflow\n" {
			t.Errorf("installed: %q, %v", raw, err)
		}
	})
	if strings.Contains(printed, "level=") {
		t.Error("the log is among the words")
	}
	if raw, err := os.ReadFile(filepath.Join(dir, ".rpmflow", "up.log")); err != nil ||
		!strings.Contains(string(raw), "build finished") {
		t.Errorf("the log: %v\n%s", err, raw)
	}
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	next := strings.Fields(lines[len(lines)-1])
	if next[0] != program(t, "rpmflow") {
		t.Errorf("the next command does not begin as this one did: %s", next)
	}
	if out := client(t, dir, next[1:]...); !strings.Contains(out, "succeeded") {
		t.Errorf("%s: %s", next, out)
	}
	id := strings.Fields(strings.Split(client(t, dir, "list"), "\n")[1])[0]
	if event := client(t, dir, "show", id, "--event"); !strings.Contains(event,
		`"type": "dev.rpmflow.build.finished.v1"`) {
		t.Errorf("show --event: %s", event)
	}
	if out := client(t, dir, "doctor"); !strings.Contains(out, "runs in .rpmflow: 1 projects, 1 targets") ||
		strings.Contains(out, "FAILED") {
		t.Errorf("doctor: %s", out)
	}
	besides(t, dir, id)
	up.end(t, syscall.SIGINT)
	printed = up.log.String()
	if up.cmd.ProcessState.ExitCode() != 0 ||
		!strings.Contains(printed, "\nStopping.\nrpmflow has stopped. All data remain in .rpmflow. Start it again: ") {
		t.Errorf("the end: %s", printed)
	}
}

// besides starts others while one runs in dir: what they cannot have is named, with a way out that works.
func besides(t *testing.T, dir, build string) {
	t.Helper()
	again := run(t, dir, nil, "rpmflow", "up")
	<-again.done
	if out := again.log.String(); again.cmd.ProcessState.ExitCode() != 1 ||
		!strings.Contains(out, "another `rpmflow up` uses it, at http://127.0.0.1:") ||
		!strings.Contains(out, "--data-dir") {
		t.Errorf("a second one on the same data: %s", out)
	}
	show := client(t, dir, "show", build)
	_, rest, _ := strings.Cut(show, "http://")
	address, _, _ := strings.Cut(rest, "/")
	other := t.TempDir()
	again = run(t, other, nil, "rpmflow", "up", "--listen", address)
	<-again.done
	out := again.log.String()
	hint := regexp.MustCompile(`in use by another rpmflow, .* --listen, ` +
		`RPMFLOW_LISTENER_LISTEN or listener.listen: (\S+) is free`).FindStringSubmatch(out)
	if hint == nil {
		t.Fatalf("a second one on the same port: %s", out)
	}
	// NATS and S3 take free ports when the usual ones are taken.
	for _, usual := range []string{config.DefaultNATSListen, config.DefaultS3Listen} {
		if l, err := net.Listen("tcp", usual); err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
	}
	again = run(t, other, nil, "rpmflow", "up", "--listen", hint[1])
	again.says(t, "rpmflow is up")
	again.end(t, syscall.SIGTERM)
}
