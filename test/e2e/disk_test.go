package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// TestFullDisk fills the disk under `rpmflow up`: what was accepted is built once there is room again, what was not is
// refused in words, and nothing must be started again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a small disk")
	}
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk).CombinedOutput(); err != nil {
		t.Skipf("needs the right to mount a small disk: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "--lazy", disk).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	r := system.NewRepository(t)
	r.Push(t, inTree())
	testkit.Write(t, filepath.Join(dir, "rpmflow.yaml"),
		"data_dir: "+disk+"\nnats:\n  max_bytes: 2MiB\nbuilder:\n  engine: rpmbuild\n  poll: 500ms\ntargets:\n- name: "+
			"host\nprojects:\n"+r.Project("greet", ""))
	up := run(t, dir, nil, "rpmflow", append([]string{"up"}, strings.Fields(anyPorts)...)...)
	up.says(t, "rpmflow is up")
	client(t, dir, "submit", "greet", "--wait")

	filler := filepath.Join(disk, "filler")
	// it fails when the disk is full, which is what it is for
	_ = exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=64k").Run()
	accepted, refused := 0, false
	for range 60 { // some fit into what the file system has set aside for open files
		cmd := exec.Command(program(t, "rpmflow"), "submit", "greet")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err == nil {
			accepted++
			continue
		}
		refused = true
		if !strings.Contains(string(out), "storing the push failed: ") {
			t.Errorf("refused with: %s", out)
		}
		break
	}
	if !refused {
		t.Error("everything was accepted on a full disk")
	}
	up.says(t, "is full")
	up.says(t, "is almost full") // the builder's own floor, which is higher
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	up.says(t, "the embedded NATS writes again")
	client(t, dir, "submit", "greet", "--wait")
	testkit.EventuallyWithin(t, time.Minute, "outcome of all that was accepted", func() bool {
		return strings.Count(client(t, dir, "list", "--limit", "100"), "succeeded") >= accepted+2
	})
	up.end(t, 15)
}
