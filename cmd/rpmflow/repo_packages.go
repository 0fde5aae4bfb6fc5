package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/publisher"
)

func repoRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove PROJECT TARGET PACKAGE…", Short: "Take packages out of a repository",
		Long: `A package is given by its name, by name-version-release.arch, or by the id of its build or the
beginning of that. Its file stays for clients that have older metadata, and is removed after 50 hours. The package of
this build does not come back, also not with rebuild. A new build of the same version is published as any other.`,
		Example: "  rpmflow repo remove hello fedora-43-x86_64 hello-1.0-1.x86_64",
	}
	return repoAction(cmd, cobra.MinimumNArgs(3), mayAnnounce, func(
		cmd *cobra.Command, p *publisher.Publisher, place publisher.Place, rest []string,
	) error {
		removed, err := p.Remove(cmd.Context(), place, rest...)
		if err != nil {
			return err
		}
		announceChange(cmd, p, place)
		return printNames(cmd, "removed", removed)
	})
}

func repoPromote() *cobra.Command {
	var builds []string
	cmd := &cobra.Command{
		Use: "promote PROJECT TARGET TO-PROJECT [TO-TARGET]", Args: cobra.RangeArgs(3, 4),
		Short: "Copy the packages of builds into another repository, all at once",
		Long: `Promote takes packages that were tested to those who want stable ones. They are in one new revision, or
none is. Without --build it is everything that the repository has. The other project is in the configuration, too; its
publish_* rules hold.`,
		Example: "  rpmflow repo promote hello fedora-43-x86_64 hello-stable --build 6f1c22be",
	}
	cmd.Flags().StringSliceVar(&builds, "build", nil, "id of a build or its beginning, as often as needed")
	return repoAction(cmd, cmd.Args, mayAnnounce, func(
		cmd *cobra.Command, p *publisher.Publisher, place publisher.Place, rest []string,
	) error {
		to := publisher.Place{Project: rest[0], Target: place.Target, Kind: place.Kind}
		if len(rest) == 2 {
			to.Target = rest[1]
		}
		if err := p.Known(cmd.Context(), to.Project, to.Target); err != nil { // else it is made, and nobody looks there
			return err
		}
		copied, err := p.Promote(cmd.Context(), place, to, builds)
		if err != nil {
			return err
		}
		announceChange(cmd, p, to)
		return printNames(cmd, "promoted", copied)
	})
}

func printNames(cmd *cobra.Command, what string, names []string) error {
	return emit(cmd, names, func(out io.Writer) error {
		for _, n := range names {
			fmt.Fprintf(out, "%s %s\n", what, n)
		}
		return nil
	})
}
