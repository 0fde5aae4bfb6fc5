package main

import (
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
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/up"
)

// clientFlags are those of every command that uses a server.
func clientFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false // a command's own come first
	f.Bool("json", false, "print JSON")
	f.String("server", "", "URL of the listener (RPMFLOW_SERVER; else public_url of the configuration)")
	cli.KeyFlags(cmd)
}

// clientConfig loads the configuration of a command. If none is named, that of a running `rpmflow up` is used.
func clientConfig(cmd *cobra.Command) (*config.Config, error) {
	cfg, err := cli.Load(cmd, config.ForOperator)
	if err != nil {
		return nil, err
	}
	left := filepath.Join(cfg.DataDir, up.ClientFile)
	if explicit, _ := cmd.Flags().GetString("config"); explicit != "" || os.Getenv("RPMFLOW_CONFIG") != "" {
		return cfg, nil
	}
	if _, err := os.Stat(left); err != nil {
		return cfg, nil // nothing runs there: the configuration is as it is
	}
	return cli.LoadFile(cmd, left, config.ForOperator)
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
	if server == "" {
		server = os.Getenv("RPMFLOW_SERVER")
	}
	if server == "" {
		server = cfg.PublicURL.String()
	}
	if u, err := url.Parse(server); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("server %q is not a URL: write one such as http://127.0.0.1:8080", server)
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
			return fmt.Errorf("%w: is the server running? "+
				"(`rpmflow up` starts one here; --server or RPMFLOW_SERVER names another)", err)
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

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// errFailed makes the exit code say that what was asked for did not happen; the reason is printed already.
var errFailed = errors.New("not all builds succeeded")

// errSkipped means that no build failed, and that not all were made.
var errSkipped = errors.New("not all builds were made: some are skipped")

// buildIDs refuses what cannot be an id and would make another path of the URL: mostly an empty variable of a script.
func buildIDs(_ *cobra.Command, args []string) error {
	for _, id := range args {
		if strings.Trim(id, "./ ") == "" {
			return fmt.Errorf("%q is not a build id: take the id from the answer to a push or from rpmflow list", id)
		}
	}
	return nil
}
