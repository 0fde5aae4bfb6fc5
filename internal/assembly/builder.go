package assembly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

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
	sources, err := openSources(cfg, store.Sources(), log)
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
	m, err := Docker(cfg, id, log)
	if err != nil {
		return nil, nil, err
	}
	kctx, forget := context.WithCancel(ctx)
	var kept sync.WaitGroup
	kept.Go(func() { m.KeepFresh(kctx) })
	shut := func() {
		forget()
		kept.Wait()
		shutter(m, log)()
	}
	found, missing := mockReady(ctx, m, cfg.Targets, cfg.Builder.Archs)
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
	nc, js, err := events.Dial(NATSAccess(cfg, "rpmflow targets"), log)
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

// mockReady says whether the engine mock can build any of the targets of these architectures, and what is missing for the others.
func mockReady(ctx context.Context, m *mock.Engine, targets []rpmflow.Target, archs []string) (any bool, missing error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := m.Ready(ctx); err != nil {
		return false, err
	}
	if len(targets) == 0 {
		return false, errors.New("engine mock: no targets are configured")
	}
	for _, t := range targets {
		if !slices.Contains(archs, t.Arch) {
			continue // others build for it
		}
		if _, err := m.Image(ctx, t); err != nil {
			missing = errors.Join(missing, err)
			continue
		}
		any = true
	}
	if !any && missing == nil {
		missing = fmt.Errorf("engine mock: no target is for %s, which this builder takes: define one, or set builder.archs", strings.Join(archs, ", "))
	}
	return any, missing
}

func warnHost(e *hostrpm.Engine, log *slog.Logger, why string) {
	log.Warn("BUILDING WITH THE HOST'S RPMBUILD, NOT IN A CLEAN ROOT", "why", why)
	for _, c := range e.Caveats() {
		log.Warn("what is lost by that: " + c)
	}
}
