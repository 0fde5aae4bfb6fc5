package build_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
)

var errRefused = errors.New("another has it")

var allPhases = []rpmflow.Phase{rpmflow.PhaseSources, rpmflow.PhaseRoot, rpmflow.PhaseSRPM, rpmflow.PhaseDependencies,
	rpmflow.PhaseRPMs, rpmflow.PhaseUpload}

func TestRunSucceeds(t *testing.T) {
	t.Parallel()
	b := newFixture(t, nil)
	engine := b.runner.Engine.(*enginetest.Engine)
	engine.Remarks = []string{"no clean root"}
	b.attempt.Build.Notes = []string{"no clean root", "attempt 1 was interrupted"} // from an attempt before
	got, err := b.run()
	if err != nil || got.Outcome == nil || got.Outcome.Result != rpmflow.Succeeded || got.State != rpmflow.Finished ||
		got.FinishedAt == nil {
		t.Fatalf("%v, %+v", err, got.Outcome)
	}
	if !slices.Equal(b.phases, allPhases) {
		t.Errorf("reported %v", b.phases)
	}
	for _, p := range got.Phases {
		if p.Seconds <= 0 {
			t.Errorf("phase %s has no duration", p.Phase)
		}
	}
	var nevras, artifacts []string
	for _, p := range got.Packages {
		nevras = append(nevras, p.NEVRA())
	}
	for _, a := range got.Artifacts {
		artifacts = append(artifacts, a.Name)
		if a.URL != "http://rpmflow.test/artifacts/"+a.Key || a.SHA256 == "" || a.Size == 0 || !strings.HasPrefix(a.Key,
			got.Prefix()) {
			t.Errorf("artifact %+v", a)
		}
	}
	if fmt.Sprint(nevras) != "[hello-1.0-1.src hello-1.0-1.x86_64]" ||
		fmt.Sprint(artifacts) != "[hello-1.0-1.src.rpm hello-1.0-1.x86_64.rpm build.log]" {
		t.Errorf("packages %v, artifacts %v", nevras, artifacts)
	}
	if len(got.Notes) != 3 || len(got.Containers) != 1 || got.Layout != rpmflow.LayoutStandard ||
		got.Spec != "hello.spec" {
		t.Errorf("notes %q, containers %q, layout %s, spec %s", got.Notes, got.Containers, got.Layout, got.Spec)
	}
	if b.stored("build.log.gz") != "+ make\n" || !strings.Contains(b.log.String(), "rpmflow: rpms\n+ make\n") {
		t.Errorf("stored log %q, live log %q", b.stored("build.log.gz"), b.log.String())
	}
}

// A failure in any step ends the build there, and its log is stored, made by us where there was none yet.
func TestRunFailsInEachPhase(t *testing.T) {
	t.Parallel()
	s3 := storagetest.Start(t)
	mistake := rpmflow.Fail(rpmflow.FailureSpec, "fix it", "line 3 is wrong")
	mistake.Excerpt = []string{"line 3: %iff"}
	for _, test := range []struct {
		step  string
		phase rpmflow.Phase
	}{
		{enginetest.Open, rpmflow.PhaseRoot}, {enginetest.Root, rpmflow.PhaseRoot},
		{enginetest.SRPM, rpmflow.PhaseSRPM},
		{enginetest.Dependencies, rpmflow.PhaseDependencies}, {enginetest.RPMs, rpmflow.PhaseRPMs},
	} {
		for name, failure := range map[string]error{"packager's": fmt.Errorf("engine: %w", mistake),
			"ours": errors.New("Docker is gone")} {
			t.Run(test.step+" "+name, func(t *testing.T) {
				b := newFixtureAt(t, s3, func(_ context.Context, step string, _ build.Job) error {
					if step == test.step {
						return failure
					}
					return nil
				})
				got, err := b.run()
				if err != nil || got.Outcome == nil {
					t.Fatalf("%v, %+v", err, got.Outcome)
				}
				wantPhases := append(slices.Clone(allPhases[:slices.Index(allPhases, test.phase)+1]),
					rpmflow.PhaseUpload)
				if got.Outcome.Phase != test.phase || got.Outcome.Message != failure.Error() || !slices.Equal(b.phases,
					wantPhases) || len(got.Packages) > 0 {
					t.Errorf("%+v after %v", got.Outcome, b.phases)
				}
				log := b.stored("build.log.gz")
				kind, rest := rpmflow.FailureInfrastructure, "rpmflow: "+got.Outcome.Hint+"\n"
				if name == "packager's" {
					kind, rest = rpmflow.FailureSpec, "rpmflow: > line 3: %iff\nrpmflow: fix it\n"
				}
				want := fmt.Sprintf("\nrpmflow: failed in phase %s: %s: %v\n%s", test.phase, kind, failure, rest)
				if test.step == enginetest.RPMs {
					want = "+ make\n" + want // after the engine's own
				}
				if got.Outcome.Kind != kind || log != want {
					t.Errorf("kind %s, log %q", got.Outcome.Kind, log)
				}
			})
		}
	}
}

func TestRunWithoutTheCommit(t *testing.T) {
	t.Parallel()
	b := newFixture(t, nil)
	b.attempt.Build.Commit = strings.Repeat("ab", 20)
	got, err := b.run()
	if err != nil || got.Outcome == nil || got.Outcome.Kind != rpmflow.FailureSource ||
		got.Outcome.Phase != rpmflow.PhaseSources || got.Outcome.Hint == "" {
		t.Fatalf("%v, %+v", err, got.Outcome)
	}
	if log := b.stored("build.log.gz"); !strings.Contains(log, got.Outcome.Message) {
		t.Errorf("log %q", log)
	}
}

