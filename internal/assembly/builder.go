package assembly

import (
	"context"
	"log/slog"
	"os"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/hostrpm"
	"github.com/rpmflow/rpmflow/internal/build/mock"
	"github.com/rpmflow/rpmflow/internal/builder"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events"
)

// RunBuilder connects and builds until ctx ends and the builds in hand with it; when hard ends, those are handed back at once.
func RunBuilder(ctx, hard context.Context, cfg *config.Config, log *slog.Logger) error {
	if err := cfg.CheckBuilder(); err != nil {
		return err
	}
	if _, err := DataDir(cfg.DataDir); err != nil {
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
	store, err := Storage(cfg, log)
	if err != nil {
		return err
	}
	defer store.Close()
	sources, err := openSources(cfg, store.Sources(), store.Uploads(), log)
	if err != nil {
		return err
	}
	defer sources.Close()
	access := NATSAccess(cfg, "rpmflow builder "+cfg.Builder.Name)
	access.Role, access.Waiting = rpmflow.RoleBuilder, status.WaitingFor(builder.ReasonNATS)
	nc, js, err := events.Attach(ctx, access, log)
	if err != nil {
		return stopped(ctx, err)
	}
	defer nc.Close()
	if err := waitForStorage(ctx, store, log, status.WaitingFor(builder.ReasonStorage)); err != nil {
		return stopped(ctx, err)
	}
	engine, shut, err := chooseEngine(ctx, cfg, js, log)
	if err != nil {
		return stopped(ctx, err)
	}
	defer shut()
	runner := &build.Runner{
		Engine: engine, Sources: sources, Store: store, Repository: repositories(cfg), URL: artifactURL(cfg, store),
		MaxOutput: int64(cfg.Builder.MaxOutput), Logger: log,
	}
	floors := NewFloors(cfg, engine)
	status.Levels(floors.Levels)
	b, err := builder.New(ctx, builder.Options{
		Name: cfg.Builder.Name, Archs: cfg.Builder.Archs, Targets: cfg.Targets, Jobs: cfg.Builder.Jobs, DrainTime: cfg.Builder.DrainTime, Poll: cfg.Builder.Poll, AckWait: cfg.Builder.AckWait,
		RetryDelay: cfg.Builder.RetryDelay, MaxFailures: cfg.Builder.MaxFailures, DataDir: cfg.DataDir, Logger: log,
		Room: func() error { return floors.Room(ctx) }, Status: status,
	}, nc, js, runner, store)
	if err != nil {
		return stopped(ctx, err)
	}
	return b.Run(ctx, hard)
}

// chooseEngine makes the engine that is asked for. A server never takes the host's rpmbuild unless it is told to: auto is mock.
func chooseEngine(ctx context.Context, cfg *config.Config, js jetstream.JetStream, log *slog.Logger) (build.Engine, func(), error) {
	if cfg.Builder.Engine == config.EngineRPMBuild {
		apart := hostrpm.Apart()
		e, err := hostrpm.New(ctx, apart)
		if err == nil && apart != "" {
			err = os.Chmod(cfg.DataDir, 0o700) // secrets and other builds are nothing for the users who build
		}
		if err != nil {
			return nil, nil, err
		}
		warnHost(e, log)
		return e, func() {}, nil
	}
	id, err := installation(ctx, js)
	if err != nil {
		return nil, nil, err
	}
	m, err := Docker(cfg, id, log)
	if err != nil {
		return nil, nil, err
	}
	kctx, forget := context.WithCancel(ctx)
	var kept sync.WaitGroup
	kept.Go(func() { m.KeepFresh(kctx) })
	return m, func() {
		forget()
		kept.Wait()
		shutter(m, log)()
	}, nil
}

// Docker is the way to the container engine.
func Docker(cfg *config.Config, installation string, log *slog.Logger) (*mock.Engine, error) {
	d := cfg.Builder.Docker
	return mock.New(mock.Settings{
		Host: d.Host, CertPath: d.CertPath, Network: d.Network, Memory: int64(d.Memory), CPUs: d.CPUs, PIDs: int64(d.PIDs), Disk: int64(d.Disk), Cache: int64(d.Cache), Packages: int64(d.Packages), KeepFresh: d.KeepFresh,
		AppArmor: d.AppArmor, Archs: cfg.Builder.Archs, Installation: installation, Logger: log,
	})
}

func shutter(m *mock.Engine, log *slog.Logger) func() {
	return func() {
		if err := m.Shut(); err != nil {
			log.Warn("connection to Docker not closed", "error", err)
		}
	}
}

// MockEngine is the engine mock, for commands that look after its images.
type MockEngine = mock.Engine

// SharedImage is one of the images that the engine keeps.
type SharedImage = mock.Kept

// Mock is the engine mock of this installation; which one that is, NATS knows.
func Mock(ctx context.Context, cfg *config.Config, log *slog.Logger) (*MockEngine, func(), error) {
	nc, js, err := events.Dial(NATSAccess(cfg, "rpmflow images"), log)
	if err != nil {
		return nil, nil, err
	}
	defer nc.Close()
	id, err := installation(ctx, js)
	if err != nil {
		return nil, nil, err
	}
	m, err := Docker(cfg, id, log)
	if err != nil {
		return nil, nil, err
	}
	return m, shutter(m, log), nil
}

func warnHost(e *hostrpm.Engine, log *slog.Logger) {
	log.Warn("BUILDING WITH THE HOST'S RPMBUILD, NOT IN A CLEAN ROOT", "why", "builder.engine says so")
	for _, c := range e.Caveats() {
		log.Warn("what is lost by that: " + c)
	}
}
