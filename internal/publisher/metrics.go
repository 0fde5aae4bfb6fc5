package publisher

import (
	"io"

	vm "github.com/VictoriaMetrics/metrics"

	"github.com/rpmflow/rpmflow/internal/events"
)

// metrics count since the start of the program.
type metrics struct {
	set                        *vm.Set
	revisions, refused, failed *vm.Counter
}

func newMetrics() metrics {
	set := vm.NewSet()
	return metrics{
		set: set, revisions: set.NewCounter("rpmflow_publisher_revisions_total"),
		refused: set.NewCounter("rpmflow_publisher_refused_packages_total"),
		failed:  set.NewCounter("rpmflow_publisher_failed_publications_total"),
	}
}

// announced counts what an event says.
func (m metrics) announced(pub events.Publication) {
	for _, r := range pub.Repositories {
		if len(r.Added)+len(r.Removed) > 0 {
			m.revisions.Inc()
		}
	}
	m.refused.Add(len(pub.Refused))
}

// WriteMetrics writes the publisher's metrics in Prometheus' text form.
func (p *Publisher) WriteMetrics(w io.Writer) {
	p.metrics.set.WritePrometheus(w)
	p.mu.Lock()
	waiting, oldest := len(p.held), p.o.now()
	for _, f := range p.held {
		if at := f.Build.FinishedAt; at != nil && at.Before(oldest) {
			oldest = *at
		}
	}
	failing := len(p.bad)
	p.mu.Unlock()
	vm.WriteGaugeUint64(w, "rpmflow_publisher_waiting_builds", uint64(waiting))
	vm.WriteGaugeFloat64(w, "rpmflow_publisher_oldest_waiting_seconds", p.o.now().Sub(oldest).Seconds())
	vm.WriteGaugeUint64(w, "rpmflow_publisher_failing_targets", uint64(failing))
}
