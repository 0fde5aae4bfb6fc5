// Package cli is what the programs' commands have in common: flags that stand for configuration keys, loading, signals, version.
//
// A command's flags and the process environment come in; a checked configuration and contexts that end with signals go out.
// Only the packages below cmd import it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/config"
)

// version is set by the linker for releases.
var version = ""

// commit is set by the linker, too: the builds of this repository have no stamp of Go's own.
var commit = ""

// Build says what this binary was built from, as far as it knows.
func Build() (of, from string, modified bool) {
	of, from, modified = Version(), commit, strings.HasSuffix(version, "-dirty")
	if info, ok := debug.ReadBuildInfo(); ok && from == "" {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				from = s.Value
			case "vcs.modified":
				modified = s.Value == "true"
			}
		}
	}
	return of, from, modified
}

// Version names what this binary was built from.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "git-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}

// flagName turns a key into a flag: builder.drain_time into drain-time, s3.bucket into s3-bucket.
func flagName(key string) string {
	for _, section := range []string{"builder.", "listener."} {
		key = strings.TrimPrefix(key, section)
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(key)
}

// ConfigFlags gives a command --config and one flag for each key below the sections ("" for keys outside of any).
// Secrets have none: they would show in the list of processes.
func ConfigFlags(cmd *cobra.Command, sections ...string) {
	configFlags(cmd, func(path string) bool { return inSections(path, sections) })
}

func configFlags(cmd *cobra.Command, wanted func(path string) bool) {
	flags := cmd.Flags()
	flags.String("config", "", "configuration file (RPMFLOW_CONFIG; else ./rpmflow.yaml or /etc/rpmflow/rpmflow.yaml)")
	keyFlags(cmd, wanted)
}

func keyFlags(cmd *cobra.Command, wanted func(path string) bool) {
	flags := cmd.Flags()
	for _, k := range config.Keys() {
		if k.Secret || !wanted(k.Path) {
			continue
		}
		usage := k.Doc
		if k.Env != "" {
			usage += " (" + k.Env + ")"
		}
		flags.Var(&keyFlag{key: k, value: k.Default}, flagName(k.Path), usage)
	}
}

// KeyFlags gives a command --config and a flag for each of these keys.
func KeyFlags(cmd *cobra.Command, paths ...string) {
	configFlags(cmd, func(path string) bool { return slices.Contains(paths, path) })
}

// MoreKeyFlags gives a command that has --config a flag for each of these keys, too.
func MoreKeyFlags(cmd *cobra.Command, paths ...string) {
	keyFlags(cmd, func(path string) bool { return slices.Contains(paths, path) })
}

func inSections(path string, sections []string) bool {
	section, _, found := strings.Cut(path, ".")
	if !found {
		section = ""
	}
	for _, s := range sections {
		if s == section {
			return true
		}
	}
	return false
}

// keyFlag holds a flag's text as it was given: the configuration parses it as it does the file's.
type keyFlag struct {
	key   config.Key
	value string
}

func (f *keyFlag) String() string     { return f.value }
func (f *keyFlag) Set(s string) error { f.value = s; return nil }
func (f *keyFlag) Type() string       { return f.key.Type }

// Load reads the configuration that the command's flags, the environment and the file make.
func Load(cmd *cobra.Command) (*config.Config, error) { return load(cmd, "") }

// LoadFor is Load without the secrets of other programs.
func LoadFor(cmd *cobra.Command, program config.Program) (*config.Config, error) {
	return load(cmd, program)
}

func load(cmd *cobra.Command, program config.Program) (*config.Config, error) {
	explicit, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	file, err := config.Find(explicit, os.Getenv)
	if err != nil {
		return nil, err
	}
	return loadFor(cmd, file, program)
}

// LoadFile is Load with the file decided.
func LoadFile(cmd *cobra.Command, file string) (*config.Config, error) {
	return loadFor(cmd, file, "")
}

func loadFor(cmd *cobra.Command, file string, program config.Program) (*config.Config, error) {
	given := map[string]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if k, ok := f.Value.(*keyFlag); ok {
			given[k.key.Path] = k.value
		}
	})
	return config.Load(config.Source{File: file, Env: os.Environ(), Flags: given, For: program})
}

// Signals gives two contexts: the first ends with the first SIGTERM, SIGINT or SIGHUP (drain), the second with the second (now).
func Signals(parent context.Context) (soft, hard context.Context, stop func()) {
	soft, softCancel := context.WithCancel(parent)
	hard, hardCancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for _, cancel := range []func(){softCancel, hardCancel} {
			select {
			case <-signals:
				cancel()
			case <-done:
				return
			}
		}
	}()
	return soft, hard, func() {
		signal.Stop(signals)
		close(done)
		softCancel()
		hardCancel()
	}
}

// Service makes the command of a program that runs until it is told to stop, with commands below it that ask how it is and
// what it lacks. It is given no secrets of other programs.
func Service(program config.Program, short, long string, sections []string, run func(ctx, hard context.Context, cfg *config.Config, stderr io.Writer) error) *cobra.Command {
	cmd := &cobra.Command{Use: string(program), Short: short, Long: long, Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true, Version: Version()}
	ConfigFlags(cmd, sections...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load(cmd, program)
		if err != nil {
			return err
		}
		log := assembly.Logger(cmd.ErrOrStderr(), cfg.Log)
		for _, w := range cfg.Warnings {
			log.Warn(w)
		}
		soft, hard, stop := Signals(cmd.Context())
		defer stop()
		return run(soft, hard, cfg, cmd.ErrOrStderr())
	}
	cmd.CompletionOptions.DisableDefaultCmd = true // a program for service managers
	cmd.AddCommand(healthCommand(program, sections), doctorCommand(program, sections))
	return cmd
}

// Main runs a command and exits with its result: 1 where an error does not say another code.
func Main(cmd *cobra.Command) {
	err := cmd.ExecuteContext(context.Background())
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", cmd.Name(), err)
	var coded interface{ ProgramExit() int }
	if errors.As(err, &coded) {
		if code := coded.ProgramExit(); code > 0 {
			os.Exit(code)
		}
	}
	os.Exit(1)
}
