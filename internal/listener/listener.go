// Package listener is the door of the system: it takes pushes from forges and from users, answers what is known about
// builds, and derives the build messages from the pushes.
//
// HTTP requests come in; stored pushes, queued builds, records, logs and artifacts go out. cmd/listener and `rpmflow up`
// start it; any number of replicas may run, and each of them can be killed at any time.
package listener

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/readmodel"
	"github.com/rpmflow/rpmflow/internal/retry"
	"github.com/rpmflow/rpmflow/internal/source"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Options of a listener; all of them are valid values, checked by the configuration.
type Options struct {
	PublicURL      string
	Token          string // of those who submit builds; empty: only a listener on a loopback address takes submissions
	MaxBody        int64  // bytes
	MaxUpload      int64  // bytes of a source package
	Uploads        Uploads
	RequestTimeout time.Duration
	DataDir        string
	Projects       []rpmflow.Project
	Targets        []rpmflow.Target
	Repositories   Repositories // nil: which files a push has changed is known from its delivery only
	Version        string
	Logger         *slog.Logger
}

// Artifacts is where stored files are read from.
type Artifacts interface {
	Open(ctx context.Context, key string) (io.ReadCloser, storage.Info, error)
	Healthy(ctx context.Context) error
}

// Repositories are looked at where a delivery does not tell what a push has changed.
type Repositories interface {
	Changed(ctx context.Context, req source.Request, before string) ([]string, error)
	SourcePackages(ctx context.Context, req source.Request) ([]source.SRPMFile, error)
	Absent(ctx context.Context, req source.Request, packages []rpmflow.PackageSource) (map[string]string, error)
}

// Resolver finds out which commit a ref of a repository names.
type Resolver func(ctx context.Context, url, ref string) (fullRef, commit string, err error)

// Listener is the running program.
type Listener struct {
	o         Options
	log       *slog.Logger
	nc        *nats.Conn
	js        jetstream.JetStream
	pushes    *events.Pushes
	ledger    *events.Ledger
	queue     *events.Queue
	logs      *events.Logs
	artifacts Artifacts
	resolve   Resolver
	loopback  bool
	socket    net.Listener
	requests  *httpd.Site
	looking   map[string]chan struct{} // slots of those who look at a project's repository
	looks     sync.WaitGroup
	uploading chan struct{} // slots of those who upload source packages

	stopping context.Context // ends when Run is told to: streams end then, other requests in hand are answered
	model    *readmodel.Model
	position uint64
	caughtUp atomic.Bool
}

// New opens the read model; requests on the socket are answered once Run runs, which closes it.
func New(ctx context.Context, o Options, socket net.Listener, nc *nats.Conn, js jetstream.JetStream, artifacts Artifacts, resolve Resolver) (_ *Listener, err error) {
	l := &Listener{o: o, log: o.Logger, nc: nc, js: js, artifacts: artifacts, resolve: resolve, socket: socket, looking: map[string]chan struct{}{}, uploading: make(chan struct{}, maxUploads)}
	for _, p := range o.Projects {
		l.looking[p.Name] = make(chan struct{}, maxLooks)
	}
	if l.pushes, err = events.NewPushes(ctx, js); err != nil {
		return nil, err
	}
	if l.ledger, err = events.NewLedger(ctx, js); err != nil {
		return nil, err
	}
	if l.queue, err = events.NewQueue(ctx, nc, js, time.Minute); err != nil {
		return nil, err
	}
	if l.logs, err = events.NewLogs(nc, l.log); err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", events.StreamEvents, err)
	}
	identity := events.StreamEvents + " " + stream.CachedInfo().Created.UTC().Format(time.RFC3339Nano)
	if l.model, l.position, err = readmodel.Open(filepath.Join(o.DataDir, "listener"), identity); err != nil {
		return nil, err
	}
	if err := l.sweepUploads(); err != nil {
		return nil, errors.Join(err, l.model.Close())
	}
	l.loopback = httpd.OnLoopback(l.socket)
	if l.requests, err = l.site(); err != nil {
		return nil, errors.Join(err, l.model.Close())
	}
	return l, nil
}

// Run serves until ctx ends, then lets requests in hand end and closes everything.
func (l *Listener) Run(ctx context.Context) error {
	l.stopping = ctx
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return httpd.Serve(gctx, l.socket, l.requests, limits(), l.log) })
	g.Go(func() error {
		return l.persist(gctx, "dispatcher", func() error { return l.pushes.Each(gctx, l.log, l.dispatch) })
	})
	g.Go(func() error { return l.persist(gctx, "read model", func() error { return l.replay(gctx) }) })
	l.log.Info("listening", "address", l.socket.Addr().String(), "url", l.o.PublicURL, "projects", len(l.o.Projects), "version", l.o.Version)
	err := g.Wait()
	l.looks.Wait()
	return errors.Join(err, l.model.Close())
}

// persist runs f again whenever it fails, until ctx ends.
func (l *Listener) persist(ctx context.Context, what string, f func() error) error {
	for {
		err := f()
		if ctx.Err() != nil {
			return nil
		}
		l.log.Warn(what+" interrupted, beginning again", "error", err)
		retry.Sleep(ctx, retry.Policy{First: time.Second}.Pause(1))
	}
}

func (l *Listener) replay(ctx context.Context) error {
	return events.Replay(ctx, l.js, l.position, func() { l.caughtUp.Store(true) }, func(e events.Event) error {
		if err := l.model.Apply(ctx, e.Sequence, e.Build); err != nil {
			return err
		}
		l.position = e.Sequence
		return nil
	})
}

// dispatch derives the queued events and the build messages from a push. It is repeated until it has succeeded, so each
// step must do nothing where it was done before.
func (l *Listener) dispatch(ctx context.Context, p rpmflow.Push) error {
	for _, b := range p.Builds {
		_, err := l.ledger.Append(ctx, events.TypeQueued, b, 0)
		if errors.Is(err, events.ErrLost) {
			last, err := l.ledger.Last(ctx, b)
			if err != nil {
				return err
			}
			if last.Build.State != rpmflow.Queued || last.Build.Attempt > 0 || last.Build.InfrastructureFailures > 0 {
				continue // a builder has had it already
			}
		} else if err != nil {
			return err
		}
		if err := l.queue.Enqueue(ctx, b, time.Time{}); err != nil {
			return err
		}
		l.log.Info("build queued", "project", b.Project, "target", b.Target, "build", b.ID, "push", p.ID)
	}
	return nil
}
