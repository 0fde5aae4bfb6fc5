package mock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// verdict is what the engine knows of a container's end that no exit code tells.
type verdict struct {
	interfered string // what others did to it, in words; empty: nothing is known
	memory     string // the limit at which the kernel ended a process in it; empty: it did not
}

// eventLag is how long after a container's end the engine may write down what ended it; it answers no sooner.
const eventLag = 300 * time.Millisecond

// verdict asks the engine about a container that has ended with an error. The engine keeps its last events only, so that nothing said is
// no proof.
func (e *Engine) verdict(ctx context.Context, id string) (v verdict, err error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	info, err := e.api.ContainerInspect(ctx, id)
	if err != nil {
		return v, fmt.Errorf("engine mock: end of container %s: %w", id, err)
	}
	if info.State.OOMKilled && e.s.Memory > 0 { // without a limit of its own, it was the machine that had no more
		v.memory = inUnits(e.s.Memory)
	}
	if info.State.Error != "" {
		v.interfered = info.State.Error
	}
	if info.State.Running {
		v.interfered = "somebody started the container again"
	}
	// The container's own times, so that clocks that differ do not matter. What ended it is written down a moment after its end.
	until, err := time.Parse(time.RFC3339Nano, info.State.FinishedAt)
	if err != nil {
		return v, fmt.Errorf("engine mock: end of container %s: %w", id, err)
	}
	happened, errs := e.api.Events(ctx, events.ListOptions{Since: info.State.StartedAt, Until: until.Add(eventLag).Format(time.RFC3339Nano), Filters: filters.NewArgs(
		filters.Arg("container", id), filters.Arg("event", "kill"), filters.Arg("event", "stop"), filters.Arg("event", "restart"))})
	for {
		select {
		case m := <-happened:
			v.interfered = fmt.Sprintf("the engine was told to %s the container", m.Action)
		case err := <-errs:
			if !errors.Is(err, io.EOF) { // it ends with what there is
				return v, fmt.Errorf("engine mock: events of container %s: %w", id, err)
			}
			return v, nil
		}
	}
}
