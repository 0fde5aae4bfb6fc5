// Package hostrpm is the engine for machines without Docker: the host's own rpmbuild. There is no clean build root and no
// isolation, which it says loudly; it is for a laptop and for trying things out.
//
// A spec and sources come in, packages and build.log go out. The programs choose it; it imports build for the engine's
// contract and lifeline for processes that end with the program.
package hostrpm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/lifeline"
)

// Engine runs rpmbuild.
type Engine struct {
	// deps tells whether the host's rpm database can say which BuildRequires are there: Debian's is empty.
	deps bool
	user string
}

// New looks at the host's rpm.
func New(ctx context.Context) (*Engine, error) {
	if err := find(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	e := &Engine{deps: exec.CommandContext(ctx, "rpm", "-q", "rpm").Run() == nil, user: "the builder's user"}
	if u, err := user.Current(); err == nil {
		e.user = u.Username
	}
	return e, nil
}

func find() error {
	for _, tool := range []string{"rpmbuild", "rpmspec"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("engine rpmbuild: %w: install rpm-build (Fedora) or rpm (Debian), or use the engine mock", err)
		}
	}
	return nil
}

// stopGrace is how long a command may take to end when its build is stopped. What it has made by then is thrown away, so it has nothing
// to tidy up.
const stopGrace = time.Second

// Name implements build.Engine.
func (*Engine) Name() string { return "rpmbuild" }

// Caveats implements build.Engine.
func (e *Engine) Caveats() []string {
	c := []string{fmt.Sprintf("built with the host's rpmbuild: no clean build root, no target, no isolation; the package's code ran as %s, with the network", e.user)}
	if !e.deps {
		c = append(c, "BuildRequires were not checked: the host does not manage its packages with rpm")
	}
	return c
}

// Ready implements build.Engine.
func (*Engine) Ready(context.Context) error { return find() }

// Open implements build.Engine.
func (e *Engine) Open(_ context.Context, job build.Job) (build.Session, error) {
	s := &session{engine: e, job: job, top: filepath.Join(job.Dir, "rpmbuild"), log: filepath.Join(job.Dir, "build.log")}
	for _, d := range []string{"BUILD", "BUILDROOT", "RPMS", "SRPMS", "home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.top, d), 0o755); err != nil {
			return nil, fmt.Errorf("engine rpmbuild: %w", err)
		}
	}
	if o := job.Build.Options; job.Note != nil && (len(o.Repositories) > 0 || len(o.MockOptions) > 0) {
		job.Note("the host's rpmbuild installs nothing and is no mock: repositories and options of mock that the build asks for are not heeded")
	}
	return s, nil
}

type session struct {
	engine *Engine
	job    build.Job
	top    string
	log    string
}

func (s *session) Root(context.Context) error { return nil }

func (s *session) macros(sources string) []string {
	defines := []string{
		"_topdir " + s.top, "_tmppath " + filepath.Join(s.top, "tmp"), "_buildhost rpmflow",
		"use_source_date_epoch_as_buildtime 1", "clamp_mtime_to_source_date_epoch 1",
	}
	if sources != "" {
		defines = append(defines, "_sourcedir "+sources)
	}
	for _, m := range s.job.Build.Options.Definitions() {
		defines = append(defines, m.String())
	}
	var args []string
	for _, d := range defines {
		args = append(args, "--define", d)
	}
	if !s.engine.deps {
		args = append(args, "--nodeps")
	}
	return args
}

func (s *session) Query(ctx context.Context, spec, sources string, args ...string) ([]byte, error) {
	all := slices.DeleteFunc(s.macros(sources), func(a string) bool { return a == "--nodeps" })
	all = append(append(all, args...), spec)
	var out build.Answer
	var messages strings.Builder
	err := s.run(ctx, &out, io.MultiWriter(&messages, s.job.Log), "rpmspec", all...)
	if err != nil {
		err = s.failure(ctx, rpmflow.PhaseSRPM, err, messages.String())
	}
	return out.Text(err)
}

func (s *session) SRPM(ctx context.Context, spec, sources string) (string, error) {
	if err := s.rpmbuild(ctx, rpmflow.PhaseSRPM, append(s.macros(sources), "-bs", spec)...); err != nil {
		return "", err
	}
	found, err := packages(filepath.Join(s.top, "SRPMS"))
	if err != nil || len(found) != 1 {
		return "", errors.Join(err, fmt.Errorf("engine rpmbuild: rpmbuild -bs made %d source packages", len(found)))
	}
	return found[0], nil
}

// Dependencies has nothing to do: nothing is installed on the host, and rpmbuild checks by itself where it can.
func (s *session) Dependencies(context.Context, string) error { return nil }

func (s *session) RPMs(ctx context.Context, srpm string) ([]string, error) {
	args := append(s.macros(""), "--rebuild")
	if s.job.Build.Options.NoCheck {
		args = append(args, "--nocheck")
	}
	if err := s.rpmbuild(ctx, rpmflow.PhaseRPMs, append(args, srpm)...); err != nil {
		return nil, err
	}
	return packages(filepath.Join(s.top, "RPMS"))
}

func (s *session) rpmbuild(ctx context.Context, phase rpmflow.Phase, args ...string) (err error) {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("engine rpmbuild: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	out := io.MultiWriter(log, s.job.Log)
	fmt.Fprintf(out, "Executing command: rpmbuild %s\n", strings.Join(args, " "))
	ran := s.run(ctx, out, out, "rpmbuild", args...)
	if ctx.Err() == nil {
		fmt.Fprintf(out, "Child return code was: %d\n", lifeline.ExitCode(ran))
	}
	if ran != nil {
		return s.failure(ctx, phase, ran, "")
	}
	return nil
}

func (s *session) run(ctx context.Context, stdout, stderr io.Writer, name string, args ...string) error {
	cmd := lifeline.Supervised(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.top, stdout, stderr
	cmd.Grace = stopGrace
	cmd.Env = []string{ // nothing of the builder's own environment: it may hold secrets
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(s.top, "home"), "TMPDIR=" + filepath.Join(s.top, "tmp"), "LANG=C.UTF-8", "TERM=dumb", "SHELL=/bin/sh",
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.job.Epoch.Unix()),
	}
	return cmd.Run()
}

// failure decides whose a failed command is.
func (s *session) failure(ctx context.Context, phase rpmflow.Phase, err error, output string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	code := lifeline.ExitCode(err)
	if code > 0 && code < 128 {
		ended := build.Ended{Phase: phase, ExitCode: code, BuildLog: s.log, Output: build.Lines(strings.NewReader(output), 50)}
		if f := build.Classify(ended); f != nil {
			return f
		}
	}
	return fmt.Errorf("engine rpmbuild: %w", err)
}

func (s *session) Logs() []string {
	if _, err := os.Stat(s.log); err != nil {
		return nil
	}
	return []string{s.log}
}

// Close has nothing to free: the job's directory is the caller's.
func (s *session) Close(context.Context) error { return nil }

func packages(dir string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".rpm") {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("engine rpmbuild: look for packages: %w", err)
	}
	return found, nil
}
