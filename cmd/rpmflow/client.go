package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/up"
)

// clientFlags are those of every command that talks to a server.
func clientFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false // a command's own come first
	f.Bool("json", false, "print JSON")
	f.String("server", "", "URL of the listener (RPMFLOW_SERVER; else public_url of the configuration)")
	cli.KeyFlags(cmd)
}

// clientConfig loads the configuration of a command. Where none is named, what `rpmflow up` left in its data directory
// is taken.
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

// client talks to a listener.
type client struct {
	base  string
	token string
	http  *http.Client
}

func newClient(cmd *cobra.Command) (*client, error) {
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
	// No time limit on the whole: a followed log lasts as long as its build. The answer's beginning has one.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 30 * time.Second
	return &client{base: strings.TrimRight(server, "/"), token: string(cfg.Listener.Token), http: &http.Client{Transport: transport}}, nil
}

// open sends a request and gives the body of a successful answer.
func (c *client) open(ctx context.Context, method, path string, body any, headers ...string) (io.ReadCloser, error) {
	var r io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return nil, fmt.Errorf("request to %s: %w", c.base, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.do(c.http, req, headers...)
}

// do sends a request as the user whose token we have.
func (c *client) do(h *http.Client, req *http.Request, headers ...string) (io.ReadCloser, error) {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := h.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: is the server running? (`rpmflow up` starts one here; --server or RPMFLOW_SERVER names another)", err)
	}
	if res.StatusCode < 300 {
		return res.Body, nil
	}
	defer func() { _ = res.Body.Close() }()
	var p struct{ Error, Hint string }
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&p); err != nil || p.Error == "" {
		return nil, fmt.Errorf("%s answers %s: is that a rpmflow listener?", c.base, res.Status)
	}
	switch res.StatusCode { // the listener's hints are for programs that speak to it, and for its operator
	case http.StatusUnauthorized:
		p.Hint = "set " + waysToAuthorize + " to the listener.token of the server (with compose: LISTENER_TOKEN in its .env)"
	case http.StatusForbidden:
		p.Hint = "set listener.token where " + c.base + " runs, and here " + waysToAuthorize + " to the same"
	}
	return nil, fmt.Errorf("%s: %s", p.Error, p.Hint)
}

// waysToAuthorize are the ways to give a command the token of submissions.
const waysToAuthorize = "RPMFLOW_LISTENER_TOKEN, or listener.token or listener.token_file of the configuration,"

func (c *client) call(ctx context.Context, method, path string, body, into any, headers ...string) error {
	r, err := c.open(ctx, method, path, body, headers...)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if err := json.NewDecoder(r).Decode(into); err != nil {
		return fmt.Errorf("answer of %s: %w", c.base, err)
	}
	return nil
}

func (c *client) build(ctx context.Context, id string) (rpmflow.Build, error) {
	var b rpmflow.Build
	err := c.call(ctx, http.MethodGet, "/api/v1/builds/"+url.PathEscape(id), nil, &b)
	return b, err
}

// wait calls changed whenever the build has changed, until it is finished.
func (c *client) wait(ctx context.Context, id string, changed func(rpmflow.Build)) (rpmflow.Build, error) {
	var last rpmflow.Build
	for failures := 0; ; {
		b, err := c.build(ctx, id)
		switch {
		case ctx.Err() != nil:
			return last, context.Cause(ctx)
		case err != nil:
			if failures++; failures > 20 { // a restarting server is waited for
				return last, err
			}
		default:
			failures = 0
			if b.State != last.State || b.Phase != last.Phase || b.Attempt != last.Attempt || len(b.Waiting) != len(last.Waiting) || (b.Cancel == nil) != (last.Cancel == nil) {
				changed(b)
			}
			if last = b; b.State == rpmflow.Finished {
				return b, nil
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// errFailed makes the exit code say that what was asked for did not happen; the reason is printed already.
var errFailed = errors.New("not all builds succeeded")

// errSkipped says that no build failed, and that not all were made.
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
