package system

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// MockTarget is the target of the engine mock, as YAML.
func MockTarget(t testing.TB) (name, yaml string) {
	t.Helper()
	if out, err := exec.Command("docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Skipf("needs docker: no engine answers: %s", bytes.TrimSpace(out))
	}
	image, dir, target := os.Getenv("MOCK_IMAGE"), os.Getenv("MOCK_CONFIGDIR"), os.Getenv("MOCK_TARGET")
	if image == "" {
		image, target = testkit.Standin(t), "opensuse-leap-15.6-x86_64" // a name with dots
	}
	if target == "" {
		t.Fatal("MOCK_TARGET is empty: name the mock configuration to build for")
	}
	yaml = fmt.Sprintf("- name: %s\n  image: %s\n", target, image)
	if dir != "" {
		yaml += fmt.Sprintf("  config_dir: %s\n", dir)
	}
	return target, yaml
}

// ForgetRoots removes at the end what builds share on the engine: nothing else uses the roots of this
// installation.
func ForgetRoots(t testing.TB, js jetstream.JetStream) {
	t.Helper()
	t.Cleanup(forgetting(t, js, ""))
}

// docker is the command, with the engine that it asks, unless it is the usual one.
func docker(host string, args ...string) *exec.Cmd {
	if host != "" {
		args = append([]string{"--host", host}, args...)
	}
	return exec.Command("docker", args...)
}

func forgetting(t testing.TB, js jetstream.JetStream, host string) (forget func()) {
	t.Helper()
	stream, err := js.Stream(t.Context(), events.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	id := rpmflow.DeriveID("installation", stream.CachedInfo().Created.UTC().Format(time.RFC3339Nano))
	return func() {
		for _, of := range []struct{ list, remove []string }{
			// what a killed builder has left
			{[]string{"ps", "--all", "--format", "{{.ID}}"}, []string{"rm", "--force", "--volumes"}},
			{[]string{"images", "--format", "{{.Repository}}:{{.Tag}}"}, []string{"rmi", "--force"}},
			{[]string{"volume", "ls", "--format", "{{.Name}}"}, []string{"volume", "rm"}},
		} {
			out, err := docker(host, append(of.list, "--filter", "label=dev.rpmflow.installation="+id)...).Output()
			if err != nil {
				t.Errorf("docker %v: %v", of.list, err)
			}
			for name := range strings.FieldsSeq(string(out)) {
				if out, err := docker(host, append(of.remove, name)...).CombinedOutput(); err != nil {
					t.Errorf("docker %v %s: %v: %s", of.remove, name, err, out)
				}
			}
		}
	}
}

// Bridge is the address under which containers reach this machine.
func Bridge(t testing.TB) string {
	t.Helper()
	name, err := exec.Command("docker", "network", "inspect", "bridge", "--format",
		`{{index .Options "com.docker.network.bridge.name"}}`).Output()
	if err != nil {
		t.Skipf("needs docker's bridge on this machine: %v", err)
	}
	i, err := net.InterfaceByName(strings.TrimSpace(string(name)))
	if err != nil {
		t.Skipf("needs docker's bridge on this machine: %v", err)
	}
	addresses, err := i.Addrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	t.Fatalf("docker's bridge has no address: %v", addresses)
	return ""
}

// NeedRPM skips the test if rpm is missing.
func NeedRPM(t testing.TB) {
	t.Helper()
	for _, tool := range []string{"rpm", "rpmbuild"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs rpm: %v", err)
		}
	}
}
