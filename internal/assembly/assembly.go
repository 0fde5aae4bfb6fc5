// Package assembly puts the programs together: from a configuration to a running listener, a running builder, or all of it with
// embedded servers.
//
// A checked configuration comes in; programs that run until their context ends go out. The commands and the end-to-end tests
// import it, and it alone knows all the parts.
package assembly

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/listener"
	"github.com/rpmflow/rpmflow/internal/source"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Logger makes the program's logger.
func Logger(w io.Writer, l config.Log) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.Level}
	if l.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// NATSAccess is the way to NATS as the events package wants it.
func NATSAccess(cfg *config.Config, name string) events.Access {
	n := cfg.NATS
	return events.Access{
		URL: strings.Join(n.URLs, ","), User: n.User, Password: string(n.Password), Token: string(n.Token), NKey: string(n.NKey),
		Credentials: n.Credentials, CAFile: n.CAFile, Timeout: n.ConnectTimeout, Name: name,
		Streams: events.StreamSettings{Replicas: n.Replicas, MaxBytes: int64(n.MaxBytes), Subscribers: cfg.Listener.Subscribers},
	}
}

// Storage is the way to S3.
func Storage(cfg *config.Config, log *slog.Logger) (*storage.Store, error) {
	c := storage.Config{
		Endpoint: cfg.S3.Endpoint.String(), Region: cfg.S3.Region, Bucket: cfg.S3.Bucket, AccessKey: string(cfg.S3.AccessKey), SecretKey: string(cfg.S3.SecretKey),
		CAFile: cfg.S3.CAFile, CreateBucket: cfg.S3.CreateBucket, Logger: log,
	}
	if cfg.S3.PublicURL != nil {
		c.PublicURL = cfg.S3.PublicURL.String()
	}
	return storage.Open(c)
}

// artifactURL gives the address under which users fetch an object: the bucket's own where it is public, else the listener's.
func artifactURL(cfg *config.Config, store *storage.Store) func(string) string {
	if cfg.S3.PublicURL != nil {
		return store.URL
	}
	base := cfg.PublicURL.JoinPath("artifacts")
	return func(key string) string { return base.JoinPath(key).String() }
}

// repositories gives the URLs of projects with their credentials, and the record's own for projects that are not configured here.
func repositories(cfg *config.Config) func(project, repository string) string {
	return func(project, repository string) string {
		if p, ok := cfg.Project(project); ok {
			for _, url := range []string{p.URL, p.Packaging.URL} {
				if source.CleanURL(url) == repository {
					return url
				}
			}
		}
		return repository
	}
}

// accesses gives what a repository wants to see before it is read: the settings of the project that has it, else those of all.
func accesses(cfg *config.Config) func(repository string) source.Access {
	return func(repository string) source.Access {
		all := source.Access{SSHKeyFile: cfg.Git.SSHKeyFile, KnownHostsFile: cfg.Git.KnownHostsFile}
		for _, p := range cfg.Projects {
			own := source.CleanURL(p.URL) == repository
			if !own && source.CleanURL(p.Packaging.URL) != repository || p.Token == "" && p.SSHKeyFile == "" && p.KnownHostsFile == "" {
				continue
			}
			a := source.Access{SSHKeyFile: cmp.Or(p.SSHKeyFile, all.SSHKeyFile), KnownHostsFile: cmp.Or(p.KnownHostsFile, all.KnownHostsFile)}
			if own || sameHost(source.CleanURL(p.URL), repository) { // a token is not shown to another host
				a.Token = p.Token
			}
			return a
		}
		return all
	}
}

func sameHost(a, b string) bool {
	x, errX := url.Parse(a)
	y, errY := url.Parse(b)
	return errX == nil && errY == nil && x.Scheme == y.Scheme && x.Host == y.Host
}

// openSources opens the git mirrors.
func openSources(cfg *config.Config, cache source.Cache, uploads source.Uploads, log *slog.Logger) (*source.Store, error) {
	return source.Open(source.Options{
		Dir: filepath.Join(cfg.DataDir, "mirrors"), Logger: log, Access: accesses(cfg), MaxBytes: int64(cfg.Git.MirrorsMax), MaxAge: cfg.Git.MirrorsAge,
		MaxFile: int64(cfg.Builder.MaxSource), Allow: cfg.Builder.AllowAddresses, Cache: cache, Uploads: uploads,
	})
}

