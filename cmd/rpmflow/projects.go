package main

import (
	"cmp"
	"context"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// configuredProject is what the listener says of a project.
type configuredProject struct {
	Name           string   `json:"name"`
	Repository     string   `json:"repository"`
	Packaging      string   `json:"packaging_repository,omitempty"`
	Layout         string   `json:"layout"`
	Branches       []string `json:"branches"`
	Tags           []string `json:"tags"`
	Packages       []string `json:"packages"`
	Targets        []string `json:"targets"`
	Webhooks       bool     `json:"webhooks"`
	TimeoutSeconds float64  `json:"timeout_seconds"`
	Concurrency    int      `json:"concurrency"`
}

// configuredTarget is what the listener says of a target.
type configuredTarget struct {
	Name     string   `json:"name"`
	Arch     string   `json:"arch"`
	Config   string   `json:"config"`
	Image    string   `json:"image"`
	Projects []string `json:"projects"`
}

func (c *client) projects(ctx context.Context) ([]configuredProject, error) {
	var answer struct {
		Projects []configuredProject `json:"projects"`
	}
	err := c.call(ctx, http.MethodGet, "/api/v1/projects", nil, &answer)
	return answer.Projects, err
}

func (c *client) targets(ctx context.Context) ([]configuredTarget, error) {
	var answer struct {
		Targets []configuredTarget `json:"targets"`
	}
	err := c.call(ctx, http.MethodGet, "/api/v1/targets", nil, &answer)
	return answer.Targets, err
}

func projectsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "projects", Short: "List the server's projects", Args: cobra.NoArgs,
		Long: `Projects lists what the server is configured to build: the repository of each project, the refs whose pushes are built, and the
targets. --json has the packages and limits, too. No secret is shown.`,
	}
	clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		list, err := c.projects(cmd.Context())
		if err != nil {
			return err
		}
		if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"projects": list})
		}
		t := table{{"PROJECT", "LAYOUT", "REFS", "TARGETS", "WEBHOOKS", "REPOSITORY"}}
		for _, p := range list {
			refs := append(append([]string{}, p.Branches...), p.Tags...)
			webhooks := "no secret"
			if p.Webhooks {
				webhooks = "yes"
			}
			repository := p.Repository
			if p.Packaging != "" {
				repository += ", " + p.Packaging
			}
			t = append(t, []string{p.Name, p.Layout, cmp.Or(strings.Join(refs, ","), "-"), cmp.Or(strings.Join(p.Targets,
				","), "-"), webhooks, repository})
		}
		return t.write(cmd.OutOrStdout(), 3, 2, 5)
	}
	return cmd
}

func targetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "targets", Short: "List the server's targets", Args: cobra.NoArgs,
		Long: `Targets lists what the server is configured to build for, with mock's configuration and the container image of each, and the projects that are
built for it. What a builder's container engine keeps for them, rpmflow images lists.`,
	}
	clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		list, err := c.targets(cmd.Context())
		if err != nil {
			return err
		}
		if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"targets": list})
		}
		t := table{{"TARGET", "ARCH", "CONFIG", "IMAGE", "PROJECTS"}}
		for _, target := range list {
			t = append(t, []string{target.Name, target.Arch, target.Config, target.Image,
				cmp.Or(strings.Join(target.Projects, ","), "-")})
		}
		return t.write(cmd.OutOrStdout(), 4, 3, 2)
	}
	return cmd
}
