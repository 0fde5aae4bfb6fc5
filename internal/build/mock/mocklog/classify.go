// Package mocklog decides whether a failure of mock is the packager's, from what mock and dnf write.
//
// In come mock's exit code, its logs and what the container engine reports; out comes a *rpmflow.Failure, or nothing
// when the failure is the infrastructure's. Only the engine mock imports it; it imports rpmlog for what rpmbuild
// writes.
package mocklog

import (
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/rpmlog"
)

// Ended describes a mock that ended with an error.
type Ended struct {
	Phase    rpmflow.Phase
	ExitCode int
	BuildLog string   // path of build.log; need not exist
	StateLog string   // path of state.log; need not exist
	RootLog  string   // path of root.log, with all messages of dnf; need not exist
	Output   []string // mock's last lines
	// Interfered says what others did to the container; empty: nothing is known.
	Interfered string
	// MemoryLimit is the limit in words at which the kernel ended a process in the container; empty: it did not.
	MemoryLimit string
}

// rules are the messages of mock and dnf. Those of rpmbuild come before and after them.
func rules(e Ended) []rpmlog.Rule {
	unmet := func(lines []string, i int, hint string) *rpmflow.Failure {
		return unmet(lines, i, hint, dnfMessages(e))
	}
	deps, rpms := []rpmflow.Phase{rpmflow.PhaseDependencies, rpmflow.PhaseRPMs}, []rpmflow.Phase{rpmflow.PhaseRPMs}
	return []rpmlog.Rule{
		// The repositories' or the engine's fault. While the package's own code runs, such messages prove nothing.
		{Phases: []rpmflow.Phase{rpmflow.PhaseRoot, rpmflow.PhaseDependencies}, Match: unreachable,
			Kind:   rpmflow.FailureInfrastructure,
			Source: "librepo, dnf 4 and 5; the failures that DLRN and Copr retry"},
		// dnf cannot find what the spec asks for, or rpmbuild misses it.
		{Phases: deps, Match: missing, Kind: rpmflow.FailureDependencies, Hint: rpmlog.UnmetHint, Explain: unmet,
			Source: "mock's exit code 30 with dnf 4.14, seen; dnf 5 and rpmbuild from their sources"},
		{Phases: deps, Match: conflicts, Kind: rpmflow.FailureDependencies, Hint: rpmlog.UnmetHint, Explain: unmet,
			Source: "libsolv's problems as dnf prints them; rpm 4.18, build.c"},
		// The build left something else than packages. mock copies all names that it finds.
		{Phases: rpms, Match: badResults, Kind: rpmflow.FailureBuild,
			Hint:   "do not change RPMs in the RPMS and SRPMS directories after rpmbuild wrote them",
			Source: "mock 6.7, backend.py: PkgError (exit code 40), copy_build_results"},
	}
}

// badResults are mock's messages about results that are not packages.
var badResults = regexp.MustCompile(`No build results found|Expected to find single rebuilt srpm.*|` +
	`Can not copy \S+ into resultdir.*(No such file|Is a directory|Permission denied|special file|named pipe|` +
	`File too large).*`)

// noise says nothing about a failure: mock's own progress.
var noise = regexp.MustCompile(`logging\.ini|^(INFO|Start|Finish|State Changed)\b|^Executing command: \[|` +
	`^Mock Version: `)

// Classify returns the failure if it is the packager's. It returns nil when nothing shows that: then the failure is the
// infrastructure's, with any exit code (mock exits with 1 both for a failing %build and when it is stopped).
func Classify(e Ended) *rpmflow.Failure {
	if e.Interfered != "" {
		return nil
	}
	var log []string
	if rpmlog.Runs(e.Phase) {
		var err error
		if log, err = rpmlog.Tail(e.BuildLog); err != nil {
			return nil
		}
	}
	var f *rpmflow.Failure
	if !brokenOff(e) {
		f = rpmlog.Classify(rpmlog.Ended{
			Phase: e.Phase, ExitCode: e.ExitCode, Log: withoutNoise(log), Output: withoutNoise(e.Output),
			Conclusive: dependenciesFailed(e) || resultsRefused(e),
		}, rules(e)...)
	}
	if e.MemoryLimit == "" || !rpmlog.Runs(e.Phase) {
		return f
	}
	if f == nil { // killed: the kernel says that the build itself needed too much
		f = &rpmflow.Failure{
			Kind: rpmflow.FailureBuild, Message: "the build was ended by the kernel",
			Excerpt: rpmlog.Last(slices.Concat(log,
				e.Output), 15),
		}
	}
	f.Message += ": a process needed more memory than the limit of " + e.MemoryLimit
	f.Hint = "make it use less, for example with fewer parallel jobs, or ask an operator to raise builder.docker.memory"
	return f
}

// brokenOff reports whether mock's state.log lacks the end of what the phase is for. mock writes the end after a
// failure, too (backend.py, finally), so it is missing only when mock itself was stopped, or did not get so far.
func brokenOff(e Ended) bool {
	states, err := rpmlog.Tail(e.StateLog)
	if err != nil {
		return true
	}
	of := map[rpmflow.Phase]string{rpmflow.PhaseSRPM: "buildsrpm", rpmflow.PhaseRPMs: "build phase for "}[e.Phase]
	has := func(word string) bool {
		return slices.ContainsFunc(states, func(l string) bool { return strings.Contains(l, word+": "+of) })
	}
	return has("Start") && !has("Finish")
}

// dependenciesFailed reports whether mock itself could not install what the package needs: before rpmbuild (exit code
// 30) or after %generate_buildrequires (10). The package's own output is among the lines, so they alone prove nothing.
func dependenciesFailed(e Ended) bool {
	return (e.ExitCode == 30 || e.ExitCode == 10) && slices.ContainsFunc(e.Output, missing.MatchString)
}

// resultsRefused reports whether mock could not use what a build without an error left: exit code 40 for a bad package,
// 1 for a result that is not a file.
func resultsRefused(e Ended) bool {
	return (e.ExitCode == 40 || e.ExitCode == 1) && slices.ContainsFunc(e.Output, badResults.MatchString)
}

func withoutNoise(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		return noise.MatchString(l) || progress.MatchString(l) || afterProblems.MatchString(l)
	})
}

// Errors picks what mock or dnf calls an error, or else the last lines.
func Errors(output []string) []string {
	var lines []string
	for _, l := range output {
		if strings.Contains(l, "ERROR") || strings.HasPrefix(l, "Error: ") || strings.HasPrefix(l, "rpmflow:") {
			lines = append(lines, strings.TrimSpace(l))
		}
	}
	if len(lines) == 0 {
		lines = output
	}
	return rpmlog.Last(lines, 5)
}