// RunListener connects and serves until ctx ends. socket may be nil: then it listens where the configuration says.
func RunListener(ctx context.Context, cfg *config.Config, version string, socket net.Listener, log *slog.Logger) error {
	if _, err := DataDir(cfg.DataDir); err != nil {
		if socket != nil {
			err = errors.Join(err, socket.Close())
		}
		return err
	}
	if socket == nil {
		var err error
		if socket, err = Listen(cfg); err != nil {
			return err
		}
	}
	store, err := Storage(cfg, log)
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	defer store.Close()
	access := NATSAccess(cfg, "rpmflow listener")
	room := &waitingRoom{socket: socket, log: log}
	access.Role, access.Waiting = rpmflow.RoleListener, room.say
	nc, js, err := events.Connect(ctx, access, log)
	if rerr := room.close(); rerr != nil || err != nil {
		if nc != nil {
			nc.Close()
		}
		return errors.Join(stopped(ctx, err), rerr, socket.Close())
	}
	defer nc.Close()
	l, err := listener.New(ctx, listener.Options{
		Repositories: mirrors(cfg, log),
		PublicURL:    strings.TrimRight(cfg.PublicURL.String(), "/"), Token: string(cfg.Listener.Token), MaxBody: int64(cfg.Listener.MaxBody), MaxUpload: int64(cfg.Listener.MaxUpload), Uploads: store.Uploads(),
		RequestTimeout: cfg.Listener.RequestTimeout, DataDir: cfg.DataDir, Projects: cfg.Projects, Targets: cfg.Targets, Version: version, Logger: log,
	}, socket, nc, js, store, source.Resolver(accesses(cfg)))
	if err != nil {
		return errors.Join(stopped(ctx, err), socket.Close())
	}
	return l.Run(ctx)
}

// mirrors are the listener's own, or of all programs that share its data directory. It does without where they cannot be had.
func mirrors(cfg *config.Config, log *slog.Logger) listener.Repositories {
	s, err := openSources(cfg, nil, nil, log)
	if err != nil {
		log.Warn("which files a push has changed is taken from its delivery only", "error", err)
		return nil
	}
	return s
}

// Listen opens the listener's socket.
func Listen(cfg *config.Config) (net.Listener, error) {
	socket, err := net.Listen("tcp", cfg.Listener.Listen)
	switch {
	case err == nil:
		return socket, nil
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("listener: %s is in use by %s: stop that, or take another address with --listen, RPMFLOW_LISTENER_LISTEN or listener.listen%s",
			cfg.Listener.Listen, whoListens(cfg.Listener.Listen), freeNear(cfg.Listener.Listen))
	}
	return nil, fmt.Errorf("listen on %s: %w: set listener.listen to an address of this machine", cfg.Listener.Listen, err)
}

// whoListens says what answers at an address of ours that is taken.
func whoListens(address string) string {
	url := config.LocalURL(address).String()
	if err := Ready(context.Background(), strings.TrimRight(url, "/")); err == nil {
		return "another rpmflow, which answers at " + url
	}
	return "another program"
}

// freeNear names a free port for those who have to choose one.
func freeNear(address string) string {
	host, port, err := net.SplitHostPort(address)
	n, nerr := strconv.Atoi(port)
	if err != nil || nerr != nil {
		return ""
	}
	for p := n + 1; p < min(n+100, 1<<16); p++ {
		near := net.JoinHostPort(host, strconv.Itoa(p))
		if l, err := net.Listen("tcp", near); err == nil {
			_ = l.Close() // it was only asked for
			return ": " + near + " is free"
		}
	}
	return ""
}

// usualOrFree is where an embedded server listens: nobody has chosen the usual address, so a free port does where that is taken.
func usualOrFree(address, usual string) string {
	if address != usual {
		return address
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, unix.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(usual) // a constant
		return net.JoinHostPort(host, "0")
	}
	if err == nil {
		_ = l.Close() // it was only asked for
	}
	return address
}

// stopped turns an error into nil when it is only the echo of the program's own end.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// installation names this rpmflow for engines that serve several: by the stream that is its truth.
func installation(ctx context.Context, js jetstream.JetStream) (string, error) {
	stream, err := js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return "", fmt.Errorf("stream %s: %w", events.StreamEvents, err)
	}
	return rpmflow.DeriveID("installation", stream.CachedInfo().Created.UTC().Format(time.RFC3339Nano)), nil
}

// waitForStorage waits until the bucket is there and ours, and says so while it is not, to waiting too.
func waitForStorage(ctx context.Context, store *storage.Store, log *slog.Logger, waiting func(error)) error {
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, 15*time.Second) {
		err := store.Ensure(ctx)
		if err == nil {
			return nil
		}
		waiting(err)
		log.Warn("the storage is not ready, trying again", "in", pause, "error", err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
