// Package connect turns the configuration into what programs share to reach NATS, S3 and git repositories.
//
// A checked configuration comes in; options and open stores of events, storage and source go out, so that these need
// not import the configuration. The programs and the commands import it.
package connect

import (
	"log/slog"
	"strings"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// NATS is how to reach NATS; name is what the servers call the connection.
func NATS(cfg *config.Config, name string) events.Access {
	n := cfg.NATS
	return events.Access{
		URL: strings.Join(n.URLs, ","), User: n.User, Password: string(n.Password), Token: string(n.Token),
		NKey: string(n.NKey), Credentials: n.Credentials, CAFile: n.CAFile, Timeout: n.ConnectTimeout, Name: name,
		Streams: events.StreamSettings{
			Replicas: n.Replicas, MaxBytes: int64(n.MaxBytes), Subscribers: cfg.Listener.Subscribers,
		},
	}
}

// S3 is how to reach the storage.
func S3(cfg *config.Config, log *slog.Logger) storage.Config {
	c := storage.Config{
		Endpoint: cfg.S3.Endpoint.String(), Region: cfg.S3.Region, Bucket: cfg.S3.Bucket,
		AccessKey: string(cfg.S3.AccessKey), SecretKey: string(cfg.S3.SecretKey),
		CAFile: cfg.S3.CAFile, CreateBucket: cfg.S3.CreateBucket, Logger: log,
	}
	if cfg.S3.PublicURL != nil {
		c.PublicURL = cfg.S3.PublicURL.String()
	}
	return c
}

// Storage opens the storage.
func Storage(cfg *config.Config, log *slog.Logger) (*storage.Store, error) {
	return storage.Open(S3(cfg, log))
}
