package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// Ending is what the engine reports about a container's end and its exit code does not show.
type Ending struct {
	Interfered  string // what others did to the container, in words; empty: nothing is known
	OutOfMemory bool   // the kernel ended a process in it
}

// eventLag is how long after a container's end the engine may write down what ended it; it does not answer earlier.
const eventLag = 300 * time.Millisecond

// Ending asks the engine about a container that has ended with an error. The engine keeps its last events only, so an
// empty answer proves nothing.
func (c *Client) Ending(ctx context.Context, id string) (e Ending, err error) {
	ctx, cancel := context.WithTimeout(ctx, CallWait)
	defer cancel()
	info, err := c.api.ContainerInspect(ctx, id)
	if err != nil {
		return e, failed(err, "end of container %s", id)
	}
	e.OutOfMemory, e.Interfered = info.State.OOMKilled, info.State.Error
	if info.State.Running {
		e.Interfered = "another program started the container again"
	}
	// The container's own times: clocks can differ. The engine writes down what ended it a moment after its end.
	until, err := time.Parse(time.RFC3339Nano, info.State.FinishedAt)
	if err != nil {
		return e, failed(err, "end of container %s", id)
	}
	happened, errs := c.api.Events(ctx, events.ListOptions{
		Since: info.State.StartedAt, Until: until.Add(eventLag).Format(time.RFC3339Nano), Filters: filters.NewArgs(
			filters.Arg("container", id),
			filters.Arg("event", "kill"), filters.Arg("event", "stop"), filters.Arg("event", "restart")),
	})
	for {
		select {
		case m := <-happened:
			e.Interfered = fmt.Sprintf("the engine was told to %s the container", m.Action)
		case err := <-errs:
			if errors.Is(err, io.EOF) { // the end of the list
				err = nil
			}
			return e, failed(err, "events of container %s", id)
		}
	}
}
