package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
)

func upCommand() *cobra.Command {
	var demo, demoTarget string
	var withParent bool
	cmd := &cobra.Command{
		Use: "up", Short: "Run everything on this machine: NATS, S3, listener and builder", Args: cobra.NoArgs,
		Long: `Up runs the whole system in one process tree, with embedded NATS JetStream and embedded S3; all data are in the data directory.
It is meant for a laptop, for trying things out, and for small installations. Ctrl-C ends it after the build in hand, a second
one at once. While it runs, the other commands find it when they are started in the same directory.

With --demo DIR it also makes a git repository of DIR, whose post-receive hook announces pushes, pushes to it, and shows the
build from the push to the RPM.`,
		Example: "  rpmflow up --config rpmflow.yaml\n  rpmflow up --demo examples/hello",
	}
	cli.ConfigFlags(cmd, "", "log", "s3", "listener", "builder", "embedded")
	f := cmd.Flags()
	f.StringVar(&demo, "demo", "", "directory of a package to push and build")
	f.StringVar(&demoTarget, "demo-target", "", "mock configuration that the demo builds for (fedora-43 of this machine's architecture when empty)")
	f.BoolVar(&withParent, "with-parent", false, "end when the process that started this one ends")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if withParent {
			if err := endWithParent(); err != nil {
				return err
			}
		}
		cfg, err := cli.Load(cmd)
		if err != nil {
			return err
		}
		log := assembly.Logger(cmd.ErrOrStderr(), cfg.Log)
		for _, w := range cfg.Warnings {
			log.Warn(w)
		}
		soft, hard, stop := cli.Signals(cmd.Context())
		defer stop()
		var d *demonstration
		if demo != "" {
			if d, err = newDemonstration(cfg, demo, demoTarget); err != nil {
				return err
			}
		}
		out := cmd.OutOrStdout()
		shown := make(chan error, 1)
		dctx, cancel := context.WithCancel(soft)
		defer cancel()
		started := false
		err = assembly.Up(soft, hard, cfg, cli.Version(), log, func(cfg *config.Config) {
			announce(out, cfg)
			if d != nil {
				started = true
				go func() { shown <- d.show(dctx, cfg, out) }()
			}
		})
		cancel()
		if started {
			if demoErr := <-shown; demoErr != nil && soft.Err() == nil {
				err = errors.Join(err, demoErr)
			}
		}
		return err
	}
	return cmd
}

func announce(out io.Writer, cfg *config.Config) {
	fmt.Fprintf(out, `
rpmflow is up
  server   %s
  NATS     %s
  S3       %s, bucket %s
  data     %s
In another terminal, in this directory: rpmflow list, rpmflow watch, rpmflow logs -f BUILD. Elsewhere: RPMFLOW_CONFIG=%s
Ctrl-C ends it.

`, cfg.PublicURL, cfg.NATS.URLs[0], cfg.S3.Endpoint, cfg.S3.Bucket, cfg.DataDir, filepath.Join(cfg.DataDir, assembly.ClientFile))
}

// endWithParent has the kernel send SIGTERM when the parent dies, however it dies.
func endWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0); err != nil {
		return fmt.Errorf("--with-parent: %w", err)
	}
	if os.Getppid() == 1 {
		return errors.New("--with-parent: the parent has ended already")
	}
	return nil
}
