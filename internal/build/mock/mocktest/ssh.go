package mocktest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/sshtest"
)

// SSHHost is a host with an engine behind ssh, and the configuration of its client.
type SSHHost struct {
	*sshtest.Server
	t   testing.TB
	dir string // of the client: configuration and keys

	mu    sync.Mutex
	asked []string // commands
}

// NewSSHHost starts one; run is its shell. The program ssh finds it in this process.
func NewSSHHost(t *testing.T, run func(command string, channel ssh.Channel) (code uint32)) *SSHHost {
	t.Helper()
	real, err := exec.LookPath("ssh")
	if err != nil {
		t.Skipf("needs ssh: %v", err)
	}
	h := &SSHHost{t: t, dir: t.TempDir()}
	h.Server = sshtest.New(t, "builder", func(command string, channel ssh.Channel) uint32 {
		h.mu.Lock()
		h.asked = append(h.asked, command)
		h.mu.Unlock()
		return run(command, channel)
	})
	// ssh takes its configuration from the user's home as the system has it, so it gets another one.
	testkit.Must(t, os.WriteFile(filepath.Join(h.dir, "ssh"), []byte("#!/bin/sh\nexec "+real+" -F "+h.dir+"/config "+
		"\"$@\"\n"), 0o700))
	h.Write("config", "IdentityFile "+h.dir+"/key\nIdentityAgent none\nUserKnownHostsFile "+h.dir+"/known_hosts\n"+
		"GlobalKnownHostsFile /dev/null\n")
	h.Write("known_hosts", h.Known())
	h.Write("key", h.Allow(t))
	t.Setenv("PATH", h.dir+":"+os.Getenv("PATH"))
	return h
}

// Write writes a file of the client's configuration.
func (h *SSHHost) Write(name, content string) {
	h.t.Helper()
	testkit.Must(h.t, os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600))
}

// NewKey gives the client another key, which is not let in.
func (h *SSHHost) NewKey() { h.t.Helper(); h.Write("key", sshtest.Key(h.t)) }

// DialStdio does what docker system dial-stdio does there.
func DialStdio(socket string) func(string, ssh.Channel) uint32 {
	return func(command string, channel ssh.Channel) uint32 {
		if command != "docker system dial-stdio" {
			io.WriteString(channel.Stderr(), "sh: 1: "+command+": not found\n")
			return 127
		}
		if err := Relay(channel, channel.CloseWrite, socket); err != nil {
			io.WriteString(channel.Stderr(), err.Error()+"\n")
			return 1
		}
		return 0
	}
}

// Asked are the commands that the host was asked to run.
func (h *SSHHost) Asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}
