package mock

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
)

// childURL makes this program one that keeps a connection to an engine until it is killed.
const childURL = "RPMFLOW_TEST_ENGINE"

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		e, err := New(Settings{Host: url, Logger: quiet})
		if err == nil {
			err = e.Ready(context.Background())
		}
		fmt.Println("ready:", err)
		select {}
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// engineSocket is the local engine's.
func engineSocket(t *testing.T) string {
	t.Helper()
	const path = "/var/run/docker.sock"
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Skipf("needs docker: %v", err)
	}
	conn.Close()
	return path
}

// open makes an engine that ends with the test.
func open(t *testing.T, s Settings) *Engine {
	t.Helper()
	s.Logger, s.Installation, s.Network, s.PIDs = quiet, "test-"+rand.Text(), "bridge", 512
	e, err := New(s)
	must(t, err)
	t.Cleanup(func() {
		if err := e.Shut(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// serve accepts connections until the test ends, and waits for what it has begun with them.
func serve(t *testing.T, l net.Listener, handle func(net.Conn)) string {
	t.Helper()
	var wait sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wait.Go(func() { handle(conn); conn.Close() })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		wait.Wait()
	})
	return l.Addr().String()
}

// relay copies both ways, each with its end.
func relay(client io.ReadWriteCloser, closeWrite func() error, socket string) {
	engine, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer engine.Close()
	var wait sync.WaitGroup
	wait.Go(func() { io.Copy(engine, client); engine.(*net.UnixConn).CloseWrite() })
	io.Copy(client, engine)
	closeWrite()
	client.Close()
	wait.Wait()
}

// authority signs certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	must(t, err)
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	return authority{key, parsed, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a authority) sign(t *testing.T, names ...string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour), DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, k.Public(), a.key)
	must(t, err)
	raw, err := x509.MarshalECPrivateKey(k)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

// certPath makes the directory of a client: whom it trusts, and who it is.
func certPath(t *testing.T, trusted, signer authority) string {
	t.Helper()
	dir := t.TempDir()
	cert, key := signer.sign(t)
	for name, content := range map[string][]byte{"ca.pem": trusted.pem, "cert.pem": cert, "key.pem": key} {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return dir
}

// tlsEngine is the local engine behind TLS with certificates on both sides.
func tlsEngine(t *testing.T, a authority) string {
	t.Helper()
	socket := engineSocket(t)
	cert, key := a.sign(t, "localhost")
	pair, err := tls.X509KeyPair(cert, key)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12})
	must(t, err)
	return serve(t, l, func(c net.Conn) {
		conn := c.(*tls.Conn)
		if conn.Handshake() == nil {
			relay(conn, conn.CloseWrite, socket)
		}
	})
}

// sshHost is a host with an engine behind ssh. Its shell knows one command.
type sshHost struct {
	t       *testing.T
	addr    string
	hostKey ssh.PublicKey
	dir     string // of the client: configuration and keys

	mu       sync.Mutex
	allowed  string
	sessions int      // open now
	asked    []string // commands
}

func newSSHHost(t *testing.T, run func(command string, channel ssh.Channel) (code uint32)) *sshHost {
	t.Helper()
	real, err := exec.LookPath("ssh")
	if err != nil {
		t.Skipf("needs ssh: %v", err)
	}
	h := &sshHost{t: t, dir: t.TempDir()}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	must(t, err)
	h.hostKey = signer.PublicKey()
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if c.User() != "builder" || string(key.Marshal()) != h.allowed {
			return nil, errors.New("who are you?")
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h.addr = serve(t, l, func(c net.Conn) { h.session(c, config, run) })

	// ssh takes its configuration from the user's home as the system knows it, so it is told another one.
	must(t, os.WriteFile(filepath.Join(h.dir, "ssh"), []byte("#!/bin/sh\nexec "+real+" -F "+h.dir+"/config \"$@\"\n"), 0o700))
	h.write("config", "IdentityFile "+h.dir+"/key\nIdentityAgent none\nUserKnownHostsFile "+h.dir+"/known_hosts\nGlobalKnownHostsFile /dev/null\n")
	h.know()
	allowed := h.newKey()
	h.mu.Lock()
	h.allowed = allowed
	h.mu.Unlock()
	t.Setenv("PATH", h.dir+":"+os.Getenv("PATH"))
	return h
}

func (h *sshHost) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions
}

func (h *sshHost) write(name, content string) {
	h.t.Helper()
	must(h.t, os.WriteFile(filepath.Join(h.dir, name), []byte(content), 0o600))
}

func (h *sshHost) know() {
	host, port, _ := net.SplitHostPort(h.addr)
	h.write("known_hosts", "["+host+"]:"+port+" "+string(ssh.MarshalAuthorizedKey(h.hostKey)))
}

// newKey gives the client another key.
func (h *sshHost) newKey() string {
	h.t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(h.t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	must(h.t, err)
	h.write("key", string(pem.EncodeToMemory(block)))
	signer, err := ssh.NewSignerFromKey(key)
	must(h.t, err)
	return string(signer.PublicKey().Marshal())
}

func (h *sshHost) session(c net.Conn, config *ssh.ServerConfig, run func(string, ssh.Channel) uint32) {
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

// dialStdio does what docker system dial-stdio does there.
func dialStdio(socket string) func(string, ssh.Channel) uint32 {
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

// children are the processes below this one that are ssh.
func children(t *testing.T) (all []string) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	must(t, err)
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

// eventually waits for what nobody announces.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within 30 s: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
