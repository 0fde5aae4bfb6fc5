package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rpmflow/rpmflow/internal/source"
)

// targetRPM is the target's rpm in a session of the engine. It implements source.RPM.
type targetRPM struct {
	*run
	draft    *source.Draft
	sessions int
}

// open begins a session, with an empty directory for what it makes.
func (t *targetRPM) open(ctx context.Context) (err error) {
	t.sessions++
	results := filepath.Join(t.Dir, fmt.Sprintf("results-%d", t.sessions))
	if err := os.Mkdir(results, 0o700); err != nil {
		return fmt.Errorf("make directory for results: %w", err)
	}
	t.session, err = t.Engine.Open(ctx, Job{
		Build: t.b.Clone(), Target: t.Target, Epoch: t.draft.CommitTime, Dir: results, Sources: t.draft.Sources,
		Log:         t.output,
		OnContainer: func(id string) { t.b.Containers = append(t.b.Containers, id) },
		OnRoot:      t.root,
		Note:        func(remark string) { t.note(remark) },
	})
	if err != nil {
		return err
	}
	return t.session.Root(ctx)
}

// Expand implements source.RPM. A spec that excludes the target needs no sources, so that is looked at first.
func (t *targetRPM) Expand(ctx context.Context, spec, sources string) ([]byte, error) {
	text, err := t.session.Query(ctx, spec, sources, "-P")
	if err != nil {
		return nil, err
	}
	return text, t.excludedSpec(ctx, spec, sources, text)
}

// SRPM implements source.RPM.
func (t *targetRPM) SRPM(ctx context.Context, spec, sources string) (string, error) {
	return t.session.SRPM(ctx, spec, sources)
}

// Restart implements source.RPM: a session cannot be used after a failed step.
func (t *targetRPM) Restart(ctx context.Context, why string) error {
	fmt.Fprintf(t.Log, "rpmflow: %s\n", why)
	t.close(ctx)
	t.session = nil
	return t.open(ctx)
}
