package builderd

import (
	"context"
	"errors"
	"log/slog"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/hostrpm"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/machine"
	"github.com/rpmflow/rpmflow/internal/ready"
	"github.com/rpmflow/rpmflow/internal/source"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Checks are those of what a builder with this configuration needs. hostReason is that of BuildChecks.
func Checks(cfg *config.Config, hostReason string) []doctor.Check {
	access := connect.NATS(cfg, "rpmflow doctor")
	access.Role = rpmflow.RoleBuilder
	return append([]doctor.Check{
		cfg.Check,
		machine.CheckDataDir(cfg.DataDir, NewCapacity(cfg, nil).Check),
		access.Check,
		storage.Check(connect.S3(cfg, slog.New(slog.DiscardHandler)), true),
		checkStatus(cfg),
	}, BuildChecks(cfg, hostReason)...)
}

// StatusAddress is where the builder on this machine answers about itself.
func StatusAddress(cfg *config.Config) (string, error) {
	if cfg.Builder.StatusListen == "" {
		return "", hint.Add(errors.New("builder.status_listen is empty, so the builder cannot be asked"),
			"set it, such as 127.0.0.1:8081")
	}
	return cfg.Builder.StatusListen, nil
}

// checkStatus asks the builder that runs on this machine.
func checkStatus(cfg *config.Config) doctor.Check {
	address, err := StatusAddress(cfg)
	return ready.CheckHere(string(config.ForBuilder), address, err)
}

// BuildChecks are those of what builds need on the machine where they run. hostReason says why the host's rpmbuild is
// used; empty: because builder.engine is set to it.
func BuildChecks(cfg *config.Config, hostReason string) []doctor.Check {
	return []doctor.Check{cfg.CheckTargets, source.CheckGit, checkEngine(cfg, hostReason), checkPublished(cfg)}
}

// checkPublished asks for what builds of a project will use if use_own_repository is set.
func checkPublished(cfg *config.Config) doctor.Check {
	return func(ctx context.Context, f *doctor.Findings) {
		for _, p := range cfg.Projects {
			if !p.Options.UseOwnRepository || len(p.Targets) == 0 {
				continue
			}
			name := "repository of " + p.Name
			at := build.PublishedURL(cfg.RepositoriesURL(), p.Name, p.Targets[0])
			revision, err := build.CurrentRevision(ctx, at)
			switch {
			case errors.Is(err, build.ErrNotPublished):
				f.OK(name, "nothing is published at %s yet", at)
			case err != nil:
				f.Error(name, doctor.Failed, err)
			default:
				f.OK(name, "builds use %s", revision)
			}
		}
	}
}

func checkEngine(cfg *config.Config, reason string) doctor.Check {
	return func(ctx context.Context, f *doctor.Findings) {
		if cfg.Builder.Engine == config.EngineRPMBuild {
			hostrpm.Check(hostWhy(reason))(ctx, f)
			hostrpm.CheckTargets(cfg.Targets, cfg.Builder.Archs)(ctx, f)
			return
		}
		m, err := Mock(cfg, "doctor", slog.New(slog.DiscardHandler))
		if err != nil {
			f.Error("container engine", doctor.Failed, err)
			return
		}
		defer func() { _ = m.Shut() }() // it was only asked
		err = m.Ready(ctx)
		// Without a server and targets, local builds go on with the host's rpmbuild.
		if err != nil && cfg.Builder.Engine == config.EngineAuto && len(cfg.Targets) == 0 {
			f.Error("container engine", doctor.Warning, err)
			hostrpm.Check("the container engine cannot be used, and local builds without a target go on without "+
				"it")(ctx, f)
			return
		}
		m.Check(ctx, f, cfg.Targets, cfg.Projects, cfg.RepositoriesURL())
	}
}
