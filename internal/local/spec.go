package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/source"
	"github.com/rpmflow/rpmflow/internal/spec"
)

const closeWait = 2 * time.Minute

// SpecRequest is whom to ask about which spec.
type SpecRequest struct {
	Engine  build.Engine
	Target  rpmflow.Target
	Options rpmflow.Options
	File    string    // the spec
	Log     io.Writer // takes what the engine says meanwhile
}

// Spec is a spec that rpm can be asked about.
type Spec struct {
	file    string
	sources string
	work    *Work
	session build.Session
}

// OpenSpec makes the target's root ready, in which the spec's questions are answered.
func OpenSpec(ctx context.Context, req SpecRequest, work *Work) (*Spec, error) {
	info, err := os.Stat(req.File)
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("spec %s is not a file: name the .spec file itself", req.File)
	}
	file, err := filepath.Abs(req.File)
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	dirs := source.Dirs(file)
	s := &Spec{file: file, sources: dirs[0], work: work}
	if req.Engine.Name() != hostEngine { // a container gets copies
		if s.sources, err = s.copySmall(ctx, dirs); err != nil {
			return nil, err
		}
	}
	results, err := work.Sub("results")
	if err != nil {
		return nil, err
	}
	s.session, err = req.Engine.Open(ctx, build.Job{
		Build: rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: work.ID, Project: "local", Package: "local",
			Target: req.Target.Name, Arch: req.Target.Arch, Options: req.Options}, Attempt: 1},
		Target: req.Target, Epoch: info.ModTime(), Dir: results, Log: req.Log, OnContainer: func(string) {},
		OnRoot: func(rpmflow.BuildRoot) {},
	})
	if err != nil {
		return nil, err
	}
	if err := s.session.Root(ctx); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

// hostEngine is the engine whose rpm sees the host's own files.
const hostEngine = "rpmbuild"

// copySmall copies what a spec may include into a directory of the work.
func (s *Spec) copySmall(ctx context.Context, from []string) (string, error) {
	to, err := s.work.Sub("SOURCES")
	if err != nil {
		return "", err
	}
	if _, err := source.CopySmall(ctx, from, to, time.Now()); err != nil {
		return "", err
	}
	return to, nil
}

// Close frees what is held. The directory of the work stays.
func (s *Spec) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	return s.session.Close(ctx)
}

// Ask returns what rpmspec prints for these arguments and the spec.
func (s *Spec) Ask(ctx context.Context, args ...string) ([]byte, error) {
	return s.session.Query(ctx, s.file, s.sources, args...)
}

// Expanded is the spec with its macros expanded and its conditions decided.
func (s *Spec) Expanded(ctx context.Context) ([]byte, error) { return s.Ask(ctx, "-P") }

// Sources lists the Source and Patch lines that are in effect.
func (s *Spec) Sources(ctx context.Context) ([]spec.File, error) {
	text, err := s.Expanded(ctx)
	if err != nil {
		return nil, err
	}
	return spec.ParseExpanded(text).Files, nil
}

// formatPackages is how rpmspec writes packages. For the other lists it has popt aliases (--requires), which are the
// target's own.
const formatPackages = `%{NAME}\t%{EPOCHNUM}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\n`

// Requires lists what the packages require, as the spec says it; what rpm finds out when it builds them is not among
// it.
func (s *Spec) Requires(ctx context.Context) ([]string, error) {
	return s.lines(ctx, []string{"-q", "--requires"})
}

// BuildRequires lists what must be installed for the build.
func (s *Spec) BuildRequires(ctx context.Context) ([]string, error) {
	return s.lines(ctx, []string{"-q", "--srpm", "--requires"})
}

// Provides lists what the packages provide.
func (s *Spec) Provides(ctx context.Context) ([]string, error) {
	return s.lines(ctx, []string{"-q", "--provides"})
}

func (s *Spec) lines(ctx context.Context, args []string) ([]string, error) {
	text, err := s.Ask(ctx, args...)
	if err != nil {
		return nil, err
	}
	lines := []string{}
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.TrimRight(line, "\n"))
	}
	return lines, nil
}

// Packages lists the packages that the spec makes.
func (s *Spec) Packages(ctx context.Context) ([]rpmflow.Package, error) {
	lines, err := s.lines(ctx, []string{"-q", "--qf", formatPackages})
	if err != nil {
		return nil, err
	}
	packages := make([]rpmflow.Package, 0, len(lines))
	for _, line := range lines {
		f := strings.Split(line, "\t")
		if len(f) != 5 {
			return nil, fmt.Errorf("rpm names a package %q, which is not understood", line)
		}
		epoch, err := strconv.Atoi(f[1])
		if err != nil {
			return nil, fmt.Errorf("rpm names a package %q, whose epoch is not understood: %w", line, err)
		}
		packages = append(packages, rpmflow.Package{Name: f[0], Epoch: epoch, Version: f[2], Release: f[3], Arch: f[4]})
	}
	return packages, nil
}

// Eval returns what an expression means at the end of the spec: with its own macros and those that rpm makes of its
// tags in effect.
//
// rpmspec --eval does not read the spec. So the question is put into a copy of it: Lua that expands the expression
// and writes the result to standard output, between two marks. The expression is there as numbers, so that nothing in
// it means anything earlier.
func (s *Spec) Eval(ctx context.Context, expression string) (string, error) {
	text, err := os.ReadFile(s.file)
	if err != nil {
		return "", fmt.Errorf("spec: %w", err)
	}
	mark := rand.Text()
	question := fmt.Sprintf("\n%%{lua:io.stdout:write(\"<%s>\", rpm.expand(\"%s\"), \"</%s>\")}\n", mark,
		luaText(expression), mark)
	dir, err := os.MkdirTemp(s.work.Dir, "eval-")
	if err != nil {
		return "", fmt.Errorf("spec: %w", err)
	}
	spec := filepath.Join(dir, filepath.Base(s.file))
	if err := os.WriteFile(spec, append(text, question...), 0o600); err != nil {
		return "", fmt.Errorf("spec: %w", err)
	}
	answer, err := s.session.Query(ctx, spec, s.sources, "-q", "--srpm", "--qf", "")
	if err != nil {
		return "", err
	}
	_, rest, begun := strings.Cut(string(answer), "<"+mark+">")
	value, _, ended := strings.Cut(rest, "</"+mark+">")
	if !begun || !ended {
		return "", rpmflow.Fail(rpmflow.FailureSpec, "check with `rpmflow spec expand` how the spec ends",
			"%s ends in a condition that does not hold or in a comment, where nothing is evaluated",
			filepath.Base(s.file))
	}
	return value, nil
}

// luaText writes any bytes as digits of a Lua string.
func luaText(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, `\%03d`, s[i])
	}
	return b.String()
}
