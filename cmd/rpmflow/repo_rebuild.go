package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/publisher"
)

func repoVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify PROJECT TARGET", Short: "Check every checksum and signature of a repository",
		Long: `Verify reads everything that the repository names. It also lists objects that nothing names: an
interrupted publication leaves some, and no client sees them. With each fault it says what to do. The exit code is 0 if
everything that is named is right.`,
		Example: "  rpmflow repo verify hello fedora-43-x86_64",
	}
	return repoAction(cmd, cobra.ExactArgs(2), needsNothing, func(
		cmd *cobra.Command, p *publisher.Publisher, place publisher.Place, _ []string,
	) error {
		verified, err := p.Verify(cmd.Context(), place)
		if err != nil {
			return err
		}
		wrong := 0
		for _, f := range verified.Findings {
			if !f.Unused {
				wrong++
			}
		}
		err = emit(cmd, append([]publisher.Finding{}, verified.Findings...), func(out io.Writer) error {
			for _, f := range verified.Findings {
				line := f.Key + ": " + f.Wrong
				if f.Do != "" {
					line += ": " + f.Do
				}
				fmt.Fprintln(out, line)
			}
			if wrong == 0 {
				fmt.Fprintf(out, "%d objects, all right\n", verified.Objects)
			}
			return nil
		})
		if wrong > 0 {
			err = errors.Join(err, hint.Add(fmt.Errorf("%d of %d objects of repository %s are wrong", wrong,
				verified.Objects, place.Path()), "what to do is said of each"))
		}
		return err
	})
}

func repoRebuild() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rebuild PROJECT TARGET", Short: "Make a damaged or lost repository again",
		Long: `Rebuild publishes one revision more, which clients see, also after rollback. It takes the packages of
all builds of the project for the target that have succeeded, and signs them again. Packages of the newest revision
that come from elsewhere, such as promoted ones, are taken from the repository itself. Older revisions and pins stay.
If state.zst is damaged or missing, the revisions are found in the storage; which ones were pinned is not known then,
so all are pinned that were replaced more than 50 hours ago. Packages that were taken out with remove stay out:
removed.json beside the repository lists them. With --removed, or if that is lost, they come back. The exit code is 1
if packages are lost.`,
		Example: "  rpmflow repo rebuild hello fedora-43-x86_64",
	}
	removed := cmd.Flags().Bool("removed", false, "also with the packages that were taken out with remove")
	return repoAction(cmd, cobra.ExactArgs(2), mayAnnounce, func(
		cmd *cobra.Command, p *publisher.Publisher, place publisher.Place, _ []string,
	) error {
		made, err := p.Rebuild(cmd.Context(), place, *removed)
		if err != nil {
			return err
		}
		for _, r := range made.Refused {
			cmd.PrintErrln("not published:", hint.Full(r))
		}
		for _, l := range made.Lost {
			cmd.PrintErrln("lost:", hint.Full(l))
		}
		if made.Found {
			remark(cmd.ErrOrStderr(), fmt.Sprintf("state.zst was lost, and with it the pins; older revisions found: "+
				"%d. Those replaced more than 50 hours ago are pinned now: rpmflow repo show lists them, rpmflow repo "+
				"pin --release ends that", len(made.Revisions)-1))
		}
		announceChange(cmd, p, place)
		err = printRow(cmd, rowOf(p, place, made.State))
		if n := len(made.Lost); n > 0 {
			err = errors.Join(err, fmt.Errorf("repository %s: %d packages or revisions are lost", place.Path(), n))
		}
		return err
	})
}
