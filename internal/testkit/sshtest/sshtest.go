// Package sshtest is an ssh server for tests: one user with one key gets each command to a function.
// A test and the function come in; an address and what a client needs to trust the server go out. Only tests import it,
// and it imports package testkit alone.
package sshtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Server is the server.
type Server struct {
	Addr    string
	hostKey ssh.PublicKey
	run     func(command string, channel ssh.Channel) (code uint32)

	mu       sync.Mutex
	allowed  string
	sessions int
}

// New starts a server that ends with the test. run is its shell.
func New(t testing.TB, user string, run func(command string, channel ssh.Channel) (code uint32)) *Server {
	t.Helper()
	_, signer := key(t)
	s := &Server{hostKey: signer.PublicKey(), run: run}
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if c.User() != user || string(key.Marshal()) != s.allowed {
				return nil, errors.New("another user or key")
			}
			return nil, nil
		},
	}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	s.Addr = testkit.Serve(t, l, func(c net.Conn) { s.session(c, config) })
	return s
}

// Known is the line of known_hosts that has the server.
func (s *Server) Known() string {
	host, port, _ := net.SplitHostPort(s.Addr)
	return "[" + host + "]:" + port + " " + string(ssh.MarshalAuthorizedKey(s.hostKey))
}

// Allow makes a key, lets it in instead of the one before, and returns the text of its file.
func (s *Server) Allow(t testing.TB) string {
	t.Helper()
	private, signer := key(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = string(signer.PublicKey().Marshal())
	return private
}

// Key makes a key that nobody lets in, and returns the text of its file.
func Key(t testing.TB) string {
	t.Helper()
	private, _ := key(t)
	return private
}

func key(t testing.TB) (private string, signer ssh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	testkit.Must(t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	testkit.Must(t, err)
	signer, err = ssh.NewSignerFromKey(key)
	testkit.Must(t, err)
	return string(pem.EncodeToMemory(block)), signer
}

// Open is how many sessions are open.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

func (s *Server) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions += n
}

func (s *Server) session(c net.Conn, config *ssh.ServerConfig) {
	server, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer server.Close()
	s.count(1)
	defer s.count(-1)
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
				wait.Go(func() {
					code := s.run(command.Text, channel)
					channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
					channel.Close()
				})
			}
		})
	}
}
