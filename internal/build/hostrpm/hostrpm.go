// Package hostrpm is the engine for machines without Docker: the host's own rpmbuild. There is no clean build root
// and no isolation, which every log and record says. It is for a laptop and for trying things out.
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
	"github.com/rpmflow/rpmflow/internal/build/rpmlog"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/osrelease"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// Engine runs rpmbuild.
type Engine struct {
	// deps reports whether the host's rpm database can say which BuildRequires are there: Debian's is empty.
	deps bool
	user string
	// apart is where attempts have users of their own, because the server runs as root; empty: they run as the
	// program's user.
	apart string
}

// Apart is the directory in which a server's attempts have users of their own, when it runs as root; else it is empty:
// attempts run as the server's user. It is where rpmbuild itself puts what is temporary and large.
func Apart() string {
	if os.Geteuid() == 0 {
		return "/var/tmp"
	}
	return ""
}

// New looks at the host's rpm. In apart, which only root can use, each attempt has a directory and a user of its own;
// if it is empty, all runs as the program's user: what users build here is their own, as with rpmbuild.
func New(ctx context.Context, apart string) (*Engine, error) {
	if err := find(); err != nil {
		return nil, err
	}
	e := &Engine{deps: managed(ctx), user: "the builder's user", apart: apart}
	if apart != "" {
		e.user = "an unprivileged user of its own"
	} else if u, err := user.Current(); err == nil {
		e.user = u.Username
	}
	return e, nil
}

// managed reports whether the host keeps its packages in rpm. Debian's rpm has a database in each user's home, which is
// not what rpmbuild sees here.
func managed(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "rpm", "-qa", "--queryformat", "%{name}\n")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LANG=C.UTF-8"}
	names, err := cmd.Output()
	return err == nil && slices.ContainsFunc(strings.Fields(string(names)),
		func(name string) bool { return name != "gpg-pubkey" })
}

func find() error {
	for _, tool := range []string{"rpmbuild", "rpmspec"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("engine rpmbuild: %w: install rpm-build (Fedora) or rpm (Debian), or use the engine mock",
				err)
		}
	}
	return nil
}

// stopGrace is how long a command may take to end when its build is stopped. What it has made by then is thrown away,
// so it has nothing to tidy up.
const stopGrace = time.Second

// Name implements build.Engine.
func (*Engine) Name() string { return "rpmbuild" }

// Caveats implements build.Engine.
func (e *Engine) Caveats() []string {
	c := []string{fmt.Sprintf("built with the host's rpmbuild: no clean build root, no target, no isolation; a "+
		"package's code runs as %s, with the network", e.user)}
	if !e.deps {
		c = append(c, "BuildRequires were not checked: the host does not manage its packages with rpm")
	}
	return c
}

// Ready implements build.Engine.
func (*Engine) Ready(context.Context) error { return find() }

// Serves implements build.Engine.
func (*Engine) Serves(_ context.Context, t rpmflow.Target) error { return Serves(t) }

// Serves reports whether the host's rpmbuild builds for a target: only for the host itself. What another distribution's
// rpmbuild makes is not the target's, even if it looks so.
func Serves(t rpmflow.Target) error {
	if t.OnHost() {
		return nil
	}
	return hint.Add(fmt.Errorf("the host's rpmbuild does not build for %s, only for targets named host or host-…",
		t.Name),
		"use the engine mock (builder.engine: mock) for it, or build for "+rpmflow.HostTarget(osrelease.Read()).Name)
}

// Unchecked implements build.Unchecker.
func (e *Engine) Unchecked() []string {
	if e.deps {
		return nil
	}
	return []string{"BuildRequires"}
}

// Disk names the directory on whose disk packages are built, if that is not the builder's.
func (e *Engine) Disk(context.Context) (string, error) { return e.apart, nil }

// Open implements build.Engine.
func (e *Engine) Open(_ context.Context, job build.Job) (_ build.Session, err error) {
	s := &session{engine: e, job: job, top: filepath.Join(job.Dir, "rpmbuild"),
		log: filepath.Join(job.Dir, "build.log")}
	mkdir := func(dir string) error { return os.MkdirAll(dir, 0o755) }
	if e.apart != "" {
		if s.account, err = newAccount(e.apart); err != nil {
			return nil, err
		}
		s.top, mkdir = s.account.dir, s.account.mkdir
	}
	for _, d := range []string{"BUILD", "BUILDROOT", "RPMS", "SRPMS", "home", "tmp"} {
		if err := mkdir(filepath.Join(s.top, d)); err != nil {
			return nil, errors.Join(fmt.Errorf("engine rpmbuild: %w", err), s.Close(context.Background()))
		}
	}
	if o := job.Build.Options; job.Note != nil && (len(o.Repositories) > 0 || len(o.MockOptions) > 0) {
		job.Note("the host's rpmbuild installs nothing and is not mock: repositories and options of mock that the " +
			"build asks for have no effect")
	}
	return s, nil
}

