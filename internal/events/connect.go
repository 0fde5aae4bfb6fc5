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
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/retry"
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
	Waiting func(error)    // is called with the reason why Connect or Attach waits; may be nil
}

// Connect connects and makes the streams, for the listener. While NATS is not there it logs that and tries again, with
// growing pauses, until ctx ends. The connection then reconnects for ever.
func Connect(ctx context.Context, a Access, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	return connect(ctx, a, log, func(ctx context.Context, js jetstream.JetStream) error {
		return EnsureStreams(ctx, js, a.Streams)
	})
}

// Attach is Connect for builders, whose users may not make streams: it waits for those that a listener makes.
func Attach(ctx context.Context, a Access, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	return connect(ctx, a, log, func(ctx context.Context, js jetstream.JetStream) error {
		return findStreams(ctx, js, StreamEvents, StreamBuilds, StreamLogs)
	})
}

func connect(
	ctx context.Context, a Access, log *slog.Logger, prepare func(context.Context, jetstream.JetStream) error,
) (nc *nats.Conn, js jetstream.JetStream, err error) {
	policy := retry.Policy{Notify: func(err error, pause time.Duration) {
		if a.Waiting != nil {
			a.Waiting(err)
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			log.Info("the streams are not there yet, waiting for a listener to make them", "in", pause, "error", err)
		} else {
			log.Warn("NATS is not ready, trying again", "in", pause, "error", err)
		}
	}}
	err = policy.Do(ctx, func() (err error) {
		if nc, js, err = Dial(a, log); err != nil {
			return err
		}
		pctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err = prepare(pctx, js); err != nil {
			nc.Close()
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return nc, js, nil
}

// Connected returns nil if the connection is there now, else why it is not and what to do.
func Connected(nc *nats.Conn) error {
	if nc.IsConnected() {
		return nil
	}
	err := nc.LastError()
	switch {
	case err == nil:
		return hint.Add(fmt.Errorf("NATS is not connected: %s", nc.Status()), "check the NATS server and nats.url")
	case refused(err):
		return hint.Add(fmt.Errorf("NATS is not connected: %w", err), "check the NATS user and its secret: "+
			"the server refuses them")
	}
	return hint.Add(fmt.Errorf("NATS is not connected: %w", err), "check the NATS server and nats.url")
}

// Denied turns an error with which the server has refused a right into one that names the right. It returns other
// errors as they are.
func (a Access) Denied(err error) error {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return err
	}
	verb, subject := violation(err)
	return hint.Add(fmt.Errorf("the NATS user %s may not %s %s", a.who(), verb, subject),
		"use the accounts of `rpmflow config nats`")
}
