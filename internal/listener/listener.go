// Package listener receives pushes and submissions over HTTP, answers questions about builds, and queues the builds.
//
// HTTP requests come in; stored pushes, queued builds, records, logs and artifacts go out. cmd/listener and `rpmflow
// up` start it; any number of replicas may run, and each of them can be killed at any time.
package listener

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/listener/dispatch"
	"github.com/rpmflow/rpmflow/internal/listener/plan"
	"github.com/rpmflow/rpmflow/internal/listener/projection"
	"github.com/rpmflow/rpmflow/internal/retry"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Options of a listener. The configuration has checked the values.
type Options struct {
	PublicURL      string
	ReposURL       string // of the dnf repositories, without a slash at its end
	Token          string // of those who submit builds; empty: only a listener on a loopback address takes submissions
	MaxBody        int64  // bytes
	MaxUpload      int64  // bytes of a source package
	RequestTimeout time.Duration
	DataDir        string
	Projects       []rpmflow.Project
	Targets        []rpmflow.Target
	Repositories   plan.Repositories // nil: which files a push has changed is known from its delivery only
	Version        string
	Logger         *slog.Logger
}

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
	storage   *storage.Store
	loopback  bool
	socket    net.Listener
	requests  *httpd.Site
	planner   *plan.Planner
	uploading chan struct{} // slots of those who upload source packages

	stopping   context.Context // the context of Run: with it streams end, while other requests are still answered
	projection *projection.Projection
}

// New opens the read model. Requests on the socket are answered while Run runs, which closes it.
func New(ctx context.Context, o Options, socket net.Listener, nc *nats.Conn, js jetstream.JetStream,
	store *storage.Store, resolve plan.Resolver) (_ *Listener, err error) {
	l := &Listener{o: o, log: o.Logger, nc: nc, js: js, storage: store, socket: socket,
		uploading: make(chan struct{}, maxUploads)}
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
	if l.projection, err = projection.Open(ctx, js, o.DataDir); err != nil {
		return nil, err
	}
	if err := l.sweepUploads(); err != nil {
		return nil, errors.Join(err, l.projection.Model.Close())
	}
	l.loopback = httpd.OnLoopback(l.socket)
	if l.requests, err = l.site(); err != nil {
		return nil, errors.Join(err, l.projection.Model.Close())
	}
	l.planner = plan.New(plan.Options{
		Projects: o.Projects, Targets: o.Targets, Repositories: o.Repositories, Resolve: resolve,
		Wait:   o.RequestTimeout / 2,
		Logger: o.Logger,
	})
	return l, nil
}

// Run serves until ctx ends, then lets requests in progress end and closes everything.
func (l *Listener) Run(ctx context.Context) error {
	l.stopping = ctx
	defer context.AfterFunc(ctx, l.planner.Stop)()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return httpd.Serve(gctx, l.socket, l.requests, limits(), l.log) })
	d := dispatch.Dispatcher{Pushes: l.pushes, Ledger: l.ledger, Queue: l.queue, Logger: l.log}
	for name, run := range map[string]func(context.Context) error{
		"dispatcher":       d.Run,
		"reader of events": l.projection.Hub.Run,
		"read model":       l.projection.Run,
	} {
		g.Go(func() error { l.persist(gctx, name, run); return nil })
	}
	l.log.Info("listening", "address", l.socket.Addr().String(), "url", l.o.PublicURL, "projects", len(l.o.Projects),
		"version", l.o.Version)
	err := g.Wait()
	l.planner.Close()
	return errors.Join(err, l.projection.Model.Close())
}

// persist runs f again when it fails, until ctx ends.
func (l *Listener) persist(ctx context.Context, name string, f func(context.Context) error) {
	for {
		err := f(ctx)
		if ctx.Err() != nil {
			return
		}
		l.log.Warn(name+" interrupted, starting again", "error", err)
		retry.Sleep(ctx, retry.Policy{First: time.Second}.Pause(1))
	}
}
