package builder

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rpmflow/rpmflow"
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
	return []Reason{ReasonStarting, ReasonDraining, ReasonDisk, ReasonMemory, ReasonEngine, ReasonStorage, ReasonNATS, ReasonOther}
}

// because is an error with the reason that it is; it says nothing more.
type because struct {
	reason Reason
	err    error
}

func (b *because) Error() string { return b.err.Error() }
func (b *because) Unwrap() error { return b.err }

// Because marks why no builds are taken; nil stays nil.
func Because(reason Reason, err error) error {
	if err == nil {
		return nil
	}
	return &because{reason, err}
}

func reasonOf(err error) Reason {
	var b *because
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

// levelsWait bounds looking at what is free while somebody waits for the metrics.
const levelsWait = 5 * time.Second

// metrics is what Prometheus is told. What is a state is asked for when it is told, from the status.
type metrics struct {
	registry *prometheus.Registry
	finished *prometheus.CounterVec
	phases   *prometheus.HistogramVec
}

func newMetrics(s *Status) metrics {
	m := metrics{
		registry: prometheus.NewRegistry(),
		finished: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rpmflow_builder_builds_finished_total", Help: "Builds whose outcome this builder has published, by result and kind of failure.",
		}, []string{"result", "kind"}),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rpmflow_builder_phase_duration_seconds", Help: "How long the phases of finished builds took in their last attempt.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600},
		}, []string{"phase"}),
	}
	m.registry.MustRegister(m.finished, m.phases, state{s}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// ended counts a build whose outcome is published.
func (m metrics) ended(b rpmflow.Build) {
	m.finished.WithLabelValues(string(b.Outcome.Result), string(b.Outcome.Kind)).Inc()
	for _, p := range b.Phases {
		m.phases.WithLabelValues(string(p.Phase)).Observe(p.Seconds)
	}
}

// state collects what the status knows.
type state struct{ *Status }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rpmflow_builder_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector: what is free is known when it is collected.
func (s state) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s state) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	why := s.ready()
	taking := describe("taking", "Whether the builder takes builds (1) or not (0).")
	if why == nil {
		gauge(taking, 1)
	} else {
		gauge(taking, 0)
	}
	notTaking := describe("not_taking", "Whether this is why the builder takes no builds.", "reason")
	for _, r := range reasons() {
		v := 0.0
		if why != nil && reasonOf(why) == r {
			v = 1
		}
		gauge(notTaking, v, string(r))
	}
	s.mu.Lock()
	inHand, slots, levels := len(s.builds), s.slots, s.levels
	s.mu.Unlock()
	gauge(describe("builds_in_hand", "Builds that the builder works on."), float64(inHand))
	gauge(describe("slots", "The most builds that the builder works on at a time."), float64(slots))
	if levels == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), levelsWait)
	defer cancel()
	free := describe("free_bytes", "Free disk and available memory, where the builder looks before it takes a build.", "what", "where")
	floor := describe("floor_bytes", "Below this much of it no builds are taken.", "what", "where")
	found, err := levels(ctx)
	if err != nil { // the others are worth telling all the same
		out <- prometheus.NewInvalidMetric(free, err)
	}
	for _, l := range found {
		gauge(free, float64(l.Free), string(l.Reason), l.Where)
		gauge(floor, float64(l.Floor), string(l.Reason), l.Where)
	}
}
