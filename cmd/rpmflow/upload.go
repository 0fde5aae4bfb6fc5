package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/local"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// upload gives a source package to the listener.
func (s *submission) upload(ctx context.Context, cmd *cobra.Command, c *client, project string) (answer pushAnswer,
	err error) {
	file := s.srpm
	if u, perr := url.Parse(s.srpm); perr == nil && u.Host != "" {
		dir, err := os.MkdirTemp("", "rpmflow-submit-")
		if err != nil {
			return answer, fmt.Errorf("download %s: %w", s.srpm, err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		if file, err = s.download(ctx, cmd, dir); err != nil {
			return answer, err
		}
	}
	_, err = rpmfile.CheckSource(file)
	var not *rpmfile.NotSource
	if errors.As(err, &not) {
		return answer, fmt.Errorf("%s cannot be built: %w", s.srpm, hint.Full(not))
	}
	if err != nil {
		return answer, fmt.Errorf("source package: %w", err)
	}
	query := url.Values{"target": s.targets}
	if project != "" {
		query.Set("project", project)
	}
	return answer, c.send(ctx, "/api/v1/builds/srpm?"+query.Encode(), file, &answer, s.headers()...)
}

// download gets the source package under the rules that hold for all downloads.
func (s *submission) download(ctx context.Context, cmd *cobra.Command, dir string) (string, error) {
	flags := downloadFlags{allow: s.allow}
	if err := flags.check(); err != nil {
		return "", err
	}
	cfg, err := clientConfig(cmd)
	if err != nil {
		return "", err
	}
	d := flags.downloads(cfg)
	d.MaxFile = max(d.MaxFile, int64(cfg.Listener.MaxUpload))
	file := filepath.Join(dir, "package.src.rpm")
	err = local.Download(ctx, d, s.srpm, file, cfg.Log.Logger(cmd.ErrOrStderr()))
	return file, hint.Full(err)
}

// send posts a file, which may be large. The listener asks for it only when it can take it.
func (c *client) send(ctx context.Context, path, file string, into any, headers ...string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("source package: %w", err)
	}
	defer func() { _ = f.Close() }() // it was read only
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("source package: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, f)
	if err != nil {
		return fmt.Errorf("server %s: %w", c.base, err)
	}
	req.ContentLength = info.Size()
	req.Header.Set("Content-Type", "application/x-rpm")
	req.Header.Set("Expect", "100-continue")
	transport := c.http.Transport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	transport.ExpectContinueTimeout = 30 * time.Second
	const slowest = 256 << 10 // bytes per second, at which the listener's storage may take it
	transport.ResponseHeaderTimeout = 2*time.Minute + time.Duration(info.Size()/slowest)*time.Second
	body, err := c.do(&http.Client{Transport: transport}, req, headers...)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("answer of %s: %w", c.base, err)
	}
	return nil
}
