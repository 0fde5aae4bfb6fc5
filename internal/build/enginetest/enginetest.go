// Package enginetest gives tests an engine that builds nothing and is strict about it: it keeps the contract of package
// build, and fails the test of a caller that does not.
//
// In comes what each step is to do, out come logs and packages with real headers. Only tests import it.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// The steps, as Engine.Step gets them.
const (
	Open         = "open"
	Root         = "root"
	Query        = "query"
	SRPM         = "srpm"
	Dependencies = "dependencies"
	RPMs         = "rpms"
)

// Engine is the fake. Its fields must not change once it is used.
type Engine struct {
	TB testing.TB
	// Step, when set, is what a step does; its error is the step's. The job's Log is there to be written to.
	Step func(ctx context.Context, step string, job build.Job) error
	// NotReady, when set, is what Ready says.
	NotReady func() error
	// NotServed, when set, is what Serves says.
	NotServed func(t rpmflow.Target) error
	// Remarks is what Caveats says.
	Remarks []string

	mu   sync.Mutex
	open []string
}

// New makes an engine whose steps do what step does. When the test ends, all its sessions must have been closed.
func New(t testing.TB, step func(ctx context.Context, step string, job build.Job) error) *Engine {
	e := &Engine{TB: t, Step: step}
	t.Cleanup(func() {
		if open := e.Sessions(); len(open) > 0 {
			t.Errorf("sessions not closed: %v", open)
		}
	})
	return e
}

// Sessions names the builds that are open now.
func (e *Engine) Sessions() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.open)
}

// Name implements build.Engine.
func (*Engine) Name() string { return "mock" }

// Caveats implements build.Engine.
func (e *Engine) Caveats() []string { return e.Remarks }

// Ready implements build.Engine.
func (e *Engine) Ready(context.Context) error {
	if e.NotReady != nil {
		return e.NotReady()
	}
	return nil
}

// Serves implements build.Engine.
func (e *Engine) Serves(_ context.Context, t rpmflow.Target) error {
	if e.NotServed != nil {
		return e.NotServed(t)
	}
	return nil
}

// Open implements build.Engine.
func (e *Engine) Open(ctx context.Context, job build.Job) (build.Session, error) {
	if left, err := os.ReadDir(job.Dir); err != nil || len(left) != 0 {
		e.TB.Errorf("the job's directory is not empty: %v, %v", left, err)
	}
	if job.Log == nil || job.OnContainer == nil || job.Epoch.IsZero() || job.Target.Name != job.Build.Target {
		e.TB.Errorf("the job is not complete: %+v", job)
	}
	s := &session{e: e, job: job, name: fmt.Sprintf("%s attempt %d", job.Build.ID, job.Build.Attempt)}
	if err := s.hook(ctx, Open); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = append(e.open, s.name)
	return s, nil
}

type session struct {
	e      *Engine
	job    build.Job
	name   string
	done   []string // steps that went well
	failed bool
	closed bool
	srpm   string
}

func (s *session) hook(ctx context.Context, step string) error {
	if s.e.Step == nil {
		return nil
	}
	return s.e.Step(ctx, step, s.job)
}

// step refuses a step that is not called for, and does what the test asks for.
func (s *session) step(ctx context.Context, step string, after ...string) error {
	last := ""
	if n := len(s.done); n > 0 {
		last = s.done[n-1]
	}
	if s.closed || s.failed || !slices.Contains(after, last) {
		s.e.TB.Errorf("%s: %s after %v (failed %v, closed %v)", s.name, step, s.done, s.failed, s.closed)
		return errors.New("out of order")
	}
	err := s.hook(ctx, step)
	if err == nil {
		err = ctx.Err()
	}
	s.failed = err != nil
	s.done = append(s.done, step)
	return err
}

