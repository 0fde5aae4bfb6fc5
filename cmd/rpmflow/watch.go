package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/nearest"
)

func watchCommand() *cobra.Command {
	var durable, project string
	var count int
	cmd := &cobra.Command{
		Use: "watch", Short: "Print the outcome of each build when it finishes", Args: cobra.NoArgs,
		Long: `Watch subscribes to the finished events and prints a line for each; with --json that line is the
CloudEvent. With --durable NAME it continues where the last watch of that name stopped, so that nothing is
missed in between.`,
		Example: "  rpmflow watch --project hello\n" +
			"  rpmflow watch --durable mirror --json | while read -r event; do …; done",
	}
	f := cmd.Flags()
	f.StringVar(&durable, "durable", "", "name under which the position is kept")
	f.StringVar(&project, "project", "", "only of this project")
	f.IntVar(&count, "count", 0, "end after so many events; 0: never")
	clientFlags(cmd)
	cli.KeyFlags(cmd, "nats.url", "nats.user", "nats.credentials", "nats.ca_file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, _, stop := cli.Signals(cmd.Context())
		defer stop()
		cfg, err := clientConfig(cmd)
		if err != nil {
			return err
		}
		if project != "" {
			if err := checkProject(ctx, cmd, project); err != nil {
				return err
			}
		}
		log := cfg.Log.Logger(cmd.ErrOrStderr())
		nc, js, err := events.Dial(connect.NATS(cfg, "rpmflow watch"), log)
		if err != nil {
			return err
		}
		defer nc.Close()
		ctx, enough := context.WithCancel(ctx)
		defer enough()
		seen := 0
		subscription := events.Subscription{Durable: durable, Project: project}
		return events.Finished(ctx, js, subscription, log, func(e events.Event) error {
			if seen++; seen == count {
				defer enough()
			}
			if cli.AsJSON(cmd) {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", e.Raw)
				return err
			}
			b := e.Build
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s/%s  %s  %s\n", e.Time.Local().Format(time.DateTime),
				b.ID, b.Project, b.Target, what(b), standing(b))
			return err
		})
	}
	return cmd
}

// checkProject refuses a project that the listener does not have: it would never have an event. Events come from NATS,
// so if no listener answers, that is only a remark.
func checkProject(ctx context.Context, cmd *cobra.Command, name string) error {
	c, err := newClient(cmd)
	if err != nil {
		return err
	}
	list, err := c.Projects(ctx)
	if err != nil {
		remark(cmd.ErrOrStderr(), "cannot check whether there is a project "+name+": "+err.Error())
		return nil
	}
	var known []string
	for _, p := range list.Projects {
		known = append(known, p.Name)
	}
	if slices.Contains(known, name) {
		return nil
	}
	message, do := nearest.Unknown("project", name, known)
	return hint.Add(errors.New(message), do)
}

func healthCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "health [listener|nats|s3]", Short: "Check whether a part of the system works",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"listener", "nats", "s3"},
		Long: "Health is for container health checks. It is quiet and exits with 0 if the part works; " +
			"else it prints why and exits with 1. Without an argument it checks the listener.",
	}
	clientFlags(cmd)
	cli.KeyFlags(cmd, "nats.url", "nats.user", "nats.credentials", "nats.ca_file",
		"s3.endpoint", "s3.bucket", "s3.region", "s3.ca_file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		part := "listener"
		if len(args) > 0 {
			part = args[0]
		}
		if part == "listener" {
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			return c.Ready(cmd.Context())
		}
		cfg, err := clientConfig(cmd)
		if err != nil {
			return err
		}
		log := cfg.Log.Logger(cmd.ErrOrStderr())
		if part == "nats" {
			nc, js, err := events.Dial(connect.NATS(cfg, "rpmflow health"), log)
			if err != nil {
				return err
			}
			defer nc.Close()
			_, err = js.Stream(cmd.Context(), events.StreamEvents)
			return err
		}
		store, err := connect.Storage(cfg, log)
		if err != nil {
			return err
		}
		defer store.Close()
		return store.Healthy(cmd.Context())
	}
	return cmd
}
