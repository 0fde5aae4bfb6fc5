package events

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// Stir makes the owner of a build look at EVENTS at once. Nothing is lost when it is not heard: an owner looks with every heartbeat.
func (q *Queue) NotifyCancel(build string) error {
	if err := q.nc.Publish(cancelSubject(build), nil); err != nil {
		return fmt.Errorf("wake the owner of build %s: %w", build, err)
	}
	return nil
}

// Stirred returns a channel that gets a value, soon, after somebody has stirred the build's owner. Stop it when done.
func (q *Queue) CancelNotices(build string) (stirred <-chan struct{}, stop func(), err error) {
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
