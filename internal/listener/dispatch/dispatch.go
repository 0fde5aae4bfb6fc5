// Package dispatch queues the builds of stored pushes.
//
// Pushes come in from PUSHES; each of their builds goes out as its queued event and its build message. Nothing of it is
// lost when a listener dies in between: the push is delivered again. The listener imports it; it is independent of
// HTTP.
package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
)

// Dispatcher reads PUSHES through the durable consumer that all listeners share.
type Dispatcher struct {
	Pushes *events.Pushes
	Ledger *events.Ledger
	Queue  *events.Queue
	Logger *slog.Logger
}

// Run dispatches pushes until ctx ends or NATS fails. It can be called again.
func (d *Dispatcher) Run(ctx context.Context) error { return d.Pushes.Each(ctx, d.Logger, d.dispatch) }

// dispatch is repeated until it has succeeded, so a step that was done before must do nothing.
func (d *Dispatcher) dispatch(ctx context.Context, p rpmflow.Push) error {
	for _, b := range p.Builds {
		_, err := d.Ledger.Append(ctx, events.TypeQueued, b, 0)
		if errors.Is(err, events.ErrLost) {
			last, err := d.Ledger.Last(ctx, b)
			if err != nil {
				return err
			}
			if last.Build.Attempt > 0 || last.Build.InfrastructureFailures > 0 {
				continue // a builder has claimed it already
			}
			// One that was canceled has a message, too: the builder that takes it stores the record.
		} else if err != nil {
			return err
		}
		if err := d.Queue.Enqueue(ctx, b, time.Time{}); err != nil {
			return err
		}
		d.Logger.Info("build queued", "project", b.Project, "target", b.Target, "build", b.ID, "push", p.ID)
	}
	return nil
}
