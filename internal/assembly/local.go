package assembly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/hostrpm"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/local"
)

// Where is the root that a command without a server works in, as the user has asked for it.
type Where struct {
	Target string // a configured target, or else a configuration of mock; empty: the configured one, if there is one
	Image  string // of targets that are not configured
}

// DefaultTarget is what is taken where nobody has said or configured one.
func DefaultTarget() string { return "fedora-43-" + rpmflow.HostArch() }

// Bench is an engine and a target of it, for commands without a server.
type Bench struct {
	Engine build.Engine
	Target rpmflow.Target
	Place  *local.Place
	// Remarks say what was chosen where the user has not said it, and what that costs.
	Remarks []string
	shut    func()
	sweep   func(context.Context)
}

// Close frees connections.
func (b *Bench) Close() { b.shut() }

// Sweep removes from the container engine what commands of this user have left that were killed.
func (b *Bench) Sweep(ctx context.Context) { b.sweep(ctx) }

// NewBench chooses engine and target. What the user has named must be there; else mock is taken where it can work, and the host's
// rpm where it cannot.
func NewBench(ctx context.Context, cfg *config.Config, place *local.Place, where Where, log *slog.Logger) (*Bench, error) {
	nothing := func() {}
	b := &Bench{Place: place, shut: nothing, sweep: func(context.Context) {}}
	named := rpmflow.Target{Name: where.Target}
	if cfg.Builder.Engine == config.EngineRPMBuild || named.OnHost() && cfg.Builder.Engine == config.EngineAuto {
		return b, b.host(ctx, cfg, where.Target, "")
	}
	target, said, err := chooseTarget(cfg, where)
	if err != nil {
		return nil, err
	}
	if target.OnHost() && (where.Target == "" && cfg.Builder.Engine == config.EngineAuto) { // the only one that is configured
		return b, b.host(ctx, cfg, target.Name, "")
	}
	m, err := Docker(cfg, place.Installation(), log)
	if err != nil {
		return nil, err
	}
	shut := shutter(m, log)
	err = local.Infrastructure(m.Ready(ctx))
	if err == nil {
		err = m.Serves(ctx, target)
	}
	switch {
	case err == nil:
	case where.Target != "" || cfg.Builder.Engine == config.EngineMock:
		shut()
		return nil, fmt.Errorf("%w; without a container engine, --engine rpmbuild without -r takes the host's rpm", err)
	default:
		shut()
		return b, b.host(ctx, cfg, "", err.Error())
	}
	b.Engine, b.Target, b.shut = m, target, shut
	if said != "" {
		b.Remarks = append(b.Remarks, said)
	}
	b.sweep = func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		wanted := func(_ context.Context, id string, _ int) (bool, error) { return place.Running(id), nil }
		if err := m.Sweep(ctx, wanted); err != nil && ctx.Err() == nil {
			log.Warn("not all was removed that earlier commands have left on the container engine", "error", err)
		}
	}
	return b, nil
}

// host takes the host's rpm, for the host itself, and says why when nobody has asked for it.
func (b *Bench) host(ctx context.Context, cfg *config.Config, name, why string) error {
	b.Target = rpmflow.HostTarget()
	if name != "" {
		b.Target.Name = name
		if t, ok := cfg.Target(name); ok {
			b.Target = t
		}
	}
	if err := hostrpm.Serves(b.Target); err != nil {
		what, _ := rpmflow.Advice(err)
		return rpmflow.Advise(errors.New(what), fmt.Sprintf("say --engine mock to build for %s in containers, or leave the target out to build for this machine, %s", name, rpmflow.HostTarget().Name))
	}
	e, err := hostrpm.New(ctx, "")
	if err != nil {
		if why != "" {
			err = errors.Join(errors.New(why), err)
		}
		return err
	}
	b.Engine = e
	if why != "" {
		b.Remarks = append(b.Remarks, "no target is named (-r), and "+why+": taking the host's rpm, for "+b.Target.Name)
	}
	return nil
}

// WithoutImage says why the engine mock cannot build for a target now; nil: it can.
func WithoutImage(ctx context.Context, cfg *config.Config, t rpmflow.Target, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	m, err := Docker(cfg, "demo", log)
	if err != nil {
		return err
	}
	defer shutter(m, log)()
	if err := m.Ready(ctx); err != nil {
		return err
	}
	return m.Serves(ctx, t)
}

// chooseTarget finds the target, and says which it is when nobody has named it.
func chooseTarget(cfg *config.Config, where Where) (t rpmflow.Target, said string, err error) {
	if t, ok := cfg.Target(where.Target); ok {
		return t, "", nil
	}
	name := where.Target
	if name == "" {
		switch len(cfg.Targets) {
		case 0:
			name = DefaultTarget()
			said = "no target is named (-r) or configured: taking " + name
		case 1:
			return cfg.Targets[0], "", nil
		default:
			var names []string
			for _, t := range cfg.Targets {
				names = append(names, t.Name)
			}
			return t, "", fmt.Errorf("several targets are configured: name one of them with -r: %s", strings.Join(names, ", "))
		}
	}
	t = rpmflow.Target{Name: name, Config: name, Image: where.Image, MaxAge: 10 * time.Minute}
	if strings.HasSuffix(name, ".cfg") {
		if t.Config, err = filepath.Abs(name); err != nil {
			return t, "", fmt.Errorf("-r %s: %w", name, err)
		}
		t.Name = strings.TrimSuffix(filepath.Base(name), ".cfg")
	}
	if err := rpmflow.CheckTargetName(t.Name); err != nil {
		return t, "", fmt.Errorf("-r %s: %w", name, err)
	}
	t.Arch = rpmflow.ArchOf(t.Name)
	return t, said, nil
}
