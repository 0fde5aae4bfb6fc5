package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/events"
)

func showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show BUILD", Short: "Show a build's record", Args: cobra.MatchAll(cobra.ExactArgs(1), buildIDs),
		Example: "  rpmflow show 54004af1\n  rpmflow show 54004af1 --event",
		Long: `Show prints the state of a build: its phases with their durations, its outcome, its packages and where
they are stored. With --event it prints the newest event of the build as JSON, as subscribers get it; it is read from
NATS.`,
	}
	event := cmd.Flags().Bool("event", false, "print the newest event of the build (JSON)")
	return clientCommand(cmd, func(cmd *cobra.Command, c *api.Client, args []string) error {
		b, err := c.Build(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *event {
			cfg, err := clientConfig(cmd)
			if err != nil {
				return err
			}
			raw, err := lastEvent(cmd.Context(), cfg, b.ID)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), json.RawMessage(raw))
		}
		return emit(cmd, b, func(out io.Writer) error { return printBuild(out, b) })
	})
}

// lastEvent is a build's newest event, as its subscribers get it.
func lastEvent(ctx context.Context, cfg *config.Config, build string) ([]byte, error) {
	nc, js, err := events.Dial(connect.NATS(cfg, "rpmflow show"), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	ledger, err := events.NewLedger(ctx, js)
	if err != nil {
		return nil, err
	}
	last, err := ledger.LastOf(ctx, build)
	if err != nil {
		return nil, fmt.Errorf("event of build %s: %w", build, err)
	}
	return last.Raw, nil
}

func logsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "logs BUILD", Short: "Print a build's log", Args: cobra.MatchAll(cobra.ExactArgs(1), buildIDs),
		Example: "  rpmflow logs -f 54004af1",
		Long: "Logs prints the stored log of a finished build, or the log so far of a running one. " +
			"With -f it goes on until the build has ended.",
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "follow the log until the build has ended")
	return clientCommand(cmd, func(cmd *cobra.Command, c *api.Client, args []string) error {
		ctx, _, stop := cli.Signals(cmd.Context())
		defer stop()
		r, err := c.Log(ctx, args[0], follow)
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		if _, err := io.Copy(cmd.OutOrStdout(), r); err != nil && ctx.Err() == nil {
			return fmt.Errorf("the log was cut off: %w", err)
		}
		return nil
	})
}

// what is a short name of what is built: a commit or a source package.
func what(b rpmflow.Build) string {
	if b.SourcePackage != nil {
		return b.SourcePackage.NEVRA
	}
	return short(b.Commit)
}

func short(commit string) string { return commit[:min(12, len(commit))] }

// standing is a build's state in a few words.
func standing(b rpmflow.Build) string {
	switch {
	case b.Outcome != nil && b.Outcome.Kind == rpmflow.FailureCanceled:
		return "canceled"
	case b.Outcome != nil && b.Outcome.Result == rpmflow.Failed:
		return "failed (" + string(b.Outcome.Kind) + ")"
	case b.Outcome != nil && len(b.Outcome.Unchecked) > 0:
		return fmt.Sprintf("%s (%s not checked)", b.Outcome.Result, strings.Join(b.Outcome.Unchecked, ", "))
	case b.Outcome != nil:
		return string(b.Outcome.Result)
	case b.Cancel != nil:
		return "canceling (" + string(b.Phase) + ")"
	case b.State == rpmflow.Running:
		return "running (" + string(b.Phase) + ")"
	}
	if len(b.Waiting) > 0 {
		return string(b.State) + ": " + b.Waiting[len(b.Waiting)-1].Reason
	}
	return string(b.State)
}

func progress(b rpmflow.Build) string {
	return fmt.Sprintf("%s  %s/%s  %s", time.Now().Format(time.TimeOnly), whose(b), b.Target, standing(b))
}

// whose is a build's project, and its package if that is one of several.
func whose(b rpmflow.Build) string {
	if b.Package == b.Project || b.Package == "" {
		return b.Project
	}
	return b.Project + "/" + b.Package
}

func printBuild(out io.Writer, b rpmflow.Build) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		lines := strings.Split(fmt.Sprintf(format, args...), "\n")
		for i := range lines {
			lines[i] = printable(lines[i]) // much of it is a packager's
		}
		fmt.Fprintf(w, "%s\t%s\n", name, strings.Join(lines, "\n"))
	}
	row("build", "%s", b.ID)
	row("project", "%s", whose(b))
	row("target", "%s", b.Target)
	if p := b.SourcePackage; p != nil {
		row("source package", "%s (%s, SHA-512 %s)", p.NEVRA, p.Name, p.SHA512)
	} else {
		row("commit", "%s of %s", b.Commit, b.Ref)
	}
	if b.Split != nil {
		for _, half := range []struct {
			name string
			rpmflow.Revision
		}{{"source", b.Split.Source}, {"packaging", b.Split.Packaging}} {
			row(half.name, "%s of %s %s", cmp.Or(half.Commit, "(to be found out)"), half.Repository, half.Ref)
		}
	}
	row("state", "%s", standing(b))
	switch {
	case b.Attempt > 0 && b.Builder == "": // handed back, or to be tried again
		row("attempts", "%d so far", b.Attempt)
	case b.Attempt > 0:
		row("attempt", "%d, by %s with %s", b.Attempt, b.Builder, b.Engine)
	}
	for _, w := range b.Waiting {
		row("waits", "builder %s: %s", w.Builder, w.Reason)
		if w.Hint != "" {
			row("what to do", "%s", w.Hint)
		}
	}
	if b.RetryOf != "" {
		row("retry of", "%s", b.RetryOf)
	}
	if b.Cancel != nil {
		row("canceled", "by %s at %s", b.Cancel.By, b.Cancel.At.Local().Format(time.DateTime))
	}
	if o := b.Outcome; o != nil && o.Kind == rpmflow.FailureCanceled {
		row("what to do", "%s", o.Hint)
	} else if o != nil && o.Result == rpmflow.Skipped {
		row("because", "%s", o.Message)
		row("what to do", "%s", o.Hint)
	} else if o != nil && o.Result == rpmflow.Failed {
		row("failed in", "%s", o.Phase)
		row("because", "%s", o.Message)
		if o.Hint != "" {
			row("what to do", "%s", o.Hint)
		}
	}
	var phases []string
	for _, p := range b.Phases {
		phases = append(phases, fmt.Sprintf("%s %.2fs", p.Phase, p.Seconds))
	}
	if len(phases) > 0 {
		row("phases", "%s", strings.Join(phases, ", "))
	}
	if b.OwnRepository != "" {
		row("built with", "%s", b.OwnRepository)
	}
	for _, n := range b.Notes {
		row("note", "%s", n)
	}
	if b.Sources.SRPM != "" && b.SourcePackage == nil {
		row("rebuilt", "%s", b.Sources.SRPM)
	}
	for _, p := range b.Packages {
		row("package", "%s", p.NEVRA())
	}
	for _, a := range b.Artifacts {
		row(string(a.Kind), "%s (%d bytes)", a.URL, a.Size)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if b.Outcome != nil && len(b.Outcome.Excerpt) > 0 {
		fmt.Fprintln(out, "\n  "+strings.Join(b.Outcome.Excerpt, "\n  "))
	}
	return nil
}
