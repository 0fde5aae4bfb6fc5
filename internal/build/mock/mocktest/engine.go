// Package mocktest gives tests of the engine mock what they need of a container engine: its command line, the image
// with the stand-in for mock, and the engine of this machine behind TLS or ssh.
//
// Tests come in and are skipped if there is no engine; addresses and images go out. Only tests import it.
package mocktest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

const patience = 5 * time.Minute

// Socket is that of the local engine.
func Socket(t testing.TB) string {
	t.Helper()
	const path = "/var/run/docker.sock"
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Skipf("needs docker: %v", err)
	}
	conn.Close()
	return path
}

// Docker runs the docker command and returns its output.
func Docker(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

const label = "label=dev.rpmflow.installation="

// Images lists the names of the images that an installation's builds share.
func Images(t testing.TB, installation string) []string {
	t.Helper()
	return strings.Fields(Docker(t, "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", label+installation))
}

// Forget removes the images and volumes of an installation; there must not be containers any more.
func Forget(t testing.TB, installation string) {
	t.Helper()
	for _, id := range strings.Fields(Docker(t, "ps", "-aq", "--filter", label+installation)) {
		t.Errorf("container %s is left", id)
		Docker(t, "rm", "-fv", id)
	}
	for _, name := range Images(t, installation) {
		Docker(t, "rmi", "-f", name)
	}
	for _, name := range strings.Fields(Docker(t, "volume", "ls", "-q", "--filter", label+installation)) {
		Docker(t, "volume", "rm", name)
	}
}

// Children are the processes that this one has started.
func Children(t testing.TB) (all []string) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	testkit.Must(t, err)
	for _, task := range tasks {
		raw, err := os.ReadFile(task)
		if err != nil {
			continue // the thread has ended
		}
		for pid := range strings.FieldsSeq(string(raw)) {
			name, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			all = append(all, pid+" "+strings.ReplaceAll(string(name), "\x00", " "))
		}
	}
	return all
}
