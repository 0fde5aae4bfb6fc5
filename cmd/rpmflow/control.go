package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/cli"
)

func cancelCommand() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: "cancel BUILD...", Short: "Stop builds", Args: cobra.MatchAll(cobra.MinimumNArgs(1), buildIDs),
		Long: `Cancel ends builds. A build that waits ends at once; one that runs ends when its builder has stopped it.
The outcome is canceled, and the record names who has asked. The exit code is 0 if all of the builds end that way; a
build that has already finished does not.`,
		Example: "  rpmflow cancel 54004af1\n" +
			"  rpmflow cancel $(rpmflow list --project hello --state queued --json | jq -r '.builds[].id')",
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until they have ended")
	return clientCommand(cmd, func(cmd *cobra.Command, c *api.Client, args []string) error {
		ctx, _, stop := cli.Signals(cmd.Context())
		defer stop()
		var failures []error
		for _, id := range args {
			failures = append(failures, cancel(ctx, cmd, c, id, wait))
			if ctx.Err() != nil {
				break
			}
		}
		return errors.Join(failures...)
	})
}

// cancel ends one build and prints its state then.
func cancel(ctx context.Context, cmd *cobra.Command, c *api.Client, id string, wait bool) error {
	b, err := c.Cancel(ctx, id, asker())
	if err == nil && wait {
		b, err = c.Wait(ctx, b.ID, func(rpmflow.Build) {})
	}
	if err != nil {
		return err
	}
	return emit(cmd, b, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "%s  %s\n", b.ID, standing(b))
		return err
	})
}

// asker names in the record who has asked: the user and the machine.
func asker() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

func retryCommand() *cobra.Command {
	var wait bool
	var key string
	cmd := &cobra.Command{
		Use: "retry BUILD", Short: "Build the same commit or source package again",
		Args: cobra.MatchAll(cobra.ExactArgs(1), buildIDs),
		Long: `Retry makes a new build with the commit or source package, the package and the target of a finished one
and the project's present settings, and prints its id. Its record names the build that it repeats. With --wait it stays
until the build is finished; the exit code is 0 only if it has succeeded.`,
		Example: "  rpmflow retry 54004af1 --wait",
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the outcome")
	cmd.Flags().StringVar(&key, "idempotency-key", "",
		"a retry of the same build with the same key is the same retry: it builds once")
	return clientCommand(cmd, func(cmd *cobra.Command, c *api.Client, args []string) error {
		ctx, _, stop := cli.Signals(cmd.Context())
		defer stop()
		answer, err := c.Retry(ctx, args[0], key)
		if err != nil {
			return err
		}
		return accepted(ctx, cmd, c, answer, wait)
	})
}
