package main

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"
)

func projectsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "projects", Short: "List the server's projects", Args: cobra.NoArgs,
		Long: `Projects lists what the server is configured to build: the repository of each project, the refs whose
pushes are built, and the targets. --json has packages and limits as well. No secret is shown.`,
	}
	clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		list, err := c.Projects(cmd.Context())
		if err != nil {
			return err
		}
		if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
			return printJSON(cmd.OutOrStdout(), list)
		}
		t := table{{"PROJECT", "LAYOUT", "REFS", "TARGETS", "WEBHOOKS", "REPOSITORY"}}
		for _, p := range list.Projects {
			refs := append(append([]string{}, p.Branches...), p.Tags...)
			webhooks := "no secret"
			if p.Webhooks {
				webhooks = "yes"
			}
			repository := p.Repository
			if p.Packaging != "" {
				repository += ", " + p.Packaging
			}
			t = append(t, []string{p.Name, string(p.Layout), cmp.Or(strings.Join(refs, ","), "-"),
				cmp.Or(strings.Join(p.Targets,
					","), "-"), webhooks, repository})
		}
		return t.write(cmd.OutOrStdout(), 3, 2, 5)
	}
	return cmd
}

func targetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "targets", Short: "List the server's targets", Args: cobra.NoArgs,
		Long: `Targets lists what the server is configured to build for, with mock's configuration and the container
image of each target, and the projects that are built for it. rpmflow images lists what a builder's container
engine keeps for them.`,
	}
	clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		list, err := c.Targets(cmd.Context())
		if err != nil {
			return err
		}
		if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
			return printJSON(cmd.OutOrStdout(), list)
		}
		t := table{{"TARGET", "ARCH", "CONFIG", "IMAGE", "PROJECTS"}}
		for _, target := range list.Targets {
			t = append(t, []string{target.Name, target.Arch, target.Config, target.Image,
				cmp.Or(strings.Join(target.Projects, ","), "-")})
		}
		return t.write(cmd.OutOrStdout(), 4, 3, 2)
	}
	return cmd
}