type session struct {
	engine  *Engine
	job     build.Job
	account *account // nil: the program's own user builds
	top     string
	log     string
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
	spec, sources, err := s.given(spec, sources)
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(s.macros(sources), func(a string) bool { return a == "--nodeps" })
	all = append(append(all, args...), spec)
	var out build.Answer
	var messages strings.Builder
	err = s.run(ctx, &out, io.MultiWriter(&messages, s.job.Log), "rpmspec", all...)
	if err != nil {
		err = s.failure(ctx, rpmflow.PhaseSRPM, err, messages.String())
	}
	return out.Text(err)
}

// given puts a spec or a source package, and sources if there are any, where the build's user can read them.
func (s *session) given(spec, sources string) (string, string, error) {
	if s.account == nil {
		return spec, sources, nil
	}
	spec, err := s.account.copyIn(spec)
	if err == nil && sources != "" {
		sources, err = s.account.copyIn(sources)
	}
	if err != nil {
		return "", "", fmt.Errorf("engine rpmbuild: copy what is built: %w", err)
	}
	return spec, sources, nil
}

func (s *session) SRPM(ctx context.Context, spec, sources string) (string, error) {
	spec, sources, err := s.given(spec, sources)
	if err != nil {
		return "", err
	}
	args := append(s.macros(sources), "-bs", spec)
	if s.engine.deps {
		args = append(args, "--nodeps") // what is missing is of interest to the build itself alone
	}
	if err := s.rpmbuild(ctx, rpmflow.PhaseSRPM, args...); err != nil {
		return "", err
	}
	found, err := s.packages("SRPMS")
	if err != nil || len(found) != 1 {
		return "", errors.Join(err, fmt.Errorf("engine rpmbuild: rpmbuild -bs made %d source packages", len(found)))
	}
	return found[0], nil
}

// Dependencies has nothing to do: nothing is installed on the host, and rpmbuild checks by itself if it can.
func (s *session) Dependencies(context.Context, string) error { return nil }

func (s *session) RPMs(ctx context.Context, srpm string) ([]string, error) {
	sources, err := s.leftOut(srpm)
	if err != nil {
		return nil, err
	}
	if srpm, _, err = s.given(srpm, ""); err != nil {
		return nil, err
	}
	args := append(s.macros(sources), "--rebuild")
	if s.job.Build.Options.NoCheck {
		args = append(args, "--nocheck")
	}
	if err := s.rpmbuild(ctx, rpmflow.PhaseRPMs, append(args, srpm)...); err != nil {
		return nil, err
	}
	return s.packages("RPMS")
}

// leftOut returns a directory with the sources that a source package was made without, where rpmbuild will unpack the
// others; usually none.
func (s *session) leftOut(srpm string) (string, error) {
	left, err := rpmfile.LeftOut(srpm)
	if err != nil || len(left) == 0 {
		return "", err
	}
	dir := filepath.Join(s.job.Dir, "left-out")
	err = os.Mkdir(dir, 0o700)
	for _, name := range left {
		if err == nil {
			err = copyFile(filepath.Join(s.job.Sources, name), filepath.Join(dir, name), 0o644)
		}
	}
	if err == nil && s.account != nil {
		if dir, err = s.account.copyIn(dir); err == nil {
			// now that it is filled: rpmbuild writes there
			err = os.Lchown(dir, int(s.account.user.UID), int(s.account.user.GID))
		}
	}
	if err != nil {
		return "", fmt.Errorf("engine rpmbuild: sources that the source package was made without: %w", err)
	}
	return dir, nil
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
	if s.account != nil {
		cmd.As = &s.account.user
	}
	cmd.Env = []string{ // nothing of the builder's own environment: it may hold secrets
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(s.top, "home"), "TMPDIR=" + filepath.Join(s.top, "tmp"),
		"LANG=C.UTF-8", "TERM=dumb", "SHELL=/bin/sh",
		"USER=rpmbuild", "LOGNAME=rpmbuild",
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
		log, lerr := rpmlog.Tail(s.log)
		if lerr != nil {
			return fmt.Errorf("engine rpmbuild: %w", errors.Join(err, lerr))
		}
		f := rpmlog.Classify(rpmlog.Ended{Phase: phase, ExitCode: code, Log: log,
			Output: rpmlog.Lines(strings.NewReader(output), 50)})
		if f != nil {
			if tag := rpmlog.Refused(f); tag != "" {
				return build.NotFor(tag, s.job.Target.Arch)
			}
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

// Close removes what is not in the job's directory, which is the caller's.
func (s *session) Close(context.Context) error {
	if s.account == nil {
		return nil
	}
	return s.account.release()
}

// packages returns the packages in a directory of the build, all of whose processes have ended. Links are not followed.
func (s *session) packages(sub string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(filepath.Join(s.top, sub), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, ".rpm") {
			return err
		}
		if s.account != nil {
			kept := filepath.Join(s.job.Dir, sub)
			if err := os.MkdirAll(kept, 0o700); err != nil {
				return err
			}
			kept = filepath.Join(kept, d.Name())
			if err := s.account.copyOut(path, kept); err != nil {
				return err
			}
			path = kept
		}
		found = append(found, path)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("engine rpmbuild: look for packages: %w", err)
	}
	return found, nil
}
