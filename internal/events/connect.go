package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
)

// Access is how NATS is reached. At most one of user, token, nkey and credentials is set.
type Access struct {
	URL         string // one or more, separated by commas
	User        string
	Password    string
	Token       string
	NKey        string // the seed
	Credentials string // path of a .creds file
	CAFile      string
	Timeout     time.Duration // of one attempt to connect; 5 s if zero
	Name        string        // shown in the server's list of connections
	// Role decides where answers come: a program's user may only listen there. Empty: as the user's name says.
	Role    rpmflow.Role
	Streams StreamSettings // of Connect
	Waiting func(error)    // is told why Connect and Attach go on waiting; may be nil
}

// Connect connects and makes the streams: what the listener does. While NATS is not there it says so and tries again, with
// growing pauses, until ctx ends. The connection then reconnects for ever.
func Connect(ctx context.Context, a Access, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	return connect(ctx, a, log, func(ctx context.Context, js jetstream.JetStream) error { return EnsureStreams(ctx, js, a.Streams) })
}

// Attach connects and waits for the streams that a listener makes: what all other programs do, whose users may not make any.
// Otherwise it is like Connect.
func Attach(ctx context.Context, a Access, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	return connect(ctx, a, log, findStreams)
}

func connect(ctx context.Context, a Access, log *slog.Logger, prepare func(context.Context, jetstream.JetStream) error) (*nats.Conn, jetstream.JetStream, error) {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		nc, js, err := Dial(a, log)
		if err == nil {
			pctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			err = prepare(pctx, js)
			cancel()
			if err == nil {
				return nc, js, nil
			}
			nc.Close()
		}
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("%w: gave up (%w)", err, context.Cause(ctx))
		}
		if a.Waiting != nil {
			a.Waiting(err)
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			log.Info("the streams are not there yet, waiting for a listener to make them", "in", pause, "error", err)
		} else {
			log.Warn("NATS is not ready, trying again", "in", pause, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
