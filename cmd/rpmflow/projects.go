package main

import (
	"cmp"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/api"
)

func projectsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "projects", Short: "List the server's projects", Args: cobra.NoArgs,
		Long: `Projects lists what the server is configured to build: the repository of each project, the refs whose
pushes are built, and the targets. --json has packages and limits as well. No secret is shown.`,
	}
	return clientCommand(cmd, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		answer, err := c.Projects(cmd.Context())
		if err != nil {
			return err
		}
		t := table{{"PROJECT", "LAYOUT", "REFS", "TARGETS", "WEBHOOKS", "REPOSITORY"}}
		for _, p := range answer.Projects {
			webhooks := "no secret"
			if p.Webhooks {
				webhooks = "yes"
			}
			repository := p.Repository
			if p.Packaging != "" {
				repository += ", " + p.Packaging
			}
			t = append(t, []string{p.Name, string(p.Layout), list(slices.Concat(p.Branches, p.Tags)), list(p.Targets),
				webhooks, repository})
		}
		return emit(cmd, answer, func(out io.Writer) error { return t.write(out, 3, 2, 5) })
	})
}

func targetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "targets", Short: "List the server's targets", Args: cobra.NoArgs,
		Long: `Targets lists what the server is configured to build for, with mock's configuration and the container
image of each target, and the projects that are built for it. rpmflow images lists what a builder's container
engine keeps for them.`,
	}
	return clientCommand(cmd, func(cmd *cobra.Command, c *api.Client, _ []string) error {
		answer, err := c.Targets(cmd.Context())
		if err != nil {
			return err
		}
		t := table{{"TARGET", "ARCH", "CONFIG", "IMAGE", "PROJECTS"}}
		for _, target := range answer.Targets {
			t = append(t, []string{target.Name, target.Arch, target.Config, target.Image, list(target.Projects)})
		}
		return emit(cmd, answer, func(out io.Writer) error { return t.write(out, 4, 3, 2) })
	})
}

// list is a cell with several names.
func list(names []string) string { return cmp.Or(strings.Join(names, ","), "-") }
