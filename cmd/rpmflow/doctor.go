package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/builderd"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/listenerd"
	"github.com/rpmflow/rpmflow/internal/publisherd"
	"github.com/rpmflow/rpmflow/internal/up"
)

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:       "doctor [listener|builder|publisher]",
		Short:     "Check everything that the system needs, and print what to do about what is missing",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{string(config.ForListener), string(config.ForBuilder), string(config.ForPublisher)},
		Long: `Doctor checks configuration, data directory, NATS, S3, the listener, the signing key and the container
engine, as seen from this machine. It prints a line for each check and what to do about it. With an argument it checks
what that program needs, with that program's rights. Without one it checks everything, and what only a builder or a
publisher needs is a warning. It exits with 1 if something has failed.`,
		Example: "  rpmflow doctor\n  rpmflow doctor builder --json",
	}
	cli.ConfigFlags(cmd, "", "nats", "s3", "listener", "builder", "publisher")
	cli.JSONFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		program, name := config.ForOperator, ""
		if len(args) > 0 {
			program, name = config.Program(args[0]), args[0]
		}
		return cli.Doctor(cmd, name, func() ([]doctor.Check, error) {
			cfg, hostReason, err := doctorConfig(cmd, program)
			switch {
			case err != nil:
				return nil, err
			case program == config.ForListener:
				return listenerd.Checks(cfg), nil
			case program == config.ForBuilder:
				return builderd.Checks(cfg, hostReason), nil
			case program == config.ForPublisher:
				return publisherd.Checks(cfg), nil
			}
			return up.Checks(cfg, hostReason), nil
		})
	}
	return cmd
}

// doctorConfig is the program's configuration. If `rpmflow up` runs in the data directory, its servers and its engine
// are checked; hostReason is set when the configuration has another engine.
func doctorConfig(cmd *cobra.Command, program config.Program) (cfg *config.Config, hostReason string, err error) {
	cfg, err = cli.Load(cmd, program)
	if err != nil {
		return nil, "", err
	}
	file := cmp.Or(cfg.File, "no file rpmflow.yaml, defaults and environment only")
	running, err := runningConfig(cmd, cfg.DataDir, program)
	switch {
	case err != nil:
		return nil, "", err
	case running == nil:
		cfg.File = fmt.Sprintf("%s; no `rpmflow up` runs in %s (name that of another directory with --config "+
			"DATA_DIR/%s)", file, fromHere(cfg.DataDir), up.ClientFile)
		return cfg, "", nil
	}
	cfg.File = fmt.Sprintf("%s; and that of the `rpmflow up` that runs in %s", file, fromHere(cfg.DataDir))
	cfg.NATS, cfg.S3 = running.NATS, running.S3
	cfg.PublicURL, cfg.Listener.Listen = running.PublicURL, running.PublicURL.Host
	if cfg.Builder.Engine != running.Builder.Engine {
		hostReason = fmt.Sprintf("the `rpmflow up` that runs in %s was started with it, or found no image to build in",
			fromHere(cfg.DataDir))
	}
	cfg.Builder.Engine = running.Builder.Engine
	for _, t := range running.Targets { // those of a demonstration are in no file
		if _, ok := cfg.Target(t.Name); !ok {
			cfg.Targets = append(cfg.Targets, t)
		}
	}
	for _, p := range running.Projects {
		if _, ok := cfg.Project(p.Name); !ok {
			cfg.Projects = append(cfg.Projects, p)
		}
	}
	return cfg, hostReason, nil
}
