package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/source"
)

// Sources turns a commit into a spec and sources.
type Sources interface {
	Prepare(ctx context.Context, req source.Request, dir string) (*source.Draft, error)
	Match(ctx context.Context, url, pushed, fallback string) (rpmflow.Revision, string, error)
}

// Runner takes builds through their phases. It may run several at once.
type Runner struct {
	Engine  Engine
	Sources Sources
	Store   Store
	// URL is where everybody can fetch the object with this key.
	URL func(key string) string
	// RepositoriesURL is where the projects' published repositories are, without a slash at its end.
	RepositoriesURL string
	MaxOutput       int64 // bytes of output that a build may write
	Logger          *slog.Logger
}

const closeWait = 2 * time.Minute

// Attempt is one run of a build.
type Attempt struct {
	Build  rpmflow.Build
	Target rpmflow.Target
	Dir    string    // an empty directory of its own
	Log    io.Writer // what is watched live
	// Cancel ends when the build is to end, its cause being the outcome; logs are stored then, packages are not. Nil:
	// never.
	Cancel context.Context
	// Report makes the record known whenever the build enters a phase. When it fails, this builder does not own the
	// build any more.
	Report func(ctx context.Context, b rpmflow.Build) error
	// SRPMOnly ends the build when there is a source package.
	SRPMOnly bool
	// Failed is called with the session of a build that has failed in the engine, once its logs are stored and before
	// what it has left is removed. Nil: there is no such shell.
	Failed func(ctx context.Context, s Session)
}

// Run takes the attempt to its outcome, which is in the record that it returns. An error means that there is none: ctx
// has ended, or the report was refused. All that was started has been stopped by then.
func (r *Runner) Run(ctx context.Context, a Attempt) (rpmflow.Build, error) {
	run := &run{Runner: r, Attempt: a, b: a.Build.Clone()}
	run.b.Engine = r.Engine.Name()
	run.note(r.Engine.Caveats()...)

	tctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timeout := rpmflow.Fail(rpmflow.FailureTimeout, "raise the project's timeout, or look in the log for what hangs",
		"the build took longer than %s", run.b.Timeout())
	timer := time.AfterFunc(run.b.Timeout(), func() { cancel(timeout) })
	defer timer.Stop()
	if a.Cancel != nil {
		defer context.AfterFunc(a.Cancel, func() { cancel(context.Cause(a.Cancel)) })()
	}
	output := &limited{w: a.Log, exceeded: func() {
		cancel(rpmflow.Fail(rpmflow.FailureBuild, "make it write less, or ask an operator to raise builder.max_output",
			"the build wrote more than %d bytes of output", r.MaxOutput))
	}}
	output.left.Store(r.MaxOutput)
	run.output = output
	noOutcome := func(err error) error { // interrupted from outside, or another builder's build
		var lost *reportError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &lost):
			return lost.err
		}
		return nil
	}

	err := run.steps(tctx)
	defer run.close(ctx)
	if end := noOutcome(err); end != nil {
		return run.b, end
	}
	// the error of a step that was stopped does not matter
	if cause := context.Cause(tctx); err != nil && cause != nil {
		err = cause
	}
	outcome := rpmflow.OutcomeOf(run.b.Phase, err)
	if u, ok := r.Engine.(Unchecker); ok && run.b.Phase == rpmflow.PhaseRPMs && outcome.Result != rpmflow.Skipped {
		outcome.Unchecked = u.Unchecked()
	}
	if err := run.upload(ctx, outcome); err != nil {
		if end := noOutcome(err); end != nil {
			return run.b, end
		}
		// Without its log a build has no other outcome than this.
		o := rpmflow.OutcomeOf(rpmflow.PhaseUpload, fmt.Errorf("store the results: %w", err))
		run.b.Outcome, run.b.Artifacts, run.b.Packages = &o, nil, nil
	}
	if run.Failed != nil && outcome.Result == rpmflow.Failed && run.session != nil && run.canceled() == nil {
		run.Failed(ctx, run.session)
	}
	return run.b, nil
}

