package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/up"
)

func upCommand() *cobra.Command {
	var demo, demoTarget, logFile string
	var withParent bool
	cmd := &cobra.Command{
		Use: "up", Short: "Run everything on this machine: NATS, S3, listener and builder", Args: cobra.NoArgs,
		Long: `Up runs the whole system in one process tree, with embedded NATS JetStream and embedded S3. All data are
in the data directory. It is for a laptop, for tests, and for small installations. Ctrl-C ends it after the running
builds; a second one ends it at once. While it runs, the other commands find it if they are started in the same
directory.

With --demo DIR it also makes a git repository of DIR, whose post-receive hook announces pushes. It pushes to
the repository and shows the build, from the push to the RPM. If there is dnf, it installs the RPM from the signed
repository into DATA_DIR/demo/root. The log then goes to DATA_DIR/up.log.

These are the flags that most people need; --help-all shows all of them.`,
		Example: "  rpmflow up --config rpmflow.yaml\n  rpmflow up --demo examples/hello",
	}
	cli.ConfigFlags(cmd, "", "log", "s3", "listener", "builder", "embedded")
	f := cmd.Flags()
	f.StringVar(&demo, "demo", "", "directory of a package to push and build")
	f.StringVar(&demoTarget, "demo-target", "",
		"mock configuration that the demo builds for (fedora-43 of this machine's architecture when empty)")
	f.StringVar(&logFile, "log-file", "",
		"write the log to this file (with --demo: up.log in the data directory; else standard error)")
	f.BoolVar(&withParent, "with-parent", false, "end when the process that started this one ends")
	cli.ShortHelp(cmd, "config", "data-dir", "listen", "public-url", "engine", "jobs",
		"log-level", "log-file", "demo", "demo-target")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if withParent {
			if err := endWithParent(); err != nil {
				return err
			}
		}
		cfg, err := cli.Load(cmd, config.ForOperator)
		if err != nil {
			return err
		}
		if demo != "" && logFile == "" {
			logFile = filepath.Join(cfg.DataDir, "up.log")
		}
		logTo, closeLog, err := openLog(cmd, logFile)
		if err != nil {
			return err
		}
		defer closeLog()
		log := cfg.Log.Logger(logTo)
		for _, w := range cfg.Warnings {
			log.Warn(w)
		}
		soft, hard, stop := cli.Signals(cmd.Context())
		defer stop()
		out := cmd.OutOrStdout()
		var d *demonstration
		if demo != "" {
			instead := ""
			if d, instead, err = newDemonstration(soft, cfg, demo, demoTarget, log); err != nil {
				return err
			}
			if instead != "" {
				fmt.Fprintln(out, "rpmflow: "+instead)
			}
		}
		shown := make(chan error, 1)
		dctx, cancel := context.WithCancel(soft)
		defer cancel()
		running, over := context.WithCancel(cmd.Context())
		defer over()
		var end *shutdown
		system := up.Program{Config: cfg, Version: cli.Version(), Log: log, Ready: func(cfg *config.Config) {
			end = watchShutdown(running, soft, cfg, out)
			announce(out, cfg, logFile)
			if d != nil {
				go func() { shown <- d.show(dctx, cfg, out) }()
			}
		}}
		if d != nil && d.onHost {
			system.HostReason = "there is no image to build in, so `rpmflow up --demo` has chosen it"
		}
		err = system.Run(soft, hard)
		cancel()
		over()
		if end != nil && d != nil {
			if demoErr := <-shown; demoErr != nil && soft.Err() == nil {
				err = errors.Join(err, demoErr)
			}
		}
		switch {
		case err != nil && logFile != "":
			return fmt.Errorf("%w\nThe log is in %s", err, fromHere(logFile))
		case err != nil:
			return err
		case end != nil:
			end.report(fromHere(cfg.DataDir), again(demo != "" && withParent))
		}
		return nil
	}
	return cmd
}

// announce prints where everything is, and the next commands.
func announce(out io.Writer, cfg *config.Config, logFile string) {
	rows := [][2]string{
		{"server", cfg.PublicURL.String()}, {"NATS", cfg.NATS.URLs[0]},
		{"S3", cfg.S3.Endpoint.String() + ", bucket " + cfg.S3.Bucket}, {"data", fromHere(cfg.DataDir)},
	}
	if logFile != "" {
		rows = append(rows, [2]string{"log", fromHere(logFile)})
	}
	fmt.Fprintln(out, "\nrpmflow is up")
	for _, r := range rows {
		fmt.Fprintf(out, "  %-8s %s\n", r[0], r[1])
	}
	self := os.Args[0]
	fmt.Fprintf(out, `In another terminal, in this directory: %[1]s list, %[1]s watch, %[1]s logs -f BUILD
In other directories: export RPMFLOW_CONFIG=%[2]s
Ctrl-C ends it.

`, self, filepath.Join(cfg.DataDir, up.ClientFile))
}

// openLog opens the file of the log; without one it is standard error. It appends: the data directory is not locked
// yet, and the log may be that of the process that has locked it.
func openLog(cmd *cobra.Command, file string) (io.Writer, func(), error) {
	if file == "" {
		return cmd.ErrOrStderr(), func() {}, nil
	}
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err != nil {
		return nil, nil, fmt.Errorf("log file: %w: name another with --log-file, "+
			"or another data directory with --data-dir", err)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("log file: %w: name another with --log-file", err)
	}
	return f, func() { _ = f.Close() }, nil // the last line is written by now
}

// fromHere shortens the name of a file below the working directory.
func fromHere(file string) string {
	dir, err := os.Getwd()
	if err != nil {
		return file
	}
	if short, err := filepath.Rel(dir, file); err == nil && filepath.IsLocal(short) {
		return short
	}
	return file
}

// again is the command that starts the same again.
func again(byMake bool) string {
	if byMake {
		return "make run"
	}
	words := slices.Clone(os.Args)
	for i, w := range words {
		if strings.ContainsAny(w, " \t\n'\"$\\*?[]{}()<>|&;~#`") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
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
