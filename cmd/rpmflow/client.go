package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/up"
)

// clientFlags are those of every command that uses a server.
func clientFlags(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false // a command's own come first
	cli.JSONFlag(cmd)
	cmd.Flags().String("server", "", "URL of the listener (RPMFLOW_SERVER; else public_url of the configuration)")
	cli.KeyFlags(cmd)
}

// clientCommand completes a command whose own flags are defined: run gets a client of the server.
func clientCommand(
	cmd *cobra.Command, run func(cmd *cobra.Command, c *api.Client, args []string) error,
) *cobra.Command {
	clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		return run(cmd, c, args)
	}
	return cmd
}

// clientConfig loads the configuration of a command. If none is named, that of a running `rpmflow up` is used.
func clientConfig(cmd *cobra.Command) (*config.Config, error) {
	cfg, err := cli.Load(cmd, config.ForOperator)
	if err != nil {
		return nil, err
	}
	if explicit, _ := cmd.Flags().GetString("config"); explicit != "" || os.Getenv("RPMFLOW_CONFIG") != "" {
		return cfg, nil
	}
	running, err := runningConfig(cmd, cfg.DataDir, config.ForOperator)
	return cmp.Or(running, cfg), err
}

// runningConfig is the configuration that a running `rpmflow up` has left in its data directory, nil if none runs.
func runningConfig(cmd *cobra.Command, dataDir string, program config.Program) (*config.Config, error) {
	file := filepath.Join(dataDir, up.ClientFile)
	if _, err := os.Stat(file); err != nil {
		return nil, nil
	}
	return cli.LoadFile(cmd, file, program)
}

// newClient makes a client of the listener that flags, environment or configuration name.
func newClient(cmd *cobra.Command) (*api.Client, error) {
	cfg, err := clientConfig(cmd)
	if err != nil {
		return nil, err
	}
	server, err := cmd.Flags().GetString("server")
	if err != nil {
		return nil, err
	}
	server = cmp.Or(server, os.Getenv("RPMFLOW_SERVER"), cfg.PublicURL.String())
	if u, err := url.Parse(server); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, hint.Add(fmt.Errorf("server %q is not a URL", server), "write one such as http://127.0.0.1:8080")
	}
	c := api.NewClient(server, string(cfg.Listener.Token))
	c.Explain = explain(c.Server())
	return c, nil
}

// explain returns what a user of the command line can do about an error of a request. The listener's own hints about
// its token are for programs and for its operator.
func explain(server string) func(error) error {
	return func(err error) error {
		var p *httpd.Problem
		var u *api.Unreachable
		switch {
		case errors.As(err, &u):
			return hint.Add(err, "is the server running? (`rpmflow up` starts one here; --server or RPMFLOW_SERVER "+
				"names another)")
		case !errors.As(err, &p):
		case p.Status == http.StatusUnauthorized:
			p.Hint = "set " + waysToAuthorize +
				" to the listener.token of the server (with compose: LISTENER_TOKEN in its .env)"
		case p.Status == http.StatusForbidden:
			p.Hint = "set listener.token where " + server + " runs, and here " + waysToAuthorize + " to the same"
		}
		return err
	}
}

// waysToAuthorize are the ways to give a command the token of submissions.
const waysToAuthorize = "RPMFLOW_LISTENER_TOKEN, or listener.token or listener.token_file of the configuration,"

// emit prints data as JSON if the command is asked for that, else what text writes.
func emit(cmd *cobra.Command, data any, text func(io.Writer) error) error {
	if cli.AsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), data)
	}
	return text(cmd.OutOrStdout())
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// buildIDs refuses what cannot be an id and would make another path of the URL: mostly an empty variable of a script.
func buildIDs(_ *cobra.Command, args []string) error {
	for _, id := range args {
		if strings.Trim(id, "./ ") == "" {
			return fmt.Errorf("%q is not a build id: take the id from the answer to a push or from rpmflow list", id)
		}
	}
	return nil
}
