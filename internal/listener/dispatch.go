package listener

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
)

// dispatcher derives the queued events and the build messages from stored pushes. All listeners share the durable
// consumer that it reads.
type dispatcher struct {
	pushes *events.Pushes
	ledger *events.Ledger
	queue  *events.Queue
	log    *slog.Logger
}

// run dispatches pushes until ctx ends or NATS fails.
func (d dispatcher) run(ctx context.Context) error { return d.pushes.Each(ctx, d.log, d.dispatch) }

// dispatch is repeated until it has succeeded, so a step that was done before must do nothing.
func (d dispatcher) dispatch(ctx context.Context, p rpmflow.Push) error {
	for _, b := range p.Builds {
		_, err := d.ledger.Append(ctx, events.TypeQueued, b, 0)
		if errors.Is(err, events.ErrLost) {
			last, err := d.ledger.Last(ctx, b)
			if err != nil {
				return err
			}
			if last.Build.State != rpmflow.Queued || last.Build.Attempt > 0 || last.Build.InfrastructureFailures > 0 {
				continue // a builder has claimed it already
			}
		} else if err != nil {
			return err
		}
		if err := d.queue.Enqueue(ctx, b, time.Time{}); err != nil {
			return err
		}
		d.log.Info("build queued", "project", b.Project, "target", b.Target, "build", b.ID, "push", p.ID)
	}
	return nil
}
