package e2e_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// remapped starts an engine whose containers' root is nobody on this machine: in namespaces of its own for network and
// mounts, so that this machine's bridge and its list of users stay as they are. It returns its address.
func remapped(t *testing.T, image string) (host string) {
	t.Helper()
	const unable = "an engine with user namespaces cannot be started here"
	if os.Geteuid() != 0 {
		t.Skip(unable + ": not root")
	}
	driver, err := exec.Command("docker", "info", "--format", "{{.Driver}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"dockerd", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s: %v", unable, err)
		}
	}
	dir, err := os.MkdirTemp("", "userns-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	script := "ip link set lo up; "
	for name, line := range map[string]string{"passwd": "dockremap:x:64999:64999::/:/bin/false\n",
		"group": "dockremap:x:64999:\n", "subuid": "dockremap:300000:65536\n", "subgid": "dockremap:300000:65536\n"} {
		own, err := os.ReadFile("/etc/" + name)
		if err != nil {
			t.Skipf("%s: %v", unable, err)
		}
		if !bytes.Contains(own, []byte("dockremap:")) {
			own = append(own, line...)
		}
		testkit.Write(t, filepath.Join(dir, name), string(own))
		script += "mount --bind " + filepath.Join(dir, name) + " /etc/" + name + "; "
	}
	testkit.Write(t, filepath.Join(dir, "daemon.json"), "{}")
	socket := "unix://" + filepath.Join(dir, "docker.sock")
	script += "exec dockerd --config-file " + dir + "/daemon.json --data-root " + dir + "/data --exec-root " + dir +
		"/exec --pidfile " + dir + "/pid --host " + socket +
		" --userns-remap=default --bridge=none --iptables=false --storage-driver=" + strings.TrimSpace(string(driver))
	log := &testkit.Log{}
	cmd := exec.Command("unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec", script)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Skipf("%s: %v", unable, err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // its containerd ends with it
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Error("the engine has not ended")
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	})
	for deadline := time.Now().Add(30 * time.Second); exec.Command("docker", "--host", socket,
		"version").Run() != nil; time.Sleep(100 * time.Millisecond) {
		select {
		case <-ended:
			t.Skipf("%s: %s", unable, log.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Skipf("%s: no answer after 30 s: %s", unable, log.String())
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "sh", "-c",
		"docker save "+image+" | docker --host "+socket+" load").CombinedOutput(); err != nil {
		t.Fatalf("load the image: %v: %s", err, out)
	}
	if out, err := exec.Command("docker", "--host", socket, "run", "--rm", "--network", "none", image,
		"true").CombinedOutput(); err != nil {
		t.Skipf("%s: %s", unable, out)
	}
	return socket
}

// TestUserNamespaces builds on an engine where the container's root is nobody on the host.
func TestUserNamespaces(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	if os.Getenv("MOCK_IMAGE") != "" {
		t.Skip("the engine of this test has no network, which real mock needs for its root")
	}
	_, target := system.MockTarget(t)
	image := strings.TrimSpace(target[strings.LastIndex(target, "image: ")+len("image: "):])
	host := remapped(t, image)
	r := system.NewRepository(t)
	s := system.StartWith(t, "mock", "  docker:\n    host: "+host+"\n    network: none\n", r.Project("greet", ""))
	r.Announce(t, s, "greet")
	files := inTree()
	files["rpm/greet.spec"] = strings.Replace(greetSpec, "%build\n",
		"%build\necho \"uids: $(cat /proc/self/uid_map)\"\n",
		1)
	r.Push(t, files)
	b := s.Finished(t).Build
	log := system.FetchLog(t, s, b)
	if b.Outcome.Result != rpmflow.Succeeded {
		t.Fatalf("%+v\n%s", *b.Outcome, log)
	}
	_, uids, _ := strings.Cut(log, "\nuids: ")
	if fields := strings.Fields(uids); len(fields) < 3 || fields[0] != "0" || fields[1] == "0" {
		t.Errorf("the container's root is this machine's: %.60q", uids)
	}
	system.NothingLeft(t, s)
}