func (s *session) Root(ctx context.Context) error {
	digest := rpmflow.Digest([]byte(s.name)) // has the form of a container's id
	s.job.OnContainer(digest)
	now := time.Now().UTC()
	s.job.OnRoot(rpmflow.BuildRoot{Image: "sha256:" + digest, MockImage: "sha256:" + digest, Config: digest, Made: now,
		Checked: now})
	return s.step(ctx, Root, "")
}

// Query expands nothing: it accepts -P only, and returns the spec as it is.
func (s *session) Query(ctx context.Context, spec, sources string, args ...string) ([]byte, error) {
	s.inputs(spec, sources)
	if err := s.step(ctx, Query, Root, Query); err != nil {
		return nil, err
	}
	if !slices.Equal(args, []string{"-P"}) {
		return nil, fmt.Errorf("the fake engine has no answer to rpmspec %q", args)
	}
	return os.ReadFile(spec)
}

func (s *session) SRPM(ctx context.Context, spec, sources string) (string, error) {
	s.inputs(spec, sources)
	if err := s.step(ctx, SRPM, Root, Query); err != nil {
		return "", err
	}
	s.srpm = filepath.Join(s.job.Dir, s.job.Build.Package+"-1.0-1.src.rpm")
	return s.srpm, os.WriteFile(s.srpm, Package(s.job.Build.Package, "src"), 0o600)
}

func (s *session) inputs(spec, sources string) {
	if info, err := os.Stat(spec); err != nil || !info.Mode().IsRegular() {
		s.e.TB.Errorf("%s: spec: %v", s.name, err)
	}
	if info, err := os.Stat(sources); err != nil || !info.IsDir() {
		s.e.TB.Errorf("%s: sources: %v", s.name, err)
	}
}

func (s *session) Dependencies(ctx context.Context, srpm string) error {
	after := SRPM
	if s.srpm == "" { // it comes from outside
		s.srpm, after = srpm, Root
		if p, err := rpmfile.Package(srpm); err != nil || p.Arch != "src" {
			s.e.TB.Errorf("%s: source package from outside: %+v, %v", s.name, p, err)
		}
	}
	s.given(srpm)
	return s.step(ctx, Dependencies, after)
}

func (s *session) given(srpm string) {
	if srpm != s.srpm {
		s.e.TB.Errorf("%s: got the source package %q, made was %q", s.name, srpm, s.srpm)
	}
}

func (s *session) RPMs(ctx context.Context, srpm string) ([]string, error) {
	s.given(srpm)
	if err := os.WriteFile(filepath.Join(s.job.Dir, "build.log"), []byte("+ make\n"), 0o600); err != nil {
		return nil, err
	}
	fmt.Fprintln(s.job.Log, "+ make")
	if err := s.step(ctx, RPMs, Dependencies); err != nil {
		return nil, err
	}
	rpm := filepath.Join(s.job.Dir, s.job.Build.Package+"-1.0-1.x86_64.rpm")
	return []string{rpm}, os.WriteFile(rpm, Package(s.job.Build.Package, "x86_64"), 0o600)
}

func (s *session) Logs() []string {
	if s.closed {
		s.e.TB.Errorf("%s: Logs after Close", s.name)
	}
	var logs []string
	for _, name := range []string{"build.log", "root.log"} {
		if file := filepath.Join(s.job.Dir, name); exists(file) {
			logs = append(logs, file)
		}
	}
	return logs
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func (s *session) Close(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		s.e.TB.Errorf("%s: Close on a context that has ended: %v", s.name, err)
	}
	if _, bounded := ctx.Deadline(); !bounded {
		s.e.TB.Errorf("%s: Close without a deadline", s.name)
	}
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.closed = true
	s.e.open = slices.DeleteFunc(s.e.open, func(n string) bool { return n == s.name })
	return nil
}

// Target is a build root that the engine takes.
func Target() rpmflow.Target {
	return rpmflow.Target{Name: "fedora-42-x86_64", Arch: "x86_64", Image: "mock"}
}
