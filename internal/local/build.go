package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/source"
)

// Request is one build here.
type Request struct {
	Input     Input
	Engine    build.Engine
	Target    rpmflow.Target
	Options   rpmflow.Options
	Layout    rpmflow.Layout // auto if empty
	Spec      string         // path in the repository, if there are several
	Sources   rpmflow.Sources
	Downloads Downloads
	Checksum  []checksum.Checksum // of the source package
	Timeout   time.Duration
	MaxOutput int64
	SRPMOnly  bool
	Results   *Results
	Log       io.Writer           // takes the log while it is written
	Report    func(rpmflow.Build) // is called whenever the build enters a phase
	Explore   bool                // whether a shell is opened in what a failed build has left
	Pause     func()              // is called before that: the terminal is the shell's then
	Logger    *slog.Logger
}

// Build makes one build, with the code that makes a builder's. When cancel ends, its outcome is that it was canceled,
// and its logs are kept; when ctx ends, there is none. What was started has been stopped and removed by its return.
func Build(ctx, cancel context.Context, place *Place, work *Work, req Request) (rpmflow.Build, error) {
	b := rpmflow.Build{
		BuildRequest: rpmflow.BuildRequest{
			ID: work.ID, Project: req.Input.Name(), Package: req.Input.Name(), Target: req.Target.Name,
			Arch:   req.Target.Arch,
			Layout: req.Layout, Spec: req.Spec,
			Sources: req.Sources, Options: req.Options, TimeoutSeconds: req.Timeout.Seconds(), Concurrency: 1,
			QueuedAt: time.Now().UTC(),
		},
		State: rpmflow.Running, Attempt: 1,
	}
	if b.Layout == "" {
		b.Layout = rpmflow.LayoutAuto
	}
	started := b.QueuedAt
	b.StartedAt = &started
	if host, err := os.Hostname(); err == nil {
		b.Builder = host
	}
	if b.Sources.Lookaside == "" {
		b.Sources.Lookaside = req.Downloads.Lookaside
	}
	store, err := source.Open(source.Options{
		Dir: place.Mirrors(), Access: req.Input.access, Allow: req.Downloads.Allow, MaxFile: req.Downloads.MaxFile,
		Advice: advice(), Logger: req.Logger,
	})
	if err != nil {
		return b, err
	}
	defer store.Close()
	if req.Input.kind == inputGit {
		b.Repository = giturl.Redact(req.Input.url)
		if b.Ref, b.Commit, err = git.Resolver(nil)(ctx, req.Input.url, req.Input.ref); err != nil {
			return b, Infrastructure(err)
		}
	}
	dir, err := work.Sub("build")
	if err != nil {
		return b, err
	}
	runner := &build.Runner{
		Engine: req.Engine, Sources: &sources{Store: store, in: req.Input, dir: work.Dir, checksum: req.Checksum},
		Store: req.Results, URL: req.Results.URL, MaxOutput: req.MaxOutput, Logger: req.Logger,
	}
	attempt := build.Attempt{
		Build: b, Target: req.Target, Dir: dir, Log: req.Log, Cancel: cancel, SRPMOnly: req.SRPMOnly,
		Report: func(_ context.Context, b rpmflow.Build) error { req.Report(b); return nil },
	}
	if req.Explore {
		attempt.Failed = func(ctx context.Context, s build.Session) { req.Pause(); explore(ctx, s, os.Stderr) }
	}
	done, err := runner.Run(ctx, attempt)
	if err == nil {
		err = build.StoreRecord(ctx, req.Results, done)
	}
	return done, err
}

func explore(ctx context.Context, s build.Session, log io.Writer) {
	e, ok := s.(build.Explorer)
	if !ok {
		fmt.Fprintln(log, "rpmflow: this engine cannot open a shell")
		return
	}
	if err := e.Explore(ctx); err != nil {
		fmt.Fprintf(log, "rpmflow: no shell: %v\n", err)
	}
}

// Infrastructure marks an error that is not the packager's mistake, as OutcomeOf does: a server that does not answer,
// for instance.
func Infrastructure(err error) error {
	var f *rpmflow.Failure
	if err == nil || errors.As(err, &f) {
		return err
	}
	return &rpmflow.Failure{Kind: rpmflow.FailureInfrastructure, Message: err.Error(),
		Hint: "the package is not the cause: fix what is named above, and try again"}
}
