// Package builderd is the builder as a program: from a configuration to a builder with its engine that takes builds.
//
// A checked configuration and a logger come in; a program that runs until its context ends, and the checks of what it
// needs, go out. Its command, `rpmflow up`, the commands that use an engine, and tests import it.
package builderd

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/builder"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/machine"
	"github.com/rpmflow/rpmflow/internal/retry"
	"github.com/rpmflow/rpmflow/internal/source"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Program is a builder. Its fields are set before Run.
type Program struct {
	Config *config.Config
	Log    *slog.Logger
	// HostReason says why the host's rpmbuild builds, if the configuration has engine rpmbuild; empty: because
	// builder.engine is set to it.
	HostReason string
}

// Run connects and builds until ctx ends and the running builds with it. When hard ends, these are handed back at once.
func (p *Program) Run(ctx, hard context.Context) error {
	cfg, log := p.Config, p.Log
	if err := cfg.CheckBuilder(); err != nil {
		return err
	}
	if _, err := machine.DataDir(cfg.DataDir); err != nil {
		return err
	}
	status := builder.NewStatus()
	if cfg.Builder.StatusListen != "" {
		stop, err := status.Listen(cfg.Builder.StatusListen, log)
		if err != nil {
			return err
		}
		defer stop()
	}
	store, err := connect.Storage(cfg, log)
	if err != nil {
		return err
	}
	defer store.Close()
	sources, err := connect.Sources(cfg, store.Sources(), store.Uploads(), log)
	if err != nil {
		return err
	}
	defer sources.Close()
	b, disconnect, err := p.connect(ctx, status, store, sources)
	if err != nil {
		if ctx.Err() != nil { // it was stopped before it had started: not an error
			return nil
		}
		return err
	}
	defer disconnect()
	return b.Run(ctx, hard)
}

// connect waits for NATS and the storage, then starts the engine.
func (p *Program) connect(
	ctx context.Context, status *builder.Status, store *storage.Store, sources *source.Store,
) (*builder.Builder, func(), error) {
	cfg, log := p.Config, p.Log
	access := connect.NATS(cfg, "rpmflow builder "+cfg.Builder.Name)
	access.Role, access.Waiting = rpmflow.RoleBuilder, status.WaitingFor(builder.ReasonNATS)
	nc, js, err := events.Attach(ctx, access, log)
	if err != nil {
		return nil, nil, err
	}
	if err := waitForStorage(ctx, store, log, status.WaitingFor(builder.ReasonStorage)); err != nil {
		nc.Close()
		return nil, nil, err
	}
	engine, closeEngine, err := p.engine(ctx, js)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	disconnect := func() {
		closeEngine()
		nc.Close()
	}
	b, err := p.builder(ctx, status, store, sources, engine, nc, js)
	if err != nil {
		disconnect()
		return nil, nil, err
	}
	return b, disconnect, nil
}

func (p *Program) builder(
	ctx context.Context, status *builder.Status, store *storage.Store, sources *source.Store, engine build.Engine,
	nc *nats.Conn, js jetstream.JetStream,
) (*builder.Builder, error) {
	cfg, c := p.Config, p.Config.Builder
	runner := &build.Runner{
		Engine: engine, Sources: sources, Store: store, URL: artifactURL(cfg, store),
		RepositoriesURL: cfg.RepositoriesURL(), MaxOutput: int64(c.MaxOutput), Logger: p.Log,
	}
	capacity := NewCapacity(cfg, engine)
	status.Levels(capacity.Levels)
	return builder.New(ctx, builder.Options{
		Name: c.Name, Archs: c.Archs, Targets: cfg.Targets, Jobs: c.Jobs, DrainTime: c.DrainTime, Poll: c.Poll,
		AckWait: c.AckWait, RetryDelay: c.RetryDelay, MaxFailures: c.MaxFailures, DataDir: cfg.DataDir, Logger: p.Log,
		Room: func() error { return capacity.Check(ctx) }, Status: status,
	}, nc, js, runner, store)
}

// artifactURL returns the address under which users fetch an object: the bucket's own if it is public, else the
// listener's.
func artifactURL(cfg *config.Config, store *storage.Store) func(string) string {
	if cfg.S3.PublicURL != nil {
		return store.URL
	}
	base := cfg.PublicURL.JoinPath("artifacts")
	return func(key string) string { return base.JoinPath(key).String() }
}

// waitForStorage waits until the bucket exists and belongs to this installation. It calls waiting with the reason while
// it is not ready.
func waitForStorage(ctx context.Context, store *storage.Store, log *slog.Logger, waiting func(error)) error {
	policy := retry.Policy{First: 500 * time.Millisecond, Most: 15 * time.Second}
	policy.Notify = func(err error, pause time.Duration) {
		waiting(err)
		log.Warn("the storage is not ready, trying again", "in", pause, "error", err)
	}
	return policy.Do(ctx, func() error { return store.Ensure(ctx) })
}
