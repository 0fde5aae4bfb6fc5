package builderd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/hostrpm"
	"github.com/rpmflow/rpmflow/internal/build/mock"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events"
)

// Mock makes the engine mock. installation distinguishes its containers and images from those of others on the same
// container engine.
func Mock(cfg *config.Config, installation string, log *slog.Logger) (*mock.Engine, error) {
	d := cfg.Builder.Docker
	return mock.New(mock.Settings{
		Host: d.Host, CertPath: d.CertPath, Network: d.Network, Memory: int64(d.Memory), CPUs: d.CPUs,
		PIDs: int64(d.PIDs),
		Disk: int64(d.Disk), Cache: int64(d.Cache), Packages: int64(d.Packages), KeepFresh: d.KeepFresh,
		AppArmor: d.AppArmor, Archs: cfg.Builder.Archs, Installation: installation, Logger: log,
	})
}

// Installation identifies this rpmflow for a container engine that serves several: by the time at which its stream
// EVENTS was made.
func Installation(ctx context.Context, js jetstream.JetStream) (string, error) {
	stream, err := js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return "", fmt.Errorf("stream %s: %w", events.StreamEvents, err)
	}
	return rpmflow.DeriveID("installation", stream.CachedInfo().Created.UTC().Format(time.RFC3339Nano)), nil
}

// engine makes the configured engine. A server uses the host's rpmbuild only if it is configured: auto is mock.
func (p *Program) engine(ctx context.Context, js jetstream.JetStream) (build.Engine, func(), error) {
	if p.Config.Builder.Engine == config.EngineRPMBuild {
		e, err := p.hostEngine(ctx)
		return e, func() {}, err
	}
	id, err := Installation(ctx, js)
	if err != nil {
		return nil, nil, err
	}
	m, err := Mock(p.Config, id, p.Log)
	if err != nil {
		return nil, nil, err
	}
	fresh, stopFresh := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { m.KeepFresh(fresh) })
	return m, func() {
		stopFresh()
		running.Wait()
		if err := m.Shut(); err != nil {
			p.Log.Warn("connection to Docker not closed", "error", err)
		}
	}, nil
}

func (p *Program) hostEngine(ctx context.Context) (*hostrpm.Engine, error) {
	apart := hostrpm.Apart()
	e, err := hostrpm.New(ctx, apart)
	if err == nil && apart != "" {
		err = os.Chmod(p.Config.DataDir, 0o700) // the users who build may not read secrets and other builds
	}
	if err != nil {
		return nil, err
	}
	p.Log.Warn("BUILDING WITH THE HOST'S RPMBUILD, NOT IN A CLEAN ROOT", "why", hostWhy(p.HostReason))
	for _, c := range e.Caveats() {
		p.Log.Warn("what is lost by that: " + c)
	}
	return e, nil
}

func hostWhy(reason string) string {
	if reason == "" {
		return "builder.engine is rpmbuild"
	}
	return reason
}
