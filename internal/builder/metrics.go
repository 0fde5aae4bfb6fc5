package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	vm "github.com/VictoriaMetrics/metrics"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/httpd"
)

// Reason is why a builder takes no builds, in one word.
type Reason string

// The reasons; each is a series of rpmflow_builder_not_taking.
const (
	ReasonStarting Reason = "starting"
	ReasonDraining Reason = "draining"
	ReasonDisk     Reason = "disk"
	ReasonMemory   Reason = "memory"
	ReasonEngine   Reason = "engine"
	ReasonStorage  Reason = "storage"
	ReasonNATS     Reason = "nats"
	ReasonOther    Reason = "other"
)

func reasons() []Reason {
	return []Reason{
		ReasonStarting, ReasonDraining, ReasonDisk, ReasonMemory, ReasonEngine, ReasonStorage, ReasonNATS, ReasonOther,
	}
}

// reasonError adds a reason to an error. Its text is that of the error.
type reasonError struct {
	reason Reason
	err    error
}

func (b *reasonError) Error() string { return b.err.Error() }
func (b *reasonError) Unwrap() error { return b.err }

// Because marks why no builds are taken; nil stays nil.
func Because(reason Reason, err error) error {
	if err == nil {
		return nil
	}
	return &reasonError{reason, err}
}

func reasonOf(err error) Reason {
	var b *reasonError
	if errors.As(err, &b) {
		return b.reason
	}
	return ReasonOther
}

// Level is how much of something is free, and below how much no builds are taken; both are bytes.
type Level struct {
	Reason      Reason // what is missing then
	Where       string // the directory whose disk it is
	Free, Floor int64
}

// levelsWait bounds how long a request for metrics waits for what is free.
const levelsWait = 5 * time.Second

// metrics are those of a builder. Gauges are read from the status with each request.
type metrics struct {
	status *Status
	series *vm.Set
}

func newMetrics(s *Status) metrics { return metrics{status: s, series: vm.NewSet()} }

// phaseBuckets are in seconds.
func phaseBuckets() []float64 { return []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600} }

// ended counts a build whose outcome is published.
func (m metrics) ended(b rpmflow.Build) {
	o := b.Outcome
	m.series.GetOrCreateCounter(series("builds_finished_total", "kind", string(o.Kind), "result",
		string(o.Result))).Inc()
	for _, p := range b.Phases {
		name := series("phase_duration_seconds", "phase", string(p.Phase))
		m.series.GetOrCreatePrometheusHistogramExt(name, phaseBuckets()).Update(p.Seconds)
	}
}

func series(name string, labels ...string) string {
	return httpd.Series("rpmflow_builder_"+name, labels...)
}

// state writes the gauges.
func (m metrics) state(w io.Writer) {
	s := m.status
	gauge := func(v int64, name string, labels ...string) {
		vm.WriteGaugeFloat64(w, series(name, labels...), float64(v))
	}
	is := func(yes bool) int64 {
		if yes {
			return 1
		}
		return 0
	}
	why := s.ready()
	gauge(is(why == nil), "taking")
	for _, r := range reasons() {
		gauge(is(why != nil && reasonOf(why) == r), "not_taking", "reason", string(r))
	}
	for _, t := range s.waitingTargets() {
		gauge(1, "target_waiting", "target", t.Target)
	}
	s.mu.Lock()
	inHand, slots, levels := len(s.builds), s.slots, s.levels
	s.mu.Unlock()
	gauge(int64(inHand), "builds_in_hand")
	gauge(int64(slots), "slots")
	if levels == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), levelsWait)
	defer cancel()
	found, err := levels(ctx)
	if err != nil { // those that were found are written
		_, _ = fmt.Fprintf(w, "# rpmflow_builder_free_bytes is not complete: %q\n", err)
	}
	for _, l := range found {
		gauge(l.Free, "free_bytes", "what", string(l.Reason), "where", l.Where)
		gauge(l.Floor, "floor_bytes", "what", string(l.Reason), "where", l.Where)
	}
}
