package assembly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/hostrpm"
	"github.com/rpmflow/rpmflow/internal/build/mock"
	"github.com/rpmflow/rpmflow/internal/builder"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/source"
)

// RunBuilder connects and builds until ctx ends and the build in hand with it; when hard ends, that build is handed back at once.
func RunBuilder(ctx, hard context.Context, cfg *config.Config, log *slog.Logger) error {
	if err := cfg.CheckBuilder(); err != nil {
		return err
	}
	store, err := Storage(cfg, log)
	if err != nil {
		return err
	}
	defer store.Close()
	sources, err := source.Open(source.Options{Dir: filepath.Join(cfg.DataDir, "mirrors"), Logger: log})
	if err != nil {
		return err
	}
	nc, js, err := events.Connect(ctx, NATSAccess(cfg, "rpmflow builder "+cfg.Builder.Name), log)
	if err != nil {
		return stopped(ctx, err)
	}
	defer nc.Close()
	if err := waitForStorage(ctx, store, log); err != nil {
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
	b, err := builder.New(ctx, builder.Options{
		Name: cfg.Builder.Name, Archs: cfg.Builder.Archs, Targets: cfg.Targets, DrainTime: cfg.Builder.DrainTime, Poll: cfg.Builder.Poll, AckWait: cfg.Builder.AckWait,
		RetryDelay: cfg.Builder.RetryDelay, MaxFailures: cfg.Builder.MaxFailures, DataDir: cfg.DataDir, Logger: log,
		Room: func() error { return Room(cfg.DataDir) },
	}, nc, js, runner, store)
	if err != nil {
		return stopped(ctx, err)
	}
	return b.Run(ctx, hard)
}

// chooseEngine makes the engine that is asked for; auto takes mock where it can work, and says loudly when it cannot.
func chooseEngine(ctx context.Context, cfg *config.Config, js jetstream.JetStream, log *slog.Logger) (build.Engine, func(), error) {
	nothing := func() {}
	if cfg.Builder.Engine == config.EngineRPMBuild {
		e, err := hostrpm.New(ctx)
		if err != nil {
			return nil, nil, err
		}
		warnHost(e, log, "builder.engine says so")
		return e, nothing, nil
	}
	id, err := installation(ctx, js)
	if err != nil {
		return nil, nil, err
	}
	m, shut, err := newMock(cfg, id, log)
	if err != nil {
		return nil, nil, err
	}
	found, missing := mockReady(ctx, m, cfg.Targets)
	if cfg.Builder.Engine == config.EngineMock || (found && missing == nil) {
		if missing != nil { // the builder waits for Docker, and a build for its image
			log.Warn("not all targets can be built now", "error", missing)
		}
		return m, shut, nil
	}
	if found {
		log.Warn("not all targets can be built", "error", missing)
		return m, shut, nil
	}
	shut()
	host, err := hostrpm.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("no engine can work: %w", errors.Join(missing, err))
	}
	warnHost(host, log, missing.Error())
	return host, nothing, nil
}

func newMock(cfg *config.Config, installation string, log *slog.Logger) (*mock.Engine, func(), error) {
	d := cfg.Builder.Docker
	m, err := mock.New(mock.Settings{
		Host: d.Host, Network: d.Network, Memory: int64(d.Memory), CPUs: d.CPUs, PIDs: int64(d.PIDs), AppArmor: d.AppArmor, Cache: int64(d.Cache),
		Installation: installation, Logger: log,
	})
	if err != nil {
		return nil, nil, err
	}
	return m, func() {
		if err := m.Shut(); err != nil {
			log.Warn("connection to Docker not closed", "error", err)
		}
	}, nil
}

// MockEngine and SharedImage are the engine mock and the images that it keeps, for commands that look after them.
type (
	MockEngine  = mock.Engine
	SharedImage = mock.Kept
)

// Mock is the engine mock of this installation; which one that is, NATS knows.
func Mock(ctx context.Context, cfg *config.Config, log *slog.Logger) (*MockEngine, func(), error) {
	nc, js, err := events.Dial(NATSAccess(cfg, "rpmflow targets"), log)
	if err != nil {
		return nil, nil, err
	}
	defer nc.Close()
	id, err := installation(ctx, js)
	if err != nil {
		return nil, nil, err
	}
	return newMock(cfg, id, log)
}

// mockReady says whether the engine mock can build any of the targets, and what is missing for the others.
func mockReady(ctx context.Context, m *mock.Engine, targets []rpmflow.Target) (any bool, missing error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := m.Ready(ctx); err != nil {
		return false, err
	}
	if len(targets) == 0 {
		return false, errors.New("engine mock: no targets are configured")
	}
	for _, t := range targets {
		if _, err := m.Image(ctx, t); err != nil {
			missing = errors.Join(missing, err)
			continue
		}
		any = true
	}
	return any, missing
}

func warnHost(e *hostrpm.Engine, log *slog.Logger, why string) {
	log.Warn("BUILDING WITH THE HOST'S RPMBUILD, NOT IN A CLEAN ROOT", "why", why)
	for _, c := range e.Caveats() {
		log.Warn("what is lost by that: " + c)
	}
}
