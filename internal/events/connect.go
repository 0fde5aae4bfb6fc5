package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Access is how NATS is reached.
type Access struct {
	URL         string // one or more, separated by commas
	User        string
	Password    string
	Token       string
	Credentials string // path of a .creds file
	CAFile      string
	Timeout     time.Duration // of one attempt to connect; 5 s if zero
	Name        string        // shown in the server's list of connections
	Streams     StreamSettings
}

// Connect connects and makes the streams. While NATS is not there it says so and tries again, with growing
// pauses, until ctx ends. The connection then reconnects for ever.
func Connect(ctx context.Context, a Access, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		nc, js, err := Dial(a, log)
		if err == nil {
			ectx, cancel := context.WithTimeout(ctx, 30*time.Second)
			err = EnsureStreams(ectx, js, a.Streams)
			cancel()
			if err == nil {
				return nc, js, nil
			}
			nc.Close()
		}
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("%w: gave up (%w)", err, context.Cause(ctx))
		}
		log.Warn("NATS is not ready, trying again", "in", pause, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// Dial connects once. The connection reconnects for ever.
func Dial(a Access, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	if a.Timeout == 0 {
		a.Timeout = publishWait
	}
	opts := []nats.Option{
		nats.Name(a.Name), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(500*time.Millisecond, time.Second),
		nats.Timeout(a.Timeout), nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2), nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("connection to NATS lost, reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			log.Warn("NATS reports an error", "subject", subject, "error", err)
		}),
	}
	switch {
	case a.Credentials != "":
		opts = append(opts, nats.UserCredentials(a.Credentials))
	case a.Token != "":
		opts = append(opts, nats.Token(a.Token))
	case a.User != "":
		opts = append(opts, nats.UserInfo(a.User, a.Password))
	}
	if a.CAFile != "" {
		opts = append(opts, nats.RootCAs(a.CAFile))
	}
	nc, err := nats.Connect(a.URL, opts...)
	if err != nil {
		hint := "is the server running and is nats.url right?"
		if errors.Is(err, nats.ErrAuthorization) {
			hint = "check nats.user and nats.password, nats.token or nats.credentials"
		}
		return nil, nil, fmt.Errorf("connect to NATS at %s: %w: %s", redact(a.URL), err, hint)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(publishWait))
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("JetStream at %s: %w", redact(a.URL), err)
	}
	return nc, js, nil
}
