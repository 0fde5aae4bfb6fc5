package source

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// RPM is the target's rpm, as Complete needs it. After a call that failed, Restart is the only one that is allowed.
type RPM interface {
	// Expand returns the spec as `rpmspec -P` prints it. sources is the directory of the sources, which the spec may
	// read. With an error that is about the target it returns the text, too.
	Expand(ctx context.Context, spec, sources string) ([]byte, error)
	// SRPM makes the source package and returns its path.
	SRPM(ctx context.Context, spec, sources string) (string, error)
	// Restart begins again in a clean root. why is for the log.
	Restart(ctx context.Context, why string) error
}

// Completed is a draft with all of its sources, and what rpm has made of it.
type Completed struct {
	SRPM string // the source package, a file on disk
	// Layout is that of the draft, unless rpm has shown that the sources of a directory on disk are elsewhere.
	Layout rpmflow.Layout
	Files  []rpmflow.SourceFile // the sources that are not in git
	Notes  []string             // remarks for the packager
}

// Complete gets what the draft does not have, and has the source package made. With an error, Files and Notes are what
// there was until then.
//
// To expand a spec costs a container, so that is done only if a source seems to be missing. If that guess is wrong, rpm
// misses a file, and the work begins again with the spec expanded.
func (d *Draft) Complete(ctx context.Context, rpm RPM) (Completed, error) {
	c := &completion{Draft: *d}
	c.Files, c.Notes = slices.Clip(d.Files), slices.Clip(d.Notes)
	srpm, err := c.sourcePackage(ctx, rpm)
	return Completed{SRPM: srpm, Layout: c.Layout, Files: c.Files, Notes: c.Notes}, err
}

// completion is the work on one draft.
type completion struct {
	Draft
	expanded spec.Expanded
}

func (c *completion) sourcePackage(ctx context.Context, rpm RPM) (string, error) {
	if c.SRPM != "" {
		return c.adopt()
	}
	if !c.needsExpansion() {
		srpm, err := rpm.SRPM(ctx, c.Spec, c.Sources)
		f := failureOf(err)
		if f == nil || f.Kind != rpmflow.FailureSource {
			return srpm, err
		}
		if err := rpm.Restart(ctx, f.Message+": expanding the spec, to get what is missing"); err != nil {
			return "", err
		}
	}
	text, err := c.expand(ctx, rpm)
	remark, err := spec.CheckAutomatic(c.automatic, text, err)
	if err != nil {
		return "", err
	}
	if remark != "" {
		c.Notes = append(c.Notes, remark)
	}
	c.expanded = spec.ParseExpanded(text)
	if err := c.getSources(ctx); err != nil {
		return "", fmt.Errorf("project %q: %w", c.request.Project, err)
	}
	return rpm.SRPM(ctx, c.Spec, c.Sources)
}

// expand returns the spec as rpm expands it. If rpm cannot, the spec may include files next to it that it does not
// name.
func (c *completion) expand(ctx context.Context, rpm RPM) ([]byte, error) {
	text, err := rpm.Expand(ctx, c.Spec, c.Sources)
	if failureOf(err) == nil {
		return text, err
	}
	added, nerr := c.addNeighbours(ctx)
	if nerr != nil || !added {
		return text, errors.Join(err, nerr)
	}
	if err := rpm.Restart(ctx, "expanding the spec again, with the files that are next to it"); err != nil {
		return nil, err
	}
	return rpm.Expand(ctx, c.Spec, c.Sources)
}

// getSources gets what the spec names and the draft does not have: from the directory of a spec on disk, as an archive
// of the tree, or from servers. A file that is committed next to the spec stays as it is.
func (c *completion) getSources(ctx context.Context) error {
	if c.request.WorkTree != nil {
		if err := c.gather(ctx); err != nil {
			return err
		}
		c.reconsider()
	}
	if c.Layout.Archive() {
		if err := c.findSource0(ctx); err != nil {
			return err
		}
		if err := c.compareKnown(); err != nil {
			return err
		}
	}
	return c.download(ctx)
}
