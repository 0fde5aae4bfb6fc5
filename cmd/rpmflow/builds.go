package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/cli"
)

// pushAnswer is what the listener answers to those who ask for builds.
type pushAnswer struct {
	Push    string `json:"push"`
	Project string `json:"project"`
	Ref     string `json:"ref"`
	Commit  string `json:"commit"`
	Builds  []struct {
		ID      string `json:"id"`
		Package string `json:"package"`
		Target  string `json:"target"`
		URL     string `json:"url"`
	} `json:"builds"`
	Reason string `json:"reason,omitempty"`
}

// accepted prints which builds there will be, and when it is to wait, what becomes of them.
func (c *client) accepted(ctx context.Context, cmd *cobra.Command, answer pushAnswer, wait bool) error {
	asJSON, _ := cmd.Flags().GetBool("json")
	out := cmd.OutOrStdout()
	if asJSON && (!wait || len(answer.Builds) == 0) {
		if err := printJSON(out, answer); err != nil || len(answer.Builds) > 0 {
			return err
		}
	}
	if !asJSON {
		for _, b := range answer.Builds {
			if b.Package != answer.Project && b.Package != "" {
				fmt.Fprintf(out, "%s  %s  %s  %s\n", b.ID, b.Target, short(answer.Commit), b.Package)
				continue
			}
			fmt.Fprintf(out, "%s  %s  %s\n", b.ID, b.Target, short(answer.Commit))
		}
	}
	if len(answer.Builds) == 0 {
		return fmt.Errorf("nothing is built: %s", answer.Reason)
	}
	if !wait {
		return nil
	}
	var failed, skipped bool
	for _, b := range answer.Builds {
		done, err := c.wait(ctx, b.ID, func(b rpmflow.Build) {
			if !asJSON {
				fmt.Fprintln(out, progress(b))
			}
		})
		if err != nil {
			return err
		}
		failed = failed || done.Outcome.Result == rpmflow.Failed
		skipped = skipped || done.Outcome.Result == rpmflow.Skipped
		if asJSON {
			err = printJSON(out, done)
		} else {
			err = printBuild(out, done)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case failed:
		return errFailed
	case skipped:
		return &coded{errSkipped, exitSkipped}
	}
	return nil
}

func submitCommand() *cobra.Command {
	var ref, commit, key string
	var targets, packages []string
	var wait bool
	cmd := &cobra.Command{
		Use: "submit PROJECT", Short: "Build a project's commit now", Args: cobra.ExactArgs(1),
		Long: `Submit asks the listener to build a configured project: the newest commit of its default branch, or of --ref, or --commit.
Of a project with several packages it builds all, or those that --package names.
It prints the ids of the builds. With --wait it stays until they are finished; the exit code is 0 only when all have
succeeded, 16 when the only others were skipped (the spec excludes the target's architecture), else 1.`,
		Example: "  rpmflow submit hello\n  rpmflow submit hello --ref v1.2 --target fedora-43-x86_64 --wait\n  rpmflow submit mono --package liba --package libb",
	}
	clientFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&ref, "ref", "", "branch, tag or full ref; the default branch when empty")
	f.StringVar(&commit, "commit", "", "full commit id; the newest of the ref when empty")
	f.StringSliceVar(&targets, "target", nil, "target, may be repeated; those of the project when left out")
	f.StringSliceVar(&packages, "package", nil, "package, may be repeated; all of the project when left out")
	f.StringVar(&key, "idempotency-key", "", "a submission with the same key is the same submission: it builds once")
	f.BoolVar(&wait, "wait", false, "wait for the outcome")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, _, stop := cli.Signals(cmd.Context())
		defer stop()
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		var headers []string
		if key != "" {
			headers = []string{"Idempotency-Key", key}
		}
		var answer pushAnswer
		body := map[string]any{"project": args[0], "ref": ref, "commit": commit, "targets": targets}
		if len(packages) > 0 {
			body["packages"] = packages
		}
		if err := c.call(ctx, http.MethodPost, "/api/v1/builds", body, &answer, headers...); err != nil {
			return err
		}
		return c.accepted(ctx, cmd, answer, wait)
	}
	return cmd
}

