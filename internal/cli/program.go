// Package cli is what the programs' commands share: flags for configuration keys, loading, signals, health, doctor,
// version.
//
// A command's flags and the process environment come in; a checked configuration and contexts that end with signals go
// out. Only the packages below cmd import it.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker for releases.
var version = ""

// commit is set by the linker as well: builds of this repository have no stamp of Go's own.
var commit = ""

// Build returns what this binary was built from, as far as that is known.
func Build() (of, from string, modified bool) {
	of, from, modified = version, commit, strings.HasSuffix(version, "-dirty")
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(of, "unknown"), from, modified
	}
	module := info.Main.Version
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			from, module = cmp.Or(from, s.Value), "git-"+s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && commit == "":
			modified = s.Value == "true"
		}
	}
	return cmp.Or(of, module), from, modified
}

// Version names what this binary was built from.
func Version() string {
	of, _, _ := Build()
	return of
}

// Signals returns two contexts: soft ends with the first SIGTERM, SIGINT or SIGHUP (drain), hard with the second (stop
// now).
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

// Main runs a command and exits with its result: 1 unless the error has another code.
func Main(cmd *cobra.Command) {
	err := cmd.ExecuteContext(context.Background())
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", cmd.Name(), err)
	code := 1
	var coded interface{ ProgramExit() int }
	if errors.As(err, &coded) {
		code = max(coded.ProgramExit(), 1)
	}
	os.Exit(code)
}
