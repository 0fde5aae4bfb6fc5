package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/local"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// accepted prints the builds that were asked for. With wait it stays until they have ended, and prints them then.
func accepted(ctx context.Context, cmd *cobra.Command, c *api.Client, answer api.Push, wait bool) error {
	asJSON := cli.AsJSON(cmd)
	if !asJSON || !wait || len(answer.Builds) == 0 {
		if err := emit(cmd, answer, func(out io.Writer) error { printBuilds(out, answer); return nil }); err != nil {
			return err
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
		done, err := c.Wait(ctx, b.ID, func(b rpmflow.Build) {
			if !asJSON {
				fmt.Fprintln(cmd.OutOrStdout(), progress(b))
			}
		})
		if err != nil {
			return err
		}
		failed = failed || done.Outcome.Result == rpmflow.Failed
		skipped = skipped || done.Outcome.Result == rpmflow.Skipped
		if err := emit(cmd, done, func(out io.Writer) error { return printBuild(out, done) }); err != nil {
			return err
		}
	}
	switch {
	case failed:
		return errors.New("not all builds succeeded")
	case skipped:
		return &coded{errors.New("not all builds were made: some are skipped"), exitSkipped}
	}
	return nil
}

func printBuilds(out io.Writer, answer api.Push) {
	for _, b := range answer.Builds {
		line := b.ID + "  " + b.Target
		if answer.Commit != "" {
			line += "  " + short(answer.Commit)
		}
		if b.Package != answer.Project && b.Package != "" {
			line += "  " + b.Package
		}
		fmt.Fprintln(out, line)
	}
}

// submission is what submit's flags ask for.
type submission struct {
	ref, commit, key, srpm string
	targets, packages      []string
	allow                  []string
	wait                   bool
}

func submitCommand() *cobra.Command {
	s := &submission{}
	cmd := &cobra.Command{
		Use:   "submit PROJECT | submit [PROJECT] --srpm FILE|URL",
		Short: "Build a project's commit, or a source package, now",
		Args:  cobra.MaximumNArgs(1),
		Long: `Submit asks the listener to build a configured project: the newest commit of its default branch, or of
--ref, or the commit --commit. Of a project with several packages it builds all, or those that --package
names.

With --srpm it uploads a source package and builds it for the project's targets with the project's
settings. The project may be left out if it has the package's name, or is the only one. A URL is downloaded by
this command, from public addresses only unless --allow-address names others. The file must be a whole source
package, and not larger than the listener's listener.max_upload.

It prints the ids of the builds. With --wait it stays until they are finished. The exit code is then 0
only if all have succeeded, 16 if the others were skipped (the spec excludes the target's architecture), else
1.`,
		Example: "  rpmflow submit hello\n  rpmflow submit hello --ref v1.2 --target fedora-43-x86_64 --wait\n" +
			"  rpmflow submit mono --package liba --package libb\n" +
			"  rpmflow submit hello --srpm hello-2.12-1.src.rpm",
	}
	f := cmd.Flags()
	f.StringVar(&s.ref, "ref", "", "branch, tag or full ref; the default branch when empty")
	f.StringVar(&s.commit, "commit", "", "full commit id; the newest of the ref when empty")
	f.StringVar(&s.srpm, "srpm", "",
		"source package to build instead of a commit: a file, or an http, https or ftp URL")
	f.StringSliceVar(&s.targets, "target", nil, "target, may be repeated; those of the project when left out")
	f.StringSliceVar(&s.packages, "package", nil, "package, may be repeated; all of the project when left out")
	f.BoolVar(&s.wait, "wait", false, "wait for the outcome")
	f.StringVar(&s.key, "idempotency-key", "", "a submission with the same key is the same submission: it builds once")
	f.StringSliceVar(&s.allow, "allow-address", nil,
		"host, address or range to download --srpm from although it is not public (may be repeated)")
	return clientCommand(cmd, func(cmd *cobra.Command, c *api.Client, args []string) error {
		ctx, _, stop := cli.Signals(cmd.Context())
		defer stop()
		answer, err := s.send(ctx, cmd, c, args)
		if err != nil {
			return err
		}
		return accepted(ctx, cmd, c, answer, s.wait)
	})
}

func (s *submission) send(
	ctx context.Context, cmd *cobra.Command, c *api.Client, args []string,
) (answer api.Push, err error) {
	if s.srpm != "" {
		for _, name := range []string{"ref", "commit", "package"} {
			if cmd.Flags().Changed(name) {
				return answer, fmt.Errorf("--srpm and --%s exclude each other: a source package has no commit, "+
					"and is one package", name)
			}
		}
		project := ""
		if len(args) > 0 {
			project = args[0]
		}
		return s.upload(ctx, cmd, c, project)
	}
	if len(args) == 0 {
		return answer, errors.New("name a project, or a source package with --srpm: `rpmflow projects` lists the " +
			"projects")
	}
	if cmd.Flags().Changed("allow-address") {
		return answer, errors.New("--allow-address is for --srpm URL: repositories are read by the builder, " +
			"with its own builder.allow_addresses")
	}
	return c.Submit(ctx, api.Submission{
		Project: args[0], Ref: s.ref, Commit: s.commit, Targets: s.targets, Packages: s.packages,
	}, s.key)
}

// upload sends a source package to the listener.
func (s *submission) upload(ctx context.Context, cmd *cobra.Command, c *api.Client, project string) (answer api.Push,
	err error) {
	file := s.srpm
	if u, perr := url.Parse(s.srpm); perr == nil && u.Host != "" {
		dir, err := os.MkdirTemp("", "rpmflow-submit-")
		if err != nil {
			return answer, fmt.Errorf("download %s: %w", s.srpm, err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		if file, err = s.download(ctx, cmd, dir); err != nil {
			return answer, err
		}
	}
	_, err = rpmfile.CheckSource(file)
	var not *rpmfile.NotSource
	if errors.As(err, &not) {
		return answer, fmt.Errorf("%s cannot be built: %w", s.srpm, hint.Full(not))
	}
	if err != nil {
		return answer, fmt.Errorf("source package: %w", err)
	}
	return c.SubmitSRPM(ctx, project, s.targets, file, s.key)
}

// download gets the source package under the rules that hold for all downloads.
func (s *submission) download(ctx context.Context, cmd *cobra.Command, dir string) (string, error) {
	flags := downloadFlags{allow: s.allow}
	if err := flags.check(); err != nil {
		return "", err
	}
	cfg, err := clientConfig(cmd)
	if err != nil {
		return "", err
	}
	d := flags.downloads(cfg)
	d.MaxFile = max(d.MaxFile, int64(cfg.Listener.MaxUpload))
	file := filepath.Join(dir, "package.src.rpm")
	err = local.Download(ctx, d, s.srpm, file, cfg.Log.Logger(cmd.ErrOrStderr()))
	return file, hint.Full(err)
}