func listCommand() *cobra.Command {
	var project, target, ref, commit, state, result, kind, cursor string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List builds, newest first", Args: cobra.NoArgs,
		Long:    "List shows builds, newest first. Filters may be combined; --cursor takes up where the page before ended.",
		Example: "  rpmflow list --project hello --result failed\n  rpmflow list --json | jq '.builds[].id'",
	}
	clientFlags(cmd)
	f := cmd.Flags()
	filters := map[string]*string{"project": &project, "target": &target, "ref": &ref, "commit": &commit, "state": &state, "result": &result, "kind": &kind, "cursor": &cursor}
	f.StringVar(&project, "project", "", "only of this project")
	f.StringVar(&target, "target", "", "only for this target")
	f.StringVar(&ref, "ref", "", "only of this full ref (refs/heads/main)")
	f.StringVar(&commit, "commit", "", "only of this full commit id")
	f.StringVar(&state, "state", "", "queued, running or finished")
	f.StringVar(&result, "result", "", "succeeded, failed or skipped")
	f.StringVar(&kind, "kind", "", "kind of failure: source, spec, dependencies, build, timeout, canceled or infrastructure")
	f.StringVar(&cursor, "cursor", "", "next of the page before")
	f.IntVar(&limit, "limit", 20, "builds on a page, 200 at most")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		q := url.Values{"limit": {strconv.Itoa(limit)}}
		for name, value := range filters {
			if *value != "" {
				q.Set(name, *value)
			}
		}
		var page struct {
			Builds []rpmflow.Build `json:"builds"`
			Next   string          `json:"next,omitempty"`
		}
		if err := c.call(cmd.Context(), http.MethodGet, "/api/v1/builds?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
			return printJSON(out, page)
		}
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "BUILD\tPROJECT\tTARGET\tCOMMIT\tSTATE\tQUEUED")
		for _, b := range page.Builds {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", b.ID, whose(b), b.Target, short(b.Commit), standing(b), b.QueuedAt.Local().Format(time.DateTime))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if page.Next != "" {
			fmt.Fprintf(out, "more: --cursor %s\n", page.Next)
		}
		return nil
	}
	return cmd
}

func showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show BUILD", Short: "Show a build's record", Args: cobra.ExactArgs(1),
		Long: `Show prints where a build stands: its phases with their durations, its outcome, its packages and where they are stored.
With --event it prints the newest event of the build as JSON, as subscribers get it; that one is read from NATS.`,
	}
	clientFlags(cmd)
	event := cmd.Flags().Bool("event", false, "print the newest event of the build (JSON)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		b, err := c.build(cmd.Context(), args[0])
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
		if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
			return printJSON(cmd.OutOrStdout(), b)
		}
		return printBuild(cmd.OutOrStdout(), b)
	}
	return cmd
}

func logsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "logs BUILD", Short: "Print a build's log", Args: cobra.ExactArgs(1),
		Long: "Logs prints the stored log of a finished build, or what there is so far of a running one; with -f also what comes, until the build has ended.",
	}
	clientFlags(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "stay until the build has ended")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, _, stop := cli.Signals(cmd.Context())
		defer stop()
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		r, err := c.open(ctx, http.MethodGet, "/api/v1/builds/"+url.PathEscape(args[0])+"/log?follow="+strconv.FormatBool(follow), nil)
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		if _, err := io.Copy(cmd.OutOrStdout(), r); err != nil && ctx.Err() == nil {
			return fmt.Errorf("the log was cut off: %w", err)
		}
		return nil
	}
	return cmd
}

func short(commit string) string { return commit[:min(12, len(commit))] }

// standing is a build's state in a word or two.
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

// whose is a build's project, and its package where that is one of several.
func whose(b rpmflow.Build) string {
	if b.Package == b.Project || b.Package == "" {
		return b.Project
	}
	return b.Project + "/" + b.Package
}

func printBuild(out io.Writer, b rpmflow.Build) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("build", "%s", b.ID)
	row("project", "%s", whose(b))
	row("target", "%s", b.Target)
	row("commit", "%s of %s", b.Commit, b.Ref)
	if b.Split != nil {
		for _, half := range []struct {
			name string
			rpmflow.Revision
		}{{"source", b.Split.Source}, {"packaging", b.Split.Packaging}} {
			row(half.name, "%s of %s %s", cmp.Or(half.Commit, "(to be found out)"), half.Repository, half.Ref)
		}
	}
	row("state", "%s", standing(b))
	if b.Attempt > 0 {
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
	for _, n := range b.Notes {
		row("note", "%s", n)
	}
	if b.Sources.SRPM != "" {
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
