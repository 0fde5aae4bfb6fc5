package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/source"
)

// Store keeps what a build leaves behind.
type Store interface {
	PutFile(ctx context.Context, key, file string, kind rpmflow.ArtifactKind) (rpmflow.Artifact, error)
	PutLog(ctx context.Context, key, file string) (rpmflow.Artifact, error)
	PutJSON(ctx context.Context, key string, v any) error
}

// StoreRecord stores the final record of a build next to its artifacts.
func StoreRecord(ctx context.Context, store Store, final rpmflow.Build) error {
	return store.PutJSON(ctx, final.Prefix()+"build.json", final)
}

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
	// Repository returns the URL to fetch from for a repository in a project's record, with the credentials that no
	// record holds.
	Repository func(project, repository string) string
	// URL is where everybody can fetch the object with this key.
	URL       func(key string) string
	MaxOutput int64 // bytes of output that a build may write
	Logger    *slog.Logger
}

const (
	uploadWait = 15 * time.Minute
	closeWait  = 2 * time.Minute
)

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
	run.output = &limited{w: a.Log, left: r.MaxOutput, exceeded: func() {
		cancel(rpmflow.Fail(rpmflow.FailureBuild, "make it write less, or ask an operator to raise builder.max_output",
			"the build wrote more than %d bytes of output", r.MaxOutput))
	}}

	err := run.steps(tctx)
	defer run.close(ctx)
	if ctx.Err() != nil { // interrupted from outside: no outcome
		return run.b, context.Cause(ctx)
	}
	var lost *reportError
	if errors.As(err, &lost) {
		return run.b, lost.err
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
		if ctx.Err() != nil {
			return run.b, context.Cause(ctx)
		}
		if errors.As(err, &lost) {
			return run.b, lost.err
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

// upload stores packages and logs. The record is stored by the caller, who decides whether this attempt was the last.
func (r *run) upload(ctx context.Context, outcome rpmflow.Outcome) error {
	ctx, cancel := context.WithTimeout(ctx, uploadWait)
	defer cancel()
	if err := r.enter(ctx, rpmflow.PhaseUpload); err != nil {
		return err
	}
	if outcome.Result == rpmflow.Succeeded {
		err := r.putPackages(ctx)
		if canceled := r.canceled(); canceled != nil {
			outcome, r.b.Packages, r.b.Artifacts = rpmflow.OutcomeOf(rpmflow.PhaseUpload, canceled), nil, nil
		} else if err != nil {
			return err
		}
	}
	logs, err := r.logs(outcome)
	if err != nil {
		return err
	}
	for _, file := range logs {
		a, err := r.Store.PutLog(ctx, r.b.Prefix()+filepath.Base(file)+".gz", file)
		if err != nil {
			return err
		}
		r.add(a, filepath.Base(file))
	}
	now := time.Now()
	r.b.LeavePhase(now)
	finished := now.UTC()
	r.b.State, r.b.Outcome, r.b.FinishedAt = rpmflow.Finished, &outcome, &finished
	return nil
}

// canceled returns why the build was canceled, nil if it was not.
func (r *run) canceled() error {
	if r.Cancel == nil {
		return nil
	}
	return context.Cause(r.Cancel)
}

// putPackages stores what was built, unless the build is canceled meanwhile.
func (r *run) putPackages(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if r.Cancel != nil {
		defer context.AfterFunc(r.Cancel, stop)()
	}
	for _, file := range append([]string{r.srpm}, r.rpms...) {
		if err := r.putPackage(ctx, file); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) putPackage(ctx context.Context, file string) error {
	p, err := rpmfile.Package(file)
	if err != nil {
		return err
	}
	kind := rpmflow.KindRPM
	if p.Arch == "src" {
		kind = rpmflow.KindSRPM
	}
	a, err := r.Store.PutFile(ctx, r.b.Prefix()+filepath.Base(file), file, kind)
	if err != nil {
		return err
	}
	a.NEVRA = p.String()
	r.add(a, filepath.Base(file))
	r.b.Packages = append(r.b.Packages, rpmflow.Package(p))
	return nil
}

func (r *run) add(a rpmflow.Artifact, name string) {
	a.Name, a.URL = name, r.URL(a.Key)
	r.b.Artifacts = append(r.b.Artifacts, a)
}

// logs returns the engine's logs. The build.log of a failed build ends with the reason, which mock may have said
// elsewhere; a build that came to an end before it had one gets one.
func (r *run) logs(outcome rpmflow.Outcome) ([]string, error) {
	var logs []string
	if r.session != nil {
		logs = r.session.Logs()
	}
	i := slices.IndexFunc(logs, func(file string) bool { return filepath.Base(file) == "build.log" })
	if i >= 0 && outcome.Result == rpmflow.Succeeded {
		return logs, nil
	}
	file := filepath.Join(r.Dir, "build.log")
	if i >= 0 {
		file = logs[i]
	} else {
		logs = append([]string{file}, logs...)
	}
	text := fmt.Sprintf("\nrpmflow: %s in phase %s: %s: %s\n", outcome.Result, outcome.Phase, outcome.Kind,
		outcome.Message)
	if outcome.Result == rpmflow.Skipped {
		text = fmt.Sprintf("\nrpmflow: skipped: %s\n", outcome.Message)
	}
	for _, line := range outcome.Excerpt {
		text += "rpmflow: > " + line + "\n"
	}
	if outcome.Hint != "" {
		text += "rpmflow: " + outcome.Hint + "\n"
	}
	if err := appendTo(file, text); err != nil {
		return nil, fmt.Errorf("write the reason into build.log: %w", err)
	}
	return logs, nil
}

func appendTo(name, text string) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(text)
	return err
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

// limited passes output on until there is too much of it.
type limited struct {
	w        io.Writer
	left     int64
	exceeded func()
	over     atomic.Bool
}

func (l *limited) Write(p []byte) (int, error) {
	if atomic.AddInt64(&l.left, -int64(len(p))) < 0 {
		if l.over.CompareAndSwap(false, true) {
			l.exceeded()
		}
		return len(p), nil
	}
	return l.w.Write(p)
}
