package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/local"
)

// localFlags are those of commands that need no server: where, and with what defined.
type localFlags struct {
	where         targetChoice
	define        []string
	with, without []string
}

func (f *localFlags) add(cmd *cobra.Command) {
	cli.KeyFlags(cmd, "builder.engine", "builder.docker.host", "builder.docker.network")
	flags := cmd.Flags()
	flags.StringVarP(&f.where.target, "root", "r", "",
		"target: one of the configuration, else a configuration of mock, by name or as a .cfg file (also --target)")
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "target" { // as other commands call it
			name = "root"
		}
		return pflag.NormalizedName(name)
	})
	flags.StringVar(&f.where.image, "image", "rpmflow/mock:latest",
		"container image with mock in it, for targets that are not configured")
	flags.StringArrayVarP(&f.define, "define", "D", nil, "define a macro: 'NAME VALUE' (may be repeated)")
	flags.StringArrayVar(&f.with, "with", nil, "enable a condition of the spec (may be repeated)")
	flags.StringArrayVar(&f.without, "without", nil, "disable a condition of the spec (may be repeated)")
}

func (f *localFlags) options() (rpmflow.Options, error) {
	return rpmflow.ParseOptions(f.define, f.with, f.without)
}

// localSetup is what commands without a server work with.
type localSetup struct {
	*workplace
	cfg     *config.Config
	work    *local.Work
	options rpmflow.Options
	log     *slog.Logger
}

// withSetup runs f with an engine, a target, and a directory that is gone afterwards. ctx ends with the first signal.
func (f *localFlags) withSetup(cmd *cobra.Command, do func(ctx context.Context, h localSetup) error) (err error) {
	options, err := f.options()
	if err != nil {
		return err
	}
	cfg, err := cli.Load(cmd, config.NoSecrets)
	if err != nil {
		return err
	}
	cfg.Log.Level = max(cfg.Log.Level, slog.LevelWarn) // a terminal needs no log of a service
	log := cfg.Log.Logger(cmd.ErrOrStderr())
	place, err := local.OpenPlace("")
	if err != nil {
		return err
	}
	ctx, _, stop := cli.Signals(cmd.Context())
	defer stop()
	engine, err := newWorkplace(ctx, cfg, place, f.where, log)
	if err != nil {
		return withCode(err)
	}
	defer engine.Close()
	engine.Sweep(ctx)
	work, err := place.Begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, work.End()) }()
	return do(ctx, localSetup{engine, cfg, work, options, log})
}

// remark prints for the user on standard error what the data on standard output does not say.
func remark(w io.Writer, remarks ...string) {
	for _, r := range remarks {
		fmt.Fprintf(w, "rpmflow: %s\n", r)
	}
}
