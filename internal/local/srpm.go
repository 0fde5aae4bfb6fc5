package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/source"
)

// srpmName is what the source package is called until the build has given it the name that it should have.
const srpmName = "package.src.rpm"

// adopt copies a source package of the user's.
func (s *sources) adopt(ctx context.Context, dir string) (*source.Draft, error) {
	name := filepath.Base(s.in.path)
	p, err := prepared(dir, name)
	if err != nil {
		return nil, err
	}
	if err := worktree.CopyFile(ctx, s.in.path, p.SRPM, time.Now()); err != nil {
		return nil, fmt.Errorf("source package: %w", err)
	}
	if err := fetch.Compare(p.SRPM, name, s.checksum); err != nil {
		return nil, err
	}
	if err := s.beside(ctx, p); err != nil {
		return nil, err
	}
	return dated(p), nil
}

// beside takes the sources that the package was made without (NoSource, NoPatch) from its directory.
func (s *sources) beside(ctx context.Context, p *source.Draft) error {
	left, err := rpmfile.LeftOut(p.SRPM)
	if err != nil || len(left) == 0 { // what is not a source package is refused later
		return nil
	}
	var missing []string
	p.Sources = filepath.Join(filepath.Dir(p.SRPM), "left-out")
	if err := os.Mkdir(p.Sources, 0o700); err != nil {
		return fmt.Errorf("source package: %w", err)
	}
	for _, name := range left {
		file := filepath.Join(filepath.Dir(s.in.path), name)
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
			continue
		}
		if err := worktree.CopyFile(ctx, file, filepath.Join(p.Sources, name), time.Now()); err != nil {
			return fmt.Errorf("source package: %w", err)
		}
	}
	if len(missing) > 0 {
		return rpmflow.Fail(rpmflow.FailureSource, "put what it was made without (NoSource, NoPatch) next to it",
			"%s lacks %s", p.SRPMPath, strings.Join(missing, ", "))
	}
	p.Explanation += ", with " + strings.Join(left, ", ") + " from the same directory"
	return nil
}

// download gets a source package from its server.
func (s *sources) download(ctx context.Context, dir string) (*source.Draft, error) {
	p, err := prepared(dir, s.in.remoteName())
	if err != nil {
		return nil, err
	}
	got, err := s.Store.Download(ctx, s.in.url, s.checksum, p.SRPM)
	if err != nil {
		return nil, fmt.Errorf("source package: %w", err)
	}
	got.Name = p.SRPMPath
	p.Files = []rpmflow.SourceFile{got}
	p.Explanation += ", downloaded from " + got.URL
	return dated(p), nil
}

func prepared(dir, name string) (*source.Draft, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("source package: %w", err)
	}
	return &source.Draft{
		Layout: rpmflow.LayoutSRPM, Explanation: "srpm: the source package " + name + " is rebuilt",
		SRPM: filepath.Join(dir, srpmName), SRPMPath: name,
	}, nil
}

// dated takes the time that the source package was made at for that of the commit, so that it makes the same packages
// wherever it is copied to. What is not a source package has no time, and is refused later.
func dated(p *source.Draft) *source.Draft {
	var err error
	if p.CommitTime, err = rpmfile.MadeAt(p.SRPM); err != nil {
		p.CommitTime = time.Unix(0, 0).UTC()
	}
	return p
}
