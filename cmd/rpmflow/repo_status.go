package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/publisher"
)

// refusedFor is how long refused packages are shown, if the user does not say it.
const refusedFor = 7 * 24 * time.Hour

func repoStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status [PROJECT [TARGET]]", Short: "Show builds that are not published, and packages that were refused",
		Long: `Status lists finished builds that have succeeded and whose packages are in no repository yet: since when,
why the last try has failed, and what to do. It asks NATS and the storage, and needs no running publisher. Below are
packages that were refused. The exit code is 1 if a build is stuck: a try has failed, or it waits for five minutes.`,
		Args:    cobra.MaximumNArgs(2),
		Example: "  rpmflow repo status\n  rpmflow repo status hello fedora-43-x86_64 --json",
	}
	since := cmd.Flags().Duration("since", refusedFor, "show packages that were refused in this time")
	return storageCommand(cmd, needsNATS, func(cmd *cobra.Command, p *publisher.Publisher, args []string) error {
		args = append(args, "", "")
		s, err := p.Status(cmd.Context(), args[0], args[1], time.Now().Add(-*since))
		if err != nil {
			return err
		}
		stuck := 0
		for _, w := range s.Waiting {
			if w.Stuck {
				stuck++
			}
		}
		err = emit(cmd, s, func(out io.Writer) error { return printStatus(out, s) })
		if stuck > 0 {
			err = errors.Join(err, hint.Add(fmt.Errorf("%d builds cannot be published", stuck),
				"do what is said of each: they are published then, without a new build"))
		}
		return err
	})
}

func printStatus(out io.Writer, s publisher.Status) error {
	if len(s.Waiting) == 0 {
		fmt.Fprintln(out, "everything that has succeeded is published")
	}
	for _, w := range s.Waiting {
		fmt.Fprintf(out, "%s  %s/%s  %s: not published since %s\n", w.Build[:min(len(w.Build), shortLength)], w.Project,
			w.Target, w.Package, w.Finished.Local().Format(time.DateTime))
		if w.Error != "" {
			fmt.Fprintf(out, "  %s: %s\n", w.Failed.Local().Format(time.DateTime), w.Error)
		}
		fmt.Fprintf(out, "  -> %s\n", w.Do)
	}
	for _, r := range s.Refused {
		fmt.Fprintf(out, "%s  %s/%s  %s: refused on %s\n  %s\n", r.Build[:min(len(r.Build), shortLength)], r.Project,
			r.Target, r.Name, r.Published.Local().Format(time.DateTime), r.Reason)
		if r.Hint != "" {
			fmt.Fprintf(out, "  -> %s\n", r.Hint)
		}
	}
	return nil
}
