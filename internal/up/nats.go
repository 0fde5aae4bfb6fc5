package up

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/machine"
	"github.com/rpmflow/rpmflow/internal/retry"
)

// embeddedNATS is the NATS server inside the program. After a failed write the server itself takes nothing more; so
// after a full disk it is started again once there is room. Clients reconnect by themselves.
type embeddedNATS struct {
	options natsserver.Options
	server  *natsserver.Server
	url     string
}

func startNATS(o natsserver.Options) (*embeddedNATS, error) {
	s, err := natsserver.Start(o)
	if err != nil {
		return nil, err
	}
	e := &embeddedNATS{options: o, server: s, url: s.URL()}
	e.options.Listen = strings.TrimPrefix(e.url, "nats://") // the same port after a restart
	return e, nil
}

// supervise restarts the server when it has failed, until ctx ends.
func (e *embeddedNATS) supervise(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.server.Failed():
		}
		e.options.Logger.Error("the embedded NATS could not write: nothing is accepted until there is room again",
			"dir", e.options.Dir, "error", machine.CheckSpace(e.options.Dir))
		space := func() error { return machine.CheckSpace(e.options.Dir) }
		if (retry.Policy{First: time.Second}).Do(ctx, space) != nil {
			return nil
		}
		e.server.Close()
		s, err := natsserver.Start(e.options)
		if err != nil {
			return fmt.Errorf("start the embedded NATS again: %w", err)
		}
		e.server = s
		e.options.Logger.Info("the embedded NATS writes again", "url", e.url)
	}
}

func (e *embeddedNATS) close() { e.server.Close() }
