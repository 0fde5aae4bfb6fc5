package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
)

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor [listener|builder]", Short: "Check everything that the system needs, and say what to do about what is missing",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{string(config.ForListener), string(config.ForBuilder)},
		Long: `Doctor looks at configuration, data directory, NATS, S3, the listener and the container engine, each as it is seen from here, and prints
a line for each check and what to do about it. With an argument it looks at what that program needs, with that program's
rights; without one at everything, and what only a builder needs is a warning then. It exits with 1 when something failed.`,
		Example: "  rpmflow doctor\n  rpmflow doctor builder --json",
	}
	cli.ConfigFlags(cmd, "", "nats", "s3", "listener", "builder")
	cli.DoctorFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var program config.Program
		if len(args) > 0 {
			program = config.Program(args[0])
		}
		return cli.Doctor(cmd, program, func() (*config.Config, error) { return doctorConfig(cmd, program) })
	}
	return cmd
}

// doctorConfig is the program's configuration. Beside a running `rpmflow up` its servers are those to look at.
func doctorConfig(cmd *cobra.Command, program config.Program) (*config.Config, error) {
	cfg, err := cli.LoadFor(cmd, program)
	if err != nil {
		return nil, err
	}
	file := cmp.Or(cfg.File, "no file rpmflow.yaml, defaults and environment only")
	left := filepath.Join(cfg.DataDir, assembly.ClientFile)
	if _, err := os.Stat(left); err != nil {
		cfg.File = fmt.Sprintf("%s; no `rpmflow up` runs in %s (name that of another directory with --config DATA_DIR/%s)", file, fromHere(cfg.DataDir), assembly.ClientFile)
		return cfg, nil
	}
	up, err := cli.LoadFile(cmd, left)
	if err != nil {
		return nil, err
	}
	cfg.File = fmt.Sprintf("%s; and that of the `rpmflow up` that runs in %s", file, fromHere(cfg.DataDir))
	cfg.NATS, cfg.S3, cfg.PublicURL, cfg.Listener.Listen = up.NATS, up.S3, up.PublicURL, up.PublicURL.Host
	cfg.Builder.Engine = up.Builder.Engine
	for _, t := range up.Targets { // those of a demonstration are in no file
		if _, ok := cfg.Target(t.Name); !ok {
			cfg.Targets = append(cfg.Targets, t)
		}
	}
	for _, p := range up.Projects {
		if _, ok := cfg.Project(p.Name); !ok {
			cfg.Projects = append(cfg.Projects, p)
		}
	}
	return cfg, nil
}
