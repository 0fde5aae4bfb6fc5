package events

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// NotifyCancel makes the owner of a build read EVENTS at once. A notice that is lost does no harm: the owner also reads
// EVENTS with each heartbeat.
func (q *Queue) NotifyCancel(build string) error {
	if err := q.nc.Publish(cancelSubject(build), nil); err != nil {
		return fmt.Errorf("notify the owner of build %s: %w", build, err)
	}
	return nil
}

// CancelNotices returns a channel that gets a value after each NotifyCancel for the build. Call stop when done.
func (q *Queue) CancelNotices(build string) (notices <-chan struct{}, stop func(), err error) {
	c := make(chan struct{}, 1)
	s, err := q.nc.Subscribe(cancelSubject(build), func(*nats.Msg) {
		select {
		case c <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, nil, fmt.Errorf("subscribe to %s: %w", cancelSubject(build), err)
	}
	return c, func() { _ = s.Unsubscribe() }, nil // fails only when the connection is closed, and then it is done
}
