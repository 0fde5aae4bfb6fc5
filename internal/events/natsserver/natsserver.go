// Package natsserver runs a NATS server with JetStream inside the program, for `rpmflow up` and for tests.
//
// A directory and an address come in, a running server goes out; it is the real server, so there is one code path for
// embedded and separate NATS. Only programs and tests import it.
package natsserver

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Options of an embedded server.
type Options struct {
	Dir      string // for JetStream
	Listen   string // host:port; port 0 takes a free one
	User     string
	Password string
	// Sync writes every message through to the disk before it is acknowledged, so that an acknowledged push survives a
	// power cut too: a single node has no replica to fall back on. Costs about 85 % of the throughput.
	Sync   bool
	Logger *slog.Logger
}

// maxPayload is the largest message: the record of a build with some ten thousand packages.
const maxPayload = 8 << 20

// Server is a running embedded server.
type Server struct {
	s      *server.Server
	failed chan struct{}
}

// Failed is closed when the disk did not take a message, as when it is full. Nothing that was acknowledged is lost, but
// the server takes nothing more until it is started again.
func (s *Server) Failed() <-chan struct{} { return s.failed }

// Start starts a server and waits until it takes connections.
func Start(o Options) (*Server, error) {
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: listen address %q: %w", o.Listen, err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: port of %q: %w", o.Listen, err)
	}
	if n == 0 {
		n = server.RANDOM_PORT
	} else {
		// The server would only log that its port is taken.
		l, err := net.Listen("tcp", o.Listen)
		if err != nil {
			return nil, fmt.Errorf("embedded NATS: listen on %s: %w: stop what uses the port, or set "+
				"embedded.nats_listen",
				o.Listen, err)
		}
		_ = l.Close()
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "rpmflow-embedded", Host: host, Port: n, NoSigs: true,
		JetStream: true, StoreDir: o.Dir, SyncAlways: o.Sync,
		Username: o.User, Password: o.Password, JetStreamMaxMemory: -1, JetStreamMaxStore: -1,
		MaxPayload: maxPayload,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS in %s: %w", o.Dir, err)
	}
	failed := make(chan struct{})
	s.SetLoggerV2(logger{o.Logger, sync.OnceFunc(func() { close(failed) })}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("embedded NATS in %s on %s: not ready after 20 s: see its log lines above", o.Dir,
			o.Listen)
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		return nil, errors.New("embedded NATS: JetStream did not start: see its log lines above")
	}
	return &Server{s, failed}, nil
}

// URL is where clients connect; it holds no credentials.
func (s *Server) URL() string {
	u := url.URL{Scheme: "nats", Host: s.s.Addr().String()}
	return u.String()
}

// Close stops the server and waits until it has written everything.
func (s *Server) Close() {
	s.s.Shutdown()
	s.s.WaitForShutdown()
}

// logger passes the server's warnings and errors on; its notices do not matter when it is embedded.
type logger struct {
	log  *slog.Logger
	fail func()
}

func (l logger) Noticef(f string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Warnf(f string, v ...any) {
	if strings.HasPrefix(f, "Plaintext passwords") {
		return // made by us for this one server, and kept in a file that only we can read
	}
	l.log.Warn("nats: " + fmt.Sprintf(f, v...))
}
func (l logger) Errorf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	if strings.Contains(strings.ToLower(text), "critical write error") { // the server reports it in its log only
		l.fail()
	}
	l.log.Error("nats: " + text)
}
func (l logger) Fatalf(f string, v ...any) { l.log.Error("nats: fatal: " + fmt.Sprintf(f, v...)) }
func (l logger) Debugf(f string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l logger) Tracef(string, ...any)     {}
