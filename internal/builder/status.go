package builder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/httpd"
)

// Status is the state of a builder, served over HTTP: GET /healthz (is it alive?), GET /readyz (does it take builds?)
// and GET /metrics. It exists before the builder, and says what the program waits for at its start. Requests are
// answered from what the builder has found out; only free space is measured with each request for metrics.
type Status struct {
	mu       sync.Mutex
	waiting  error               // why no builds are taken; nil: they are
	draining bool                // no more builds are taken
	moves    time.Time           // deadline of the main loop's current step; zero: it does not run
	builds   map[*time.Time]bool // deadlines of running builds
	nc       *nats.Conn
	slots    int
	levels   func(ctx context.Context) ([]Level, error) // may be nil
	unserved map[string]error                           // targets that cannot be built for now, and why
	metrics  metrics
}

const (
	// idleMove is much more than the main loop needs between two builds, where each step is bounded.
	idleMove = 5 * time.Minute
	// buildMove is the same for what follows the time-out of a build: upload, publishing, cleaning up.
	buildMove = settleWait + time.Hour
)

var errStarting = errors.New("the builder is starting")

// NewStatus makes the status of a builder before its start.
func NewStatus() *Status {
	s := &Status{
		waiting: Because(ReasonStarting, errStarting), builds: map[*time.Time]bool{}, unserved: map[string]error{},
	}
	s.metrics = newMetrics(s)
	return s
}

// Levels sets how to measure what is free.
func (s *Status) Levels(levels func(ctx context.Context) ([]Level, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levels = levels
}

// WaitingFor is Waiting for errors with one reason.
func (s *Status) WaitingFor(reason Reason) func(error) {
	return func(err error) { s.Waiting(Because(reason, err)) }
}

// Listen serves the status on an address until stop is called.
func (s *Status) Listen(address string, log *slog.Logger) (stop func(), err error) {
	socket, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w: stop what uses the port, or set builder.status_listen", address, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		if err := httpd.Serve(ctx, socket, s.Handler(log), httpd.StatusLimits(), log); err != nil {
			log.Error("the builder's status is no longer served", "error", err)
		}
	}()
	log.Info("serving the builder's status", "address", socket.Addr().String())
	return func() { cancel(); <-done }, nil
}

// Handler answers the requests.
func (s *Status) Handler(log *slog.Logger) http.Handler {
	probe := httpd.Group{Quiet: true}
	return httpd.NewSite(log, []httpd.Route{
		{Pattern: "GET /healthz", Group: probe, Handler: func(http.ResponseWriter, *http.Request) (int, any,
			*httpd.Problem) {
			return answer("alive", s.alive(time.Now()), nil)
		}},
		{Pattern: "GET /readyz", Group: probe, Handler: func(http.ResponseWriter, *http.Request) (int, any,
			*httpd.Problem) {
			return answer("ready", s.ready(), s.waitingTargets())
		}},
		{Pattern: "GET /metrics", Handler: httpd.Metrics(s.metrics.series.WritePrometheus, s.metrics.state)},
	})
}

// waitingTarget is one whose builds wait.
type waitingTarget struct {
	Target string `json:"target"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// serves sets whether the builder can build for a target now.
func (s *Status) serves(target string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.unserved, target)
		return
	}
	s.unserved[target] = err
}

func (s *Status) waitingTargets() []waitingTarget {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []waitingTarget
	for _, name := range slices.Sorted(maps.Keys(s.unserved)) {
		what, do := hint.Split(s.unserved[name])
		all = append(all, waitingTarget{name, what, do})
	}
	return all
}

// programStatus is the answer of a builder that works.
type programStatus struct {
	Status  string          `json:"status"`
	Waiting []waitingTarget `json:"waiting,omitempty"`
}

func answer(status string, err error, waiting []waitingTarget) (int, any, *httpd.Problem) {
	if err == nil {
		return http.StatusOK, programStatus{status, waiting}, nil
	}
	what, do := hint.Split(err)
	return 0, nil, httpd.Problemf(http.StatusServiceUnavailable, cmp.Or(do, "look into the builder's log"), "%s", what)
}

// Waiting sets why no builds are taken; nil: they are.
func (s *Status) Waiting(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = err
}

func (s *Status) connected(nc *nats.Conn, slots int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nc, s.slots = nc, slots
}

func (s *Status) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

// moved is called by the main loop, and says that it calls again within d.
func (s *Status) moved(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves = time.Now().Add(d)
}

// stopped says that the main loop has ended.
func (s *Status) stopped() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves = time.Time{}
}

// begun says that a build has started that ends within d; over says that it has ended.
func (s *Status) begun(d time.Duration) (over func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := time.Now().Add(d)
	s.builds[&end] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.builds, &end)
	}
}

func (s *Status) alive(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var late time.Duration
	if !s.moves.IsZero() {
		late = now.Sub(s.moves)
	}
	for end := range s.builds {
		late = max(late, now.Sub(*end))
	}
	if late > 0 {
		return hint.Add(fmt.Errorf("the builder hangs: its current step should have ended %s ago",
			late.Round(time.Second)),
			"restart it; SIGQUIT shows where it hangs")
	}
	return nil
}

func (s *Status) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return Because(ReasonDraining, hint.Add(errDrained, "nothing to do: it ends after the builds in hand"))
	case s.nc != nil:
		if err := events.Connected(s.nc); err != nil {
			return Because(ReasonNATS, err)
		}
	}
	return s.waiting
}
