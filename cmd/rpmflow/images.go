package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/nearest"
)

func imagesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "images", Short: "List the build roots that this machine's container engine keeps", Args: cobra.NoArgs,
		Long: `Builds start from images: the initialised root of their target, or that root with the BuildRequires of
their package in it. Images lists them with their age and size. Builders keep them up to date, and within
builder.docker.cache.`,
		Example: "  rpmflow images\n  rpmflow images refresh fedora-42-x86_64\n  rpmflow images prune --all",
	}
	mockCommand(cmd, func(cmd *cobra.Command, e *mock.Engine, _ *config.Config, _ []string) error {
		kept, err := e.Images().List(cmd.Context())
		if err != nil {
			return err
		}
		return printKept(cmd, kept)
	})
	refresh := mockCommand(&cobra.Command{
		Use:     "refresh [TARGET…]",
		Short:   "Compare roots with the repositories now, and make or update them if needed",
		Example: "  rpmflow images refresh",
	}, refreshTargets)
	all := false
	prune := mockCommand(&cobra.Command{
		Use: "prune", Short: "Remove images that no build uses any more, and those beyond builder.docker.cache",
		Args:    cobra.NoArgs,
		Long:    "Images stay that were used in the last ten minutes, or that a container is made from.",
		Example: "  rpmflow images prune",
	}, func(cmd *cobra.Command, e *mock.Engine, cfg *config.Config, _ []string) error {
		budget := int64(cfg.Builder.Docker.Cache)
		if all {
			budget = -1
		}
		removed, err := e.Images().Prune(cmd.Context(), budget)
		if err != nil {
			return err
		}
		return printKept(cmd, removed)
	})
	prune.Flags().BoolVar(&all, "all", false, "remove all others as well: the next builds make them again")
	cmd.AddCommand(refresh, prune)
	return cmd
}

// mockCommand completes a command: run gets the engine mock of this installation. Its flags are for the container
// engine of this machine, and for NATS, which identifies the installation.
func mockCommand(
	cmd *cobra.Command, run func(*cobra.Command, *mock.Engine, *config.Config, []string) error,
) *cobra.Command {
	cmd.Flags().SortFlags = false
	cli.JSONFlag(cmd)
	cli.KeyFlags(cmd, "data_dir", "builder.docker.host", "builder.docker.cert_path", "builder.docker.cache",
		"nats.url", "nats.user", "nats.credentials", "nats.ca_file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, _, stop := cli.Signals(cmd.Context())
		defer stop()
		cmd.SetContext(ctx)
		cfg, err := cli.Load(cmd, config.ForOperator)
		if err != nil {
			return err
		}
		// The targets are in the configuration; the address and the keys of what `rpmflow up` runs are in its data
		// directory.
		running, err := runningConfig(cmd, cfg.DataDir, config.ForOperator)
		if err != nil {
			return err
		}
		cfg.NATS = cmp.Or(running, cfg).NATS
		log := cfg.Log.Logger(cmd.ErrOrStderr())
		e, err := installedMock(ctx, cfg, log)
		if err != nil {
			return err
		}
		defer closeMock(e, log)
		if err := e.Ready(ctx); err != nil {
			return err
		}
		return run(cmd, e, cfg, args)
	}
	return cmd
}

func refreshTargets(cmd *cobra.Command, e *mock.Engine, cfg *config.Config, names []string) error {
	if len(names) == 0 {
		names = targetNames(cfg)
	}
	roots := map[string]rpmflow.BuildRoot{}
	for _, name := range names {
		target, ok := cfg.Target(name)
		if !ok {
			message, do := nearest.Unknown("target", name, targetNames(cfg),
				"`rpmflow config check` names the file that they are read from")
			return hint.Add(errors.New(message), do)
		}
		root, err := e.Refresh(cmd.Context(), target, cmd.ErrOrStderr())
		if err != nil {
			return fmt.Errorf("target %q: %w", name, err)
		}
		roots[name] = root
	}
	return emit(cmd, roots, func(out io.Writer) error {
		for _, name := range slices.Sorted(maps.Keys(roots)) {
			root := roots[name]
			fmt.Fprintf(out, "%s  made %s  %s\n", name, root.Made.Local().Format(time.DateTime), root.Image)
		}
		return nil
	})
}

func printKept(cmd *cobra.Command, kept []images.Entry) error {
	type row struct {
		Target   string    `json:"target"`
		Holds    string    `json:"holds"`
		Outdated bool      `json:"outdated"`
		Made     time.Time `json:"made"`
		Used     time.Time `json:"used"`
		Size     int64     `json:"size"`
		Image    string    `json:"image"`
		Name     string    `json:"name"`
	}
	rows := make([]row, 0, len(kept))
	t := table{{"TARGET", "HOLDS", "MADE", "CHECKED OR USED", "SIZE", "IMAGE"}}
	for _, k := range slices.Backward(kept) {
		holds := "root"
		if k.Dependencies {
			holds = "dependencies"
		}
		rows = append(rows, row{k.Target, holds, k.Outdated, k.Made.UTC(), k.Used.UTC(), k.Size, k.Image, k.Name})
		if k.Outdated {
			holds += " (outdated)"
		}
		t = append(t, []string{k.Target, holds, since(k.Made), since(k.Used),
			fmt.Sprintf("%.1f MB", float64(k.Size)/1e6), k.Name})
	}
	return emit(cmd, rows, func(out io.Writer) error { return t.write(out) })
}

func since(t time.Time) string { return max(time.Since(t), 0).Truncate(time.Second).String() + " ago" }
