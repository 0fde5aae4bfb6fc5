package publisherd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/ready"
)

// status is the state of a publisher, served over HTTP: GET /healthz (is it alive?), GET /readyz (does it publish?) and
// GET /metrics.
type status struct {
	mu  sync.Mutex
	why error // why nothing is published; nil: pub publishes
	pub *publisher.Publisher
	nc  *nats.Conn
}

func newStatus() *status { return &status{why: errors.New("the publisher is starting")} }

// waiting sets what the program waits for at its start.
func (s *status) waiting(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = why
}

func (s *status) publishes(pub *publisher.Publisher, nc *nats.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why, s.pub, s.nc = nil, pub, nc
}

func (s *status) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.why != nil:
		return s.why
	case !s.nc.IsConnected():
		return errors.New("NATS is out of reach")
	}
	return s.pub.Ready()
}

func (s *status) writeMetrics(w io.Writer) {
	s.mu.Lock()
	pub := s.pub
	s.mu.Unlock()
	if pub != nil {
		pub.WriteMetrics(w)
	}
}

// listen serves the status on an address until stop is called.
func (s *status) listen(address string, log *slog.Logger) (stop func(), err error) {
	socket, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w: stop what uses the port, or set publisher.status_listen",
			address, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		if err := httpd.Serve(ctx, socket, s.handler(log), httpd.StatusLimits(), log); err != nil {
			log.Error("the publisher's status is no longer served", "error", err)
		}
	}()
	log.Info("serving the publisher's status", "address", socket.Addr().String())
	return func() { cancel(); <-done }, nil
}

func (s *status) handler(log *slog.Logger) http.Handler {
	probe := httpd.Group{Quiet: true}
	return httpd.NewSite(log, []httpd.Route{
		{Pattern: "GET /healthz", Group: probe, Handler: func(http.ResponseWriter, *http.Request) (int, any,
			*httpd.Problem) {
			return http.StatusOK, programStatus{"alive"}, nil
		}},
		{Pattern: "GET /readyz", Group: probe, Handler: func(http.ResponseWriter, *http.Request) (int, any,
			*httpd.Problem) {
			if err := s.ready(); err != nil {
				what, do := hint.Split(err)
				return 0, nil, httpd.Problemf(http.StatusServiceUnavailable,
					cmp.Or(do, "look into the publisher's log"), "%s", what)
			}
			return http.StatusOK, programStatus{"ready"}, nil
		}},
		{Pattern: "GET /metrics", Handler: httpd.Metrics(s.writeMetrics)},
	})
}

type programStatus struct {
	Status string `json:"status"`
}

// StatusAddress is where the publisher on this machine answers about itself.
func StatusAddress(cfg *config.Config) (string, error) {
	if cfg.Publisher.StatusListen == "" {
		return "", hint.Add(errors.New("publisher.status_listen is empty, so the publisher cannot be asked"),
			"set it, such as 127.0.0.1:8082")
	}
	return cfg.Publisher.StatusListen, nil
}

// checkStatus asks the publisher that runs on this machine.
func checkStatus(cfg *config.Config) doctor.Check {
	address, err := StatusAddress(cfg)
	return ready.CheckHere(string(config.ForPublisher), address, err)
}
