package local

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
	"github.com/rpmflow/rpmflow/internal/source"
)

// Downloads says within which bounds sources are downloaded.
type Downloads struct {
	Allow     []string // what may be connected to although it is not public, as in source.Options
	MaxFile   int64    // bytes
	Lookaside string
}

func advice() source.Advice {
	return source.Advice{
		Advice: fetch.Advice{
			Permit: "use --allow-address with the host or address, if you trust the package with it",
			Raise:  "raise builder.max_source in the configuration or RPMFLOW_BUILDER_MAX_SOURCE",
		},
		Lookaside: "use --lookaside with one of",
	}
}

func (d Downloads) client(log *slog.Logger) (*fetch.Client, error) {
	return fetch.New(fetch.Options{Allow: d.Allow, MaxFile: d.MaxFile, Advice: advice().Advice, Logger: log})
}

// Download gets one file, such as a source package, from its server.
func Download(ctx context.Context, d Downloads, url, file string, log *slog.Logger) error {
	client, err := d.client(log)
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.Download(ctx, url, nil, file); err != nil {
		return fmt.Errorf("source package: %w", Infrastructure(err))
	}
	return nil
}

// Fetch downloads the spec's sources that are not in dir; empty: where they belong next to the spec. It returns what it
// has done up to an error.
func (s *Spec) Fetch(ctx context.Context, d Downloads, dir string, log *slog.Logger) ([]source.Obtained, error) {
	expanded, err := s.Expanded(ctx)
	if err != nil {
		return nil, err
	}
	beside := source.Dirs(s.file)
	if dir == "" {
		dir = beside[0]
	}
	client, err := d.client(log)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	obtained, err := source.FetchSources(ctx, client, source.SpecSources{
		Advice: advice(),
		Spec:   s.file, Expanded: expanded, Dir: dir, Beside: beside, Lookaside: d.Lookaside,
		Branch: worktree.BranchOf(ctx, filepath.Dir(s.file)),
	})
	return obtained, Infrastructure(err)
}
