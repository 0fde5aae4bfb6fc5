package docker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/rpmflow/rpmflow/internal/build/mock/mocktest"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// childURL makes this program one that keeps a connection to an engine until it is killed.
const childURL = "RPMFLOW_TEST_ENGINE"

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		c, err := New(url, "")
		if err == nil {
			err = c.Ping(context.Background())
		}
		fmt.Println("ready:", err)
		select {}
	}
	goleak.VerifyTestMain(m)
}

// open makes a client that ends with the test.
func open(t *testing.T, host, certPath string) *Client {
	t.Helper()
	c, err := New(host, certPath)
	testkit.Must(t, err)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// wantUnready checks that an engine does not answer, and that error and hint say why.
func wantUnready(t *testing.T, e *Client, why, do string) {
	t.Helper()
	wantHint(t, e.Ping(t.Context()), why, do)
}

func wantHint(t *testing.T, err error, why, do string) {
	t.Helper()
	if err == nil {
		t.Fatalf("ready; want %q", why)
	}
	what, way := hint.Split(err)
	if !strings.Contains(what, why) || !strings.Contains(way, do) {
		t.Errorf("got  %s\n  -> %s\nwant %q, %q", what, way, why, do)
	}
}

func TestTLS(t *testing.T) {
	ours, others := mocktest.NewAuthority(t), mocktest.NewAuthority(t)
	addr := mocktest.TLSEngine(t, ours)
	path := mocktest.CertPath(t, ours, ours)
	exercise(t, open(t, "tcp://"+addr, path))

	t.Setenv("DOCKER_HOST", "tcp://"+addr)
	t.Setenv("DOCKER_CERT_PATH", path)
	testkit.Must(t, open(t, "", "").Ping(t.Context()))
	// The certificates of TCP are not for a socket.
	testkit.Must(t, open(t, "unix://"+mocktest.Socket(t), "").Ping(t.Context()))
	t.Setenv("DOCKER_CERT_PATH", "")
	wantUnready(t, open(t, "tcp://"+addr, ""), "does not answer",
		"set builder.docker.cert_path if the engine requires TLS there")
	_, do := tcpReason(errors.New("400 Bad Request: Client sent an HTTP request to an HTTPS server."), false)
	if do != "the engine requires TLS: set builder.docker.cert_path" {
		t.Error(do)
	}
	wantUnready(t, open(t, "tcp://"+addr, mocktest.CertPath(t, ours, others)), "tls:",
		"does not accept our certificate")
	wantUnready(t, open(t, "tcp://"+addr, mocktest.CertPath(t, others, ours)), "unknown authority",
		"ca.pem in builder.docker.cert_path")
	_, port, _ := net.SplitHostPort(addr)
	testkit.Must(t, open(t, "tcp://localhost:"+port, path).Ping(t.Context()))
	_, err := New("tcp://"+addr, t.TempDir())
	wantHint(t, err, "ca.pem", "put ca.pem, cert.pem and key.pem there")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	plain := testkit.Serve(t, l, func(c net.Conn) {
		mocktest.Relay(c, c.(*net.TCPConn).CloseWrite,
			mocktest.Socket(t))
	})
	e := open(t, "tcp://"+plain, "")
	facts, err := e.Facts(t.Context())
	if err != nil || !facts.Plain || facts.Free >= 0 {
		t.Errorf("facts %+v, %v", facts, err)
	}
	wantUnready(t, open(t, "tcp://"+plain, path), "does not answer", "does not use TLS on this port")
	l.Close()
	wantUnready(t, open(t, "tcp://"+plain, ""), "connection refused",
		"start the engine, or correct builder.docker.host")
}

func TestSSH(t *testing.T) {
	h := mocktest.NewSSHHost(t, mocktest.DialStdio(mocktest.Socket(t)))
	url := "ssh://builder@" + h.Addr
	e, err := New(url, "")
	testkit.Must(t, err)
	exercise(t, e)
	if len(mocktest.Children(t)) == 0 {
		t.Error("no connection is kept")
	}
	testkit.Must(t, e.Close())
	if left := mocktest.Children(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	for _, command := range h.Asked() {
		if command != "docker system dial-stdio" {
			t.Errorf("asked for %q", command)
		}
	}

	wantUnready(t, open(t, "ssh://other@"+h.Addr, ""), "Permission denied", "authorized_keys")
	h.NewKey()
	wantUnready(t, open(t, url, ""), "Permission denied", "authorized_keys")
	h.Write("known_hosts", "")
	wantUnready(t, open(t, url, ""), "Host key verification failed", "known_hosts")
	wantUnready(t, open(t, "ssh://builder@127.0.0.1:1", ""), "Connection refused",
		"try it by hand as the builder's user: docker --host ssh://builder@127.0.0.1:1 version")
	t.Setenv("PATH", t.TempDir())
	wantUnready(t, open(t, url, ""), "executable file not found", "install ssh")
}

// An error behind ssh has the words of that host.
func TestSSHWithoutAnEngine(t *testing.T) {
	h := mocktest.NewSSHHost(t, mocktest.DialStdio(filepath.Join(t.TempDir(), "docker.sock")))
	wantUnready(t, open(t, "ssh://builder@"+h.Addr, ""), "no such file or directory", "the engine must run there")
	h = mocktest.NewSSHHost(t, func(_ string, c ssh.Channel) uint32 {
		io.WriteString(c.Stderr(), "sh: docker: command not found\n")
		return 127
	})
	wantUnready(t, open(t, "ssh://builder@"+h.Addr, ""), "command not found", "install the docker command there")
}

// A connection that breaks in the middle is an error with what ssh says, and the next call makes another one.
func TestSSHBroken(t *testing.T) {
	h := mocktest.NewSSHHost(t, mocktest.DialStdio(mocktest.Socket(t)))
	e := open(t, "ssh://builder@"+h.Addr, "")
	testkit.Must(t, e.Ping(t.Context()))
	e.conn.mu.Lock()
	for c := range e.conn.ssh {
		testkit.Must(t, c.cmd.Process.Kill())
	}
	e.conn.mu.Unlock()
	testkit.Eventually(t, "the end of ssh", func() bool { return len(mocktest.Children(t)) == 0 })
	testkit.Must(t, e.Ping(t.Context()))
}

// A program that is killed takes its ssh with it.
func TestSSHOfAKilledProgram(t *testing.T) {
	h := mocktest.NewSSHHost(t, mocktest.DialStdio(mocktest.Socket(t)))
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"=ssh://builder@"+h.Addr)
	out, err := cmd.StdoutPipe()
	testkit.Must(t, err)
	testkit.Must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready: <nil>\n" {
		t.Errorf("the child says %q, %v", line, err)
	}
	if h.Open() == 0 {
		t.Error("it keeps no connection")
	}
	testkit.Must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	testkit.Eventually(t, "the end of ssh", func() bool { return h.Open() == 0 })
}

func TestSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "docker.sock")
	e := open(t, "unix://"+path, "")
	wantUnready(t, e, "there is no socket "+path, "--volume "+path+":"+path)
	testkit.Must(t, os.Mkdir(path, 0o755))
	wantUnready(t, e, path+" is not a socket", "DOCKER_SOCKET")
	testkit.Must(t, os.Remove(path))
	l, err := net.Listen("unix", path)
	testkit.Must(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	wantUnready(t, e, "no engine listens on the socket", "start the engine")
	testkit.Must(t, os.Chown(path, -1, os.Getgid()))
	e.conn.note(&fs.PathError{Op: "dial", Path: path, Err: fs.ErrPermission})
	wantHint(t, e.conn.explain(errors.New("x")), "may not open the socket "+path, "in the group")
}

func TestLocalEngine(t *testing.T) {
	t.Parallel()
	c := open(t, "unix://"+mocktest.Socket(t), "")
	testkit.Must(t, c.Ping(t.Context()))
	f, err := c.Facts(t.Context())
	if err != nil || f.Version == "" || f.API == "" || f.Machine == "" || f.Storage == "" || f.Plain {
		t.Errorf("facts %+v, %v", f, err)
	}
	wantHint(t, checkAPI("x", "1.40"), "1.40", "20.10")
	testkit.Must(t, checkAPI("x", "1.41"))
}

func TestBadHosts(t *testing.T) {
	for _, host := range []string{"docker", "ftp://docker:1", "tcp://docker", "ssh://u:p@docker", "ssh://docker/x",
		"ssh://-x", "ssh://-x@docker", "ssh://"} {
		t.Setenv("DOCKER_HOST", host)
		if _, err := New("", ""); err == nil || !strings.Contains(err.Error(), "DOCKER_HOST") {
			t.Errorf("%s: %v", host, err)
		}
	}
}
