package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/local"
)

func specCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "spec", Short: "Query a spec with rpm, and fetch its sources",
		Long: `These commands print what the target's own rpm says, in a container of its root without a network, with
the macros that you define. With --engine rpmbuild, or if there is no container engine and no target is named,
it is the host's rpm. The answers are those of rpmspec. Sources are looked for next to the spec, or in SOURCES
next to SPECS; for a symbolic link, also next to the file that it points to.`,
		Example: `  rpmflow spec sources hello.spec -r fedora-43-x86_64
  rpmflow spec build-requires hello.spec --with tests --json
  rpmflow spec eval '%{name}-%{version}' hello.spec -D 'dist .el9'`,
	}
	cmd.AddCommand(
		listed("sources", "List the sources, as `TAG: VALUE`", false),
		listed("patches", "List the patches, as `TAG: VALUE`", true),
		lined("requires", "List what the packages require, as far as the spec names it", (*local.Spec).Requires),
		lined("build-requires", "List what must be installed for the build", (*local.Spec).BuildRequires),
		lined("provides", "List what the packages provide", (*local.Spec).Provides),
		packaged("packages", "List the names of the packages that the spec makes",
			func(p rpmflow.Package) string { return p.Name }),
		packaged("nevra", "List the packages that the spec makes as name-epoch:version-release.arch",
			rpmflow.Package.NEVRA),
		evalCommand(), expandCommand(), fetchCommand(),
	)
	return cmd
}

// answerer returns what is printed as JSON, and as text.
type answerer func(ctx context.Context, s *local.Spec, args []string) (data any, text string, err error)

// question makes a command whose last argument is a spec.
func question(use, short string, answer answerer) *cobra.Command {
	var flags localFlags
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(strings.Count(use, " "))}
	flags.add(cmd)
	cli.JSONFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return flags.withSpec(cmd, args[len(args)-1], func(ctx context.Context, _ localSetup, s *local.Spec) error {
			data, text, err := answer(ctx, s, args)
			if err != nil {
				return err
			}
			return emit(cmd, data, func(out io.Writer) error {
				_, err := io.WriteString(out, text)
				return err
			})
		})
	}
	return cmd
}

// withSpec runs do with an open spec. What the engine prints is shown if it fails, and a remark if the wait is long.
func (f *localFlags) withSpec(
	cmd *cobra.Command, file string, do func(context.Context, localSetup, *local.Spec) error,
) error {
	return f.withSetup(cmd, func(ctx context.Context, h localSetup) (err error) {
		remark(cmd.ErrOrStderr(), h.Remarks...)
		target := h.Target
		target.MaxAge, target.AllowStale = max(target.MaxAge, specAge), true // macros rarely change
		slow := time.AfterFunc(specPatience, func() {
			remark(cmd.ErrOrStderr(), "making the root of "+target.Name+" ready, which takes longer the first time")
		})
		defer slow.Stop()
		var log tail
		defer func() { err = withCode(explained(ctx, cmd.ErrOrStderr(), err, &log)) }()
		request := local.SpecRequest{Engine: h.Engine, Target: target, Options: h.options, File: file, Log: &log}
		s, err := local.OpenSpec(ctx, request, h.work)
		if err != nil {
			return err
		}
		slow.Stop()
		defer func() { err = errors.Join(err, s.Close(ctx)) }()
		return do(ctx, h, s)
	})
}

const (
	// specAge is how old a root may be in which a spec is only read.
	specAge      = 24 * time.Hour
	specPatience = 2 * time.Second
)

// explained shows what led to an error, and adds what to do about it.
func explained(ctx context.Context, w io.Writer, err error, log *tail) error {
	var f *rpmflow.Failure
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case errors.As(err, &f):
		for _, line := range f.Excerpt {
			fmt.Fprintln(w, line)
		}
		return hint.Full(err)
	default:
		_, _ = w.Write(log.bytes()) // the end of what the engine has printed
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = append([]byte(nil), t.b[over:]...)
	}
	return len(p), nil
}

func (t *tail) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.b)
}

// sourceLine is a Source or Patch as JSON.
type sourceLine struct {
	Tag    string `json:"tag"`
	Number int    `json:"number"`
	Value  string `json:"value"`
	File   string `json:"file"`
}

func listed(name, short string, patches bool) *cobra.Command {
	tag := "Source"
	if patches {
		tag = "Patch"
	}
	return question(name+" FILE.spec", short, func(ctx context.Context, s *local.Spec, _ []string) (any, string,
		error) {
		all, err := s.Sources(ctx)
		lines, text := []sourceLine{}, strings.Builder{}
		for _, l := range all {
			if l.Patch == patches {
				line := sourceLine{fmt.Sprint(tag, l.Number), l.Number, l.Value, l.Name()}
				lines = append(lines, line)
				fmt.Fprintf(&text, "%s: %s\n", line.Tag, line.Value)
			}
		}
		return lines, text.String(), err
	})
}

func lined(name, short string, ask func(*local.Spec, context.Context) ([]string, error)) *cobra.Command {
	return question(name+" FILE.spec", short, func(ctx context.Context, s *local.Spec, _ []string) (any, string,
		error) {
		lines, err := ask(s, ctx)
		return lines, joinLines(lines), err
	})
}

func packaged(name, short string, show func(rpmflow.Package) string) *cobra.Command {
	return question(name+" FILE.spec", short, func(ctx context.Context, s *local.Spec, _ []string) (any, string,
		error) {
		packages, err := s.Packages(ctx)
		var lines []string
		for _, p := range packages {
			lines = append(lines, show(p))
		}
		return packages, joinLines(lines), err
	})
}

func joinLines(lines []string) string { return strings.Join(append(lines, ""), "\n") }

func evalCommand() *cobra.Command {
	return question("eval EXPRESSION FILE.spec", "Expand an expression such as '%{name}-%{version}' in the spec",
		func(ctx context.Context, s *local.Spec, args []string) (any, string, error) {
			value, err := s.Eval(ctx, args[0])
			return struct {
				Expression string `json:"expression"`
				Value      string `json:"value"`
			}{args[0], value}, value + "\n", err
		})
}

func expandCommand() *cobra.Command {
	return question("expand FILE.spec", "Print the spec with its macros expanded and its conditions decided",
		func(ctx context.Context, s *local.Spec, _ []string) (any, string, error) {
			text, err := s.Expanded(ctx)
			return struct {
				Spec string `json:"spec"`
			}{string(text)}, string(text), err
		})
}
