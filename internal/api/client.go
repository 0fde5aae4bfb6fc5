package api

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
	"strconv"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/retry"
)

// Client uses a listener.
type Client struct {
	base  string
	token string
	http  *http.Client
	// Explain, when set, turns an error of a request into the words of the client's user. It is an *Unreachable, or a
	// *httpd.Problem that the listener has answered.
	Explain func(error) error
}

// NewClient makes a client of the listener at an http or https URL. The token may be empty.
func NewClient(server, token string) *Client {
	// No time limit on the whole: a followed log lasts as long as its build. The answer's beginning has one.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 30 * time.Second
	return &Client{base: strings.TrimRight(server, "/"), token: token, http: &http.Client{Transport: transport}}
}

// Server is the URL of the listener.
func (c *Client) Server() string { return c.base }

// Unreachable says that the listener did not answer, or that something else did.
type Unreachable struct{ Err error }

// Error implements error.
func (u *Unreachable) Error() string { return u.Err.Error() }

// Unwrap returns the cause.
func (u *Unreachable) Unwrap() error { return u.Err }

// Submit asks for builds of a project's commit. The key may be empty.
func (c *Client) Submit(ctx context.Context, s Submission, key string) (p Push, err error) {
	return p, c.call(ctx, http.MethodPost, "/api/v1/builds", s, &p, key)
}

// Build reads the record of a build.
func (c *Client) Build(ctx context.Context, id string) (b rpmflow.Build, err error) {
	return b, c.call(ctx, http.MethodGet, buildPath(id), nil, &b, "")
}

// Builds lists builds; the query has the parameters of the route.
func (c *Client) Builds(ctx context.Context, query url.Values) (l BuildList, err error) {
	return l, c.call(ctx, http.MethodGet, "/api/v1/builds?"+query.Encode(), nil, &l, "")
}

// Cancel ends a build, and returns its record as it is then.
func (c *Client) Cancel(ctx context.Context, id, by string) (b rpmflow.Build, err error) {
	return b, c.call(ctx, http.MethodPost, buildPath(id)+"/cancel", Cancellation{By: by}, &b, "")
}

// Retry builds again what a finished build was made of. The key may be empty.
func (c *Client) Retry(ctx context.Context, id, key string) (p Push, err error) {
	return p, c.call(ctx, http.MethodPost, buildPath(id)+"/retry", struct{}{}, &p, key)
}

// Projects lists the configured projects.
func (c *Client) Projects(ctx context.Context) (l ProjectList, err error) {
	return l, c.call(ctx, http.MethodGet, "/api/v1/projects", nil, &l, "")
}

// Targets lists the configured targets.
func (c *Client) Targets(ctx context.Context) (l TargetList, err error) {
	return l, c.call(ctx, http.MethodGet, "/api/v1/targets", nil, &l, "")
}

// Ready returns nil when the listener takes pushes.
func (c *Client) Ready(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/readyz", nil, &Status{}, "")
}

// Log opens the log of a build, which the caller closes.
func (c *Client) Log(ctx context.Context, id string, follow bool) (io.ReadCloser, error) {
	path := buildPath(id) + "/log?follow=" + strconv.FormatBool(follow)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("request to %s: %w", c.base, err)
	}
	return c.do(c.http, req, "")
}

var errNotFinished = errors.New("the build has not finished")

// Wait calls changed whenever the build has changed, until it is finished. It goes on while a listener starts again.
func (c *Client) Wait(ctx context.Context, id string, changed func(rpmflow.Build)) (rpmflow.Build, error) {
	const poll = 200 * time.Millisecond
	var last rpmflow.Build
	err := retry.Policy{First: poll, Most: poll, Tries: 21}.Do(ctx, func() error {
		b, err := c.Build(ctx, id)
		if err != nil {
			return err
		}
		if b.State != last.State || b.Phase != last.Phase || b.Attempt != last.Attempt ||
			len(b.Waiting) != len(last.Waiting) || (b.Cancel == nil) != (last.Cancel == nil) {
			changed(b)
		}
		if last = b; b.State == rpmflow.Finished {
			return nil
		}
		return retry.Progress(errNotFinished)
	})
	if ctx.Err() != nil && last.State != rpmflow.Finished {
		err = context.Cause(ctx)
	}
	return last, err
}

// SubmitSRPM uploads a source package, which may be large. The listener asks for it only when it can take it.
// Project, targets and key may be empty.
func (c *Client) SubmitSRPM(ctx context.Context, project string, targets []string, file, key string) (p Push,
	err error) {
	f, err := os.Open(file)
	if err != nil {
		return p, fmt.Errorf("source package: %w", err)
	}
	defer func() { _ = f.Close() }() // it was read only
	info, err := f.Stat()
	if err != nil {
		return p, fmt.Errorf("source package: %w", err)
	}
	query := url.Values{"target": targets}
	if project != "" {
		query.Set("project", project)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/api/v1/builds/srpm?"+query.Encode(), f)
	if err != nil {
		return p, fmt.Errorf("request to %s: %w", c.base, err)
	}
	req.ContentLength = info.Size()
	req.Header.Set("Content-Type", MediaSRPM)
	req.Header.Set("Expect", "100-continue")
	transport := c.http.Transport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	transport.ExpectContinueTimeout = 30 * time.Second
	const slowest = 256 << 10 // bytes per second, at which the listener's storage may take it
	transport.ResponseHeaderTimeout = 2*time.Minute + time.Duration(info.Size()/slowest)*time.Second
	answer, err := c.do(&http.Client{Transport: transport}, req, key)
	if err != nil {
		return p, err
	}
	return p, c.decode(answer, &p)
}

func buildPath(id string) string { return "/api/v1/builds/" + url.PathEscape(id) }

func (c *Client) call(ctx context.Context, method, path string, body, into any, key string) error {
	var r io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return fmt.Errorf("request to %s: %w", c.base, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", mediaJSON)
	}
	answer, err := c.do(c.http, req, key)
	if err != nil {
		return err
	}
	return c.decode(answer, into)
}

func (c *Client) decode(answer io.ReadCloser, into any) error {
	defer func() { _ = answer.Close() }()
	if err := json.NewDecoder(answer).Decode(into); err != nil {
		return fmt.Errorf("answer of %s: %w", c.base, err)
	}
	return nil
}

// do sends a request and returns the body of a successful answer.
func (c *Client) do(h *http.Client, req *http.Request, key string) (io.ReadCloser, error) {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := h.Do(req)
	switch {
	case err != nil:
		err = &Unreachable{err}
	case res.StatusCode < 300:
		return res.Body, nil
	default:
		err = c.refusal(res)
	}
	if c.Explain != nil {
		err = c.Explain(err)
	}
	return nil, err
}

// refusal reads the problem that an answer is.
func (c *Client) refusal(res *http.Response) error {
	defer func() { _ = res.Body.Close() }()
	if p := httpd.ReadProblem(res); p != nil {
		return p
	}
	return &Unreachable{fmt.Errorf("%s answers %s, which a listener does not", c.base, res.Status)}
}