// hang blocks a step until its context ends, as an engine that stops what it has started.
func hang(in string, entered chan<- struct{}) func(context.Context, string, build.Job) error {
	return func(ctx context.Context, step string, _ build.Job) error {
		if step != in {
			return nil
		}
		if entered != nil {
			close(entered)
		}
		<-ctx.Done()
		return fmt.Errorf("killed: %w", ctx.Err())
	}
}

func TestRunTimesOut(t *testing.T) {
	t.Parallel()
	b := newFixture(t, hang(enginetest.RPMs, nil))
	b.attempt.Build.TimeoutSeconds = 1
	got, err := b.run()
	if err != nil || got.Outcome == nil || got.Outcome.Kind != rpmflow.FailureTimeout ||
		got.Outcome.Phase != rpmflow.PhaseRPMs || got.Outcome.Hint == "" {
		t.Fatalf("%v, %+v", err, got.Outcome)
	}
	if log := b.stored("build.log.gz"); !strings.HasPrefix(log, "+ make\n") || !strings.Contains(log,
		"took longer than 1s") {
		t.Errorf("log %q", log)
	}
}

func TestRunWritesTooMuch(t *testing.T) {
	t.Parallel()
	b := newFixture(t, func(ctx context.Context, step string, job build.Job) error {
		for step == enginetest.RPMs && ctx.Err() == nil {
			fmt.Fprintln(job.Log, strings.Repeat("x", 4096))
		}
		return ctx.Err()
	})
	got, err := b.run()
	if err != nil || got.Outcome == nil || got.Outcome.Kind != rpmflow.FailureBuild ||
		!strings.Contains(got.Outcome.Message, "1048576 bytes") {
		t.Fatalf("%v, %+v", err, got.Outcome)
	}
	if n := b.log.Len(); n > 1<<20+1024 {
		t.Errorf("%d bytes were shown live", n)
	}
}

func TestRunIsInterrupted(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	b := newFixture(t, hang(enginetest.Dependencies, entered))
	why := errors.New("the builder is shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-entered; cancel(why) }()
	got, err := b.runner.Run(ctx, b.attempt)
	if !errors.Is(err, why) || got.Outcome != nil {
		t.Fatalf("%v, %+v", err, got.Outcome)
	}
	if b.stored("build.log.gz") != "" {
		t.Error("something was uploaded")
	}
}

// A build that is canceled in any phase has its outcome and its logs, and no packages.
func TestRunIsCanceled(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 1)
	b := newFixture(t, hang(enginetest.RPMs, entered))
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	b.attempt.Cancel = ctx //nolint:fatcontext // it is the attempt's own, given once
	go func() { <-entered; cancel(rpmflow.Fail(rpmflow.FailureCanceled, "build it again", "canceled by ann")) }()
	got, err := b.run()
	if err != nil || got.Outcome == nil || got.Outcome.Kind != rpmflow.FailureCanceled ||
		got.Outcome.Phase != rpmflow.PhaseRPMs || len(got.Artifacts) != 1 {
		t.Fatalf("%v, %+v", err, got.Outcome)
	}
	if log := b.stored("build.log.gz"); !strings.HasPrefix(log, "+ make\n") ||
		!strings.Contains(log, "canceled by ann") {
		t.Errorf("log %q", log)
	}

	b = newFixture(t, nil)
	ctx, cancel = context.WithCancelCause(t.Context())
	defer cancel(nil)
	b.attempt.Cancel = ctx
	report := b.attempt.Report
	b.attempt.Report = func(ctx context.Context, r rpmflow.Build) error {
		if r.Phase == rpmflow.PhaseUpload {
			cancel(rpmflow.Fail(rpmflow.FailureCanceled, "build it again", "canceled by ann"))
		}
		return report(ctx, r)
	}
	got, err = b.run()
	if err != nil || got.Outcome == nil || got.Outcome.Kind != rpmflow.FailureCanceled ||
		got.Outcome.Phase != rpmflow.PhaseUpload || len(got.Artifacts) != 1 || len(got.Packages) > 0 {
		t.Fatalf("in the upload: %v, %+v, %+v", err, got.Outcome, got.Artifacts)
	}
}

func TestRunIsLost(t *testing.T) {
	t.Parallel()
	s3 := storagetest.Start(t)
	for _, phase := range allPhases {
		t.Run(string(phase), func(t *testing.T) {
			b := newFixtureAt(t, s3, nil)
			b.refuse = phase
			got, err := b.run()
			if !errors.Is(err, errRefused) || got.Outcome != nil {
				t.Fatalf("%v, %+v", err, got.Outcome)
			}
			if b.phases[len(b.phases)-1] != phase {
				t.Errorf("went on after the refusal: %v", b.phases)
			}
			for _, name := range []string{"build.log.gz", "hello-1.0-1.src.rpm", "hello-1.0-1.x86_64.rpm"} {
				if b.stored(name) != "" {
					t.Errorf("%s was uploaded", name)
				}
			}
		})
	}
}

func TestRunCannotUpload(t *testing.T) {
	t.Parallel()
	cfg, gateway := storagetest.StartIn(t, t.TempDir())
	b := newFixtureAt(t, cfg, func(_ context.Context, step string, _ build.Job) error {
		if step == enginetest.RPMs {
			return gateway.Close()
		}
		return nil
	})
	got, err := b.run()
	if err != nil || got.Outcome == nil || got.Outcome.Kind != rpmflow.FailureInfrastructure ||
		got.Outcome.Phase != rpmflow.PhaseUpload {
		t.Fatalf("%v, %+v", err, got.Outcome)
	}
	if len(got.Artifacts)+len(got.Packages) > 0 {
		t.Errorf("names what is not stored: %+v", got.Artifacts)
	}
}
