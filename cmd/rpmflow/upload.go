package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/local"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// upload sends a source package to the listener.
func (s *submission) upload(ctx context.Context, cmd *cobra.Command, c *api.Client, project string) (answer api.Push,
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
	return c.SubmitSRPM(ctx, project, s.targets, file, s.key)
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