type run struct {
	*Runner
	Attempt
	b       rpmflow.Build
	output  io.Writer
	session Session
	srpm    string
	rpms    []string
}

// reportError marks the refusal of a report among the errors of the steps.
type reportError struct{ err error }

func (e *reportError) Error() string { return e.err.Error() }
func (e *reportError) Unwrap() error { return e.err }

// note adds remarks that an earlier attempt has not made already.
func (r *run) note(remarks ...string) {
	for _, remark := range remarks {
		if remark != "" && !slices.Contains(r.b.Notes, remark) {
			r.b.Notes = append(r.b.Notes, remark)
		}
	}
}

func (r *run) enter(ctx context.Context, p rpmflow.Phase) error {
	r.b.EnterPhase(p, time.Now())
	fmt.Fprintf(r.Log, "rpmflow: %s\n", p)
	if err := r.Report(ctx, r.b.Clone()); err != nil {
		return &reportError{err}
	}
	return nil
}

func (r *run) steps(ctx context.Context) error {
	if err := r.ownRepository(ctx); err != nil {
		return err
	}
	if err := r.enter(ctx, rpmflow.PhaseSources); err != nil {
		return err
	}
	warmed, stop := r.warm(ctx)
	defer stop()
	req, err := r.request(ctx)
	if err != nil {
		return err
	}
	draft, err := r.Sources.Prepare(ctx, req, filepath.Join(r.Dir, "sources"))
	if err != nil {
		return err
	}
	r.prepared(draft)

	if err := r.enter(ctx, rpmflow.PhaseRoot); err != nil {
		return err
	}
	warmed()
	rpm := &targetRPM{run: r, draft: draft}
	if err := rpm.open(ctx); err != nil {
		return err
	}

	if err := r.enter(ctx, rpmflow.PhaseSRPM); err != nil {
		return err
	}
	complete, err := draft.Complete(ctx, rpm)
	r.fetched(complete.Layout, complete.Files, complete.Notes)
	if err != nil {
		return err
	}
	r.srpm = complete.SRPM

	if r.SRPMOnly {
		return nil
	}
	if err := excluded(r.srpm, r.b, r.Target.Arch); err != nil {
		return err
	}
	if err := r.enter(ctx, rpmflow.PhaseDependencies); err != nil {
		return err
	}
	if err := r.session.Dependencies(ctx, r.srpm); err != nil {
		return err
	}

	if err := r.enter(ctx, rpmflow.PhaseRPMs); err != nil {
		return err
	}
	r.rpms, err = r.session.RPMs(ctx, r.srpm)
	if err == nil && len(r.rpms) == 0 {
		err = rpmflow.Fail(rpmflow.FailureBuild, "give the spec a %files section for a package that this target builds",
			"the build made no RPM")
	}
	for _, file := range r.rpms {
		if err == nil {
			err = checkPackage(file)
		}
	}
	return err
}

// fetched records which sources are not from git.
func (r *run) fetched(layout rpmflow.Layout, files []rpmflow.SourceFile, notes []string) {
	r.b.SourceFiles, r.b.Layout = files, layout
	r.note(notes...)
}

// root writes down what the build starts from.
func (r *run) root(root rpmflow.BuildRoot) {
	r.b.Root = &root
	if root.Stale {
		r.note("the repositories could not be asked: built in a root that was last compared with them at " +
			root.Checked.UTC().Format(time.RFC3339))
	}
}

// close frees what the engine holds, on a context of its own: the build's may have ended.
func (r *run) close(ctx context.Context) {
	if r.session == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	if err := r.session.Close(ctx); err != nil {
		r.Logger.Warn("engine not cleaned up: it is tried again later", "project", r.b.Project, "target", r.b.Target,
			"build", r.b.ID, "attempt", r.b.Attempt, "error", err)
	}
}

// limited passes output on until there is too much of it; exceeded may be called several times.
type limited struct {
	w        io.Writer
	left     atomic.Int64
	exceeded func()
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left.Add(-int64(len(p))) < 0 {
		l.exceeded()
		return len(p), nil
	}
	return l.w.Write(p)
}
