package main

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
	"github.com/rpmflow/rpmflow/internal/build/mock"
	"github.com/rpmflow/rpmflow/internal/builderd"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/local"
	"github.com/rpmflow/rpmflow/internal/osrelease"
)

// targetChoice is the target that the user has named for a command without a server.
type targetChoice struct {
	target string // a configured target, or else a configuration of mock; empty: the configured one, if there is one
	image  string // of targets that are not configured
}

// defaultTarget is used if none is named or configured.
func defaultTarget() string { return "fedora-43-" + rpmflow.HostArch() }

// workplace is an engine and a target of it, for commands without a server.
type workplace struct {
	Engine build.Engine
	Target rpmflow.Target
	Place  *local.Place
	// Remarks say what was chosen if the user has not chosen, and what that costs.
	Remarks []string
	// Close frees connections.
	Close func()
	// Sweep removes from the container engine what killed commands of this user have left.
	Sweep func(context.Context)
}

// newWorkplace chooses engine and target. What the user has named must exist; else mock is used if it can work, and
// the host's rpm if it cannot.
func newWorkplace(
	ctx context.Context, cfg *config.Config, place *local.Place, where targetChoice, log *slog.Logger,
) (*workplace, error) {
	b := &workplace{Place: place, Close: func() {}, Sweep: func(context.Context) {}}
	named := rpmflow.Target{Name: where.target}
	if cfg.Builder.Engine == config.EngineRPMBuild || named.OnHost() && cfg.Builder.Engine == config.EngineAuto {
		return b, b.host(ctx, cfg, where.target, "")
	}
	target, said, err := chooseTarget(cfg, where)
	if err != nil {
		return nil, err
	}
	// the only one that is configured
	if target.OnHost() && (where.target == "" && cfg.Builder.Engine == config.EngineAuto) {
		return b, b.host(ctx, cfg, target.Name, "")
	}
	m, err := builderd.Mock(cfg, place.Installation(), log)
	if err != nil {
		return nil, err
	}
	shut := func() { closeMock(m, log) }
	err = local.Infrastructure(m.Ready(ctx))
	if err == nil {
		err = m.Serves(ctx, target)
	}
	switch {
	case err == nil:
	case where.target != "" || cfg.Builder.Engine == config.EngineMock:
		shut()
		return nil, fmt.Errorf("%w; without a container engine, --engine rpmbuild without -r uses the host's rpm", err)
	default:
		shut()
		return b, b.host(ctx, cfg, "", err.Error())
	}
	b.Engine, b.Target, b.Close = m, target, shut
	if said != "" {
		b.Remarks = append(b.Remarks, said)
	}
	b.Sweep = func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		wanted := func(_ context.Context, id string, _ int) (bool, error) { return place.Running(id), nil }
		if err := m.Sweep(ctx, wanted); err != nil && ctx.Err() == nil {
			log.Warn("not all was removed that earlier commands have left on the container engine", "error", err)
		}
	}
	return b, nil
}

// host uses the host's rpm, for the host itself. why is set when the user has not asked for it.
func (b *workplace) host(ctx context.Context, cfg *config.Config, name, why string) error {
	b.Target = rpmflow.HostTarget(osrelease.Read())
	if name != "" {
		b.Target.Name = name
		if t, ok := cfg.Target(name); ok {
			b.Target = t
		}
	}
	if err := hostrpm.Serves(b.Target); err != nil {
		what, _ := hint.Split(err)
		return hint.Add(errors.New(what), fmt.Sprintf("use --engine mock to build for %s in containers, "+
			"or leave the target out to build for this machine, %s", name, rpmflow.HostTarget(osrelease.Read()).Name))
	}
	e, err := hostrpm.New(ctx, "")
	switch {
	case err != nil && why != "":
		return errors.Join(errors.New(why), err)
	case err != nil:
		return err
	}
	b.Engine = e
	if why != "" {
		b.Remarks = append(b.Remarks, "no target is named (-r), and "+why+": using the host's rpm, for "+b.Target.Name)
	}
	return nil
}

// cannotUseMock returns why the engine mock cannot build for a target now; nil: it can.
func cannotUseMock(ctx context.Context, cfg *config.Config, t rpmflow.Target, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	m, err := builderd.Mock(cfg, "demo", log)
	if err != nil {
		return err
	}
	defer closeMock(m, log)
	if err := m.Ready(ctx); err != nil {
		return err
	}
	return m.Serves(ctx, t)
}

// installedMock is the engine mock of this installation, which NATS identifies.
func installedMock(ctx context.Context, cfg *config.Config, log *slog.Logger) (*mock.Engine, error) {
	nc, js, err := events.Dial(connect.NATS(cfg, "rpmflow images"), log)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	id, err := builderd.Installation(ctx, js)
	if err != nil {
		return nil, err
	}
	return builderd.Mock(cfg, id, log)
}

func closeMock(m *mock.Engine, log *slog.Logger) {
	if err := m.Shut(); err != nil {
		log.Warn("connection to Docker not closed", "error", err)
	}
}

func targetNames(cfg *config.Config) (names []string) {
	for _, t := range cfg.Targets {
		names = append(names, t.Name)
	}
	return names
}

// chooseTarget finds the target. said names it when the user has not.
func chooseTarget(cfg *config.Config, where targetChoice) (t rpmflow.Target, said string, err error) {
	if t, ok := cfg.Target(where.target); ok {
		return t, "", nil
	}
	name := where.target
	if name == "" {
		switch len(cfg.Targets) {
		case 0:
			name = defaultTarget()
			said = "no target is named (-r) or configured: using " + name
		case 1:
			return cfg.Targets[0], "", nil
		default:
			return t, "", hint.Add(errors.New("several targets are configured"),
				"name one of them with -r: "+strings.Join(targetNames(cfg), ", "))
		}
	}
	t = rpmflow.Target{Name: name, Config: name, Image: where.image, MaxAge: 10 * time.Minute}
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
