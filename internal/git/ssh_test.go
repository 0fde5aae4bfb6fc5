package git

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
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// sshHome makes a home directory with a key and, of a server, what makes it known.
func sshHome(t *testing.T, server *sshServer) string {
	t.Helper()
	home := t.TempDir()
	testkit.Must(t, os.Mkdir(filepath.Join(home, ".ssh"), 0o700))
	_, key, err := ed25519.GenerateKey(rand.Reader)
	testkit.Must(t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	testkit.Must(t, err)
	testkit.Must(t, os.WriteFile(filepath.Join(home, ".ssh", "id_ed25519"), pem.EncodeToMemory(block), 0o600))
	known := "# empty\n"
	if server != nil {
		host, port, err := net.SplitHostPort(server.addr)
		testkit.Must(t, err)
		known = "[" + host + "]:" + port + " " + string(ssh.MarshalAuthorizedKey(server.hostKey))
		signer, err := ssh.NewSignerFromKey(key)
		testkit.Must(t, err)
		server.allowed = string(signer.PublicKey().Marshal())
	}
	testkit.Must(t, os.WriteFile(filepath.Join(home, ".ssh", "known_hosts"), []byte(known), 0o600))
	t.Setenv("SSH_KNOWN_HOSTS", filepath.Join(home, ".ssh", "known_hosts"))
	return home
}

// sshServer serves git-upload-pack to the one key that is allowed.
type sshServer struct {
	addr    string
	hostKey ssh.PublicKey
	allowed string
}

func newSSHServer(t *testing.T) *sshServer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	testkit.Must(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	testkit.Must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	s := &sshServer{addr: listener.Addr().String(), hostKey: signer.PublicKey()}
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions,
		error) {
		if c.User() != "git" || string(key.Marshal()) != s.allowed {
			return nil, errors.New("who are you?")
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { defer conn.Close(); serveSSH(conn, config) })
		}
	})
	t.Cleanup(func() { listener.Close(); wait.Wait() })
	return s
}

func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	server, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	defer server.Close()
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() { ssh.DiscardRequests(requests) })
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		wait.Go(func() {
			for r := range requests {
				if r.Type != "exec" {
					continue
				}
				var command struct{ Text string }
				ok := ssh.Unmarshal(r.Payload, &command) == nil && strings.HasPrefix(command.Text, "git-upload-pack ")
				if err := r.Reply(ok, nil); err != nil || !ok {
					return
				}
				cmd := exec.Command("sh", "-c", command.Text)
				cmd.Env = gittest.Env()
				cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
				in, err := cmd.StdinPipe()
				if err != nil || cmd.Start() != nil {
					return
				}
				wait.Go(func() { io.Copy(in, channel); in.Close() })
				status := struct{ Code uint32 }{}
				if cmd.Wait() != nil {
					status.Code = 128
				}
				channel.SendRequest("exit-status", false, ssh.Marshal(status))
				channel.Close()
			}
		})
	}
}

func TestSSH(t *testing.T) {
	server := newSSHServer(t)
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("HOME", sshHome(t, server))
	w := gittest.New(t)
	commit := w.Commit(map[string]string{"data": "T"})
	for _, url := range []string{
		"ssh://git@" + server.addr + w.Dir, "ssh://" + server.addr + w.Dir, "git+ssh://git@" + server.addr + w.Dir,
		"git@[" + server.addr + "]:" + w.Dir, "[git@" + server.addr + "]:" + w.Dir,
	} {
		req := Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: commit}
		if got := mustRead(t, newMirrors(t), req); got != "T" {
			t.Errorf("%s: got %q", url, got)
		}
		if _, got, err := Resolver(nil)(t.Context(), url, "main"); err != nil || got != commit {
			t.Errorf("%s: got %s, %v", url, got, err)
		}
	}
	_, _, err := Resolver(nil)(t.Context(), "ssh://git@"+server.addr+"/nothing", "main")
	wantFailure(t, err, rpmflow.FailureSource, "not found")
	_, _, err = Resolver(nil)(t.Context(), "ssh://other@"+server.addr+w.Dir, "main")
	wantFailure(t, err, rpmflow.FailureSource, "authentication refused")

	t.Setenv("HOME", sshHome(t, nil))
	_, _, err = Resolver(nil)(t.Context(), "ssh://git@"+server.addr+w.Dir, "main")
	wantPlain(t, err) // the server is not known: a matter of our set-up, or of an attack
	t.Setenv("HOME", t.TempDir())
	_, _, err = Resolver(nil)(t.Context(), "ssh://git@"+server.addr+w.Dir, "main")
	wantFailure(t, err, rpmflow.FailureSource, "authentication refused")
}

// A project's own key and list of servers are used instead of the usual ones, wherever they are.
func TestSSHKeyOfTheProject(t *testing.T) {
	server := newSSHServer(t)
	t.Setenv("SSH_AUTH_SOCK", "")
	home := sshHome(t, server)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("SSH_KNOWN_HOSTS", "")
	dir := filepath.Join(t.TempDir(), "it's a 100%h place")
	testkit.Must(t, os.Rename(filepath.Join(home, ".ssh"), dir))
	w := gittest.New(t)
	commit := w.Commit(map[string]string{"data": "T"})
	url := "ssh://git@" + server.addr + w.Dir
	resolve := func(a Access) (string, error) {
		_, got, err := Resolver(func(string) Access { return a })(t.Context(), url, "main")
		return got, err
	}
	own := Access{SSHKeyFile: filepath.Join(dir, "id_ed25519"), KnownHostsFile: filepath.Join(dir, "known_hosts")}
	if got, err := resolve(own); err != nil || got != commit {
		t.Errorf("got %s, %v", got, err)
	}
	_, err := resolve(Access{})
	wantFailure(t, err, rpmflow.FailureSource, "authentication refused")
	_, err = resolve(Access{SSHKeyFile: own.SSHKeyFile})
	wantPlain(t, err)
	if !strings.Contains(err.Error(), "Host key verification failed") {
		t.Errorf("got %v", err)
	}
	_, err = resolve(Access{SSHKeyFile: own.SSHKeyFile + "-none", KnownHostsFile: own.KnownHostsFile})
	wantPlain(t, err)
	stranger := filepath.Join(sshHome(t, nil), ".ssh", "id_ed25519")
	_, err = resolve(Access{SSHKeyFile: stranger, KnownHostsFile: own.KnownHostsFile})
	wantFailure(t, err, rpmflow.FailureSource, "authentication refused")
}
