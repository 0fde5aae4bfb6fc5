package mocktest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// SSHHost is a host with an engine behind ssh. Its shell accepts one command.
type SSHHost struct {
	t       testing.TB
	Addr    string
	hostKey ssh.PublicKey
	dir     string // of the client: configuration and keys

	mu       sync.Mutex
	allowed  string
	sessions int      // open now
	asked    []string // commands
}

// NewSSHHost starts one; run is its shell. The program ssh finds it in this process.
func NewSSHHost(t *testing.T, run func(command string, channel ssh.Channel) (code uint32)) *SSHHost {
	t.Helper()
	real, err := exec.LookPath("ssh")
	if err != nil {
		t.Skipf("needs ssh: %v", err)
	}
	h := &SSHHost{t: t, dir: t.TempDir()}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	testkit.Must(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	testkit.Must(t, err)
	h.hostKey = signer.PublicKey()
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions,
		error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if c.User() != "builder" || string(key.Marshal()) != h.allowed {
			return nil, errors.New("who are you?")
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	h.Addr = Serve(t, l, func(c net.Conn) { h.session(c, config, run) })

	// ssh takes its configuration from the user's home as the system has it, so it gets another one.
	testkit.Must(t, os.WriteFile(filepath.Join(h.dir, "ssh"), []byte("#!/bin/sh\nexec "+real+" -F "+h.dir+"/config "+
		"\"$@\"\n"), 0o700))
	h.Write("config", "IdentityFile "+h.dir+"/key\nIdentityAgent none\nUserKnownHostsFile "+h.dir+"/known_hosts\n"+
		"GlobalKnownHostsFile /dev/null\n")
	h.trust()
	allowed := h.NewKey()
	h.mu.Lock()
	h.allowed = allowed
	h.mu.Unlock()
	t.Setenv("PATH", h.dir+":"+os.Getenv("PATH"))
	return h
}

// Open is how many sessions are open.
func (h *SSHHost) Open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions
}

// Write writes a file of the client's configuration.
func (h *SSHHost) Write(name, content string) {
	h.t.Helper()
	testkit.Must(h.t, os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600))
}

func (h *SSHHost) trust() {
	host, port, _ := net.SplitHostPort(h.Addr)
	h.Write("known_hosts", "["+host+"]:"+port+" "+string(ssh.MarshalAuthorizedKey(h.hostKey)))
}

// NewKey gives the client another key.
func (h *SSHHost) NewKey() string {
	h.t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	testkit.Must(h.t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	testkit.Must(h.t, err)
	h.Write("key", string(pem.EncodeToMemory(block)))
	signer, err := ssh.NewSignerFromKey(key)
	testkit.Must(h.t, err)
	return string(signer.PublicKey().Marshal())
}

func (h *SSHHost) session(c net.Conn, config *ssh.ServerConfig, run func(string, ssh.Channel) uint32) {
	server, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer server.Close()
	h.mu.Lock()
	h.sessions++
	h.mu.Unlock()
	defer func() { h.mu.Lock(); h.sessions--; h.mu.Unlock() }()
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() { ssh.DiscardRequests(requests) })
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		wait.Go(func() {
			for r := range requests {
				var command struct{ Text string }
				if r.Type != "exec" || ssh.Unmarshal(r.Payload, &command) != nil {
					_ = r.Reply(false, nil)
					continue
				}
				_ = r.Reply(true, nil)
				h.mu.Lock()
				h.asked = append(h.asked, command.Text)
				h.mu.Unlock()
				wait.Go(func() {
					code := run(command.Text, channel)
					channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
					channel.Close()
				})
			}
		})
	}
}

// DialStdio does what docker system dial-stdio does there.
func DialStdio(socket string) func(string, ssh.Channel) uint32 {
	return func(command string, channel ssh.Channel) uint32 {
		if command != "docker system dial-stdio" {
			io.WriteString(channel.Stderr(), "sh: 1: "+command+": not found\n")
			return 127
		}
		engine, err := net.Dial("unix", socket)
		if err != nil {
			io.WriteString(channel.Stderr(), err.Error()+"\n")
			return 1
		}
		defer engine.Close()
		var wait sync.WaitGroup
		wait.Go(func() { io.Copy(engine, channel); engine.(*net.UnixConn).CloseWrite() })
		io.Copy(channel, engine)
		channel.CloseWrite()
		channel.Close()
		wait.Wait()
		return 0
	}
}

// Asked are the commands that the host was asked to run.
func (h *SSHHost) Asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}
