// Package rpmlog reads what rpmbuild and rpmspec write and decides whether a failure is the packager's.
//
// In come the exit code and the last lines of the logs of a command that failed; out comes a *rpmflow.Failure, or
// nothing when the logs do not show that the package is at fault. Engines import it, as does mock/mocklog, which adds
// the messages of mock and dnf; it imports the domain only.
package rpmlog

import (
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// Ended describes a command that ended with an error.
type Ended struct {
	Phase    rpmflow.Phase
	ExitCode int
	Log      []string // the last lines of build.log
	Output   []string // the last lines that the command wrote elsewhere
	// Conclusive means that the command certainly ended by itself. Otherwise the log of phase rpms must show
	// it.
	Conclusive bool
}

// Rule is one row of the table that decides whose fault a failure is. The rows are tried in order, each on all lines.
type Rule struct {
	Phases []rpmflow.Phase
	Match  *regexp.Regexp      // a line of the log
	Kind   rpmflow.FailureKind // FailureInfrastructure: not the packager's, even if the log contains more
	Hint   string
	Source string // where the wording comes from
	// Explain makes the failure of the matching lines[i]. Nil: the line is the message.
	Explain func(lines []string, i int, hint string) *rpmflow.Failure
}

// scriptletRule comes before an engine's own rules: once rpmbuild blames a command of the package, nothing that
// such a command has written before is decisive, in any form.
func scriptletRule() Rule {
	return Rule{[]rpmflow.Phase{rpmflow.PhaseRPMs}, badExit, rpmflow.FailureBuild, "",
		"rpm 4.18, build/build.c; mock 6.7, util.py, logOutput; seen", scriptlet}
}

// rules come after an engine's own.
func rules() []Rule {
	srpm, rpms := []rpmflow.Phase{rpmflow.PhaseSRPM}, []rpmflow.Phase{rpmflow.PhaseRPMs}
	return []Rule{
		{srpm, regexp.MustCompile(NoRoom), rpmflow.FailureInfrastructure, "", "strerror(3): ENOSPC, ENOMEM", nil},
		{rpms, NeededBy, rpmflow.FailureDependencies, UnmetHint, "rpm 4.18, build.c; seen", unmet},
		{rpms, FailedDependencies, rpmflow.FailureDependencies, UnmetHint, "rpm 4.18, build.c; seen", unmet},
		// rpmbuild -bs and rpmspec: a Source or Patch does not exist. Interleaved output can lose the beginning of the
		// line.
		{srpm, regexp.MustCompile(`Bad (file|source): .*|.*/SOURCES/[^:]*: No such file or directory`),
			rpmflow.FailureSource, "commit the file next to the spec, or fix the Source or Patch line",
			"rpm 4.18, seen", nil},
		// A macro that the root does not define is read as a tag.
		{srpm, regexp.MustCompile(`error: line \d+: Unknown tag: %.*`), rpmflow.FailureSpec,
			"the target's root does not define this macro, and BuildRequires are not installed yet when the spec is " +
				"read: add the package with the macro to the packages that mock's chroot_setup_cmd installs",
			"rpm 4.18, build/parsePreamble.c; seen", nil},
		// rpm's parser names the line. Other errors of rpmspec and rpmbuild -bs are the spec's as well.
		{srpm, regexp.MustCompile(`error: .*`), rpmflow.FailureSpec,
			"fix the spec: rpmspec -P shows what rpm reads", "rpm 4.18, seen", nil},
		// All commands of the package succeeded, but rpmbuild refuses what they have made.
		{rpms, fileErrors, rpmflow.FailureBuild,
			"fix the %files section, or what %install puts there", "rpm 4.18, build/files.c; seen", packageFiles},
	}
}

// NoRoom is how the kernel describes a machine that is full.
const NoRoom = `No space left on device|Cannot allocate memory`

// ranByRPM is the end of the rpmbuild that mock ran (util.py, do): with it, exit code 1 is rpmbuild's own and not
// mock's. A command that was killed has a negative one.
var ranByRPM = regexp.MustCompile(`Child return code was: (-?[0-9]+)`)

// buildNoise says nothing about a failure.
var buildNoise = regexp.MustCompile(`^\s*$|^Building (target platforms|for target)`)

// Runs reports whether a phase runs what a packager wrote.
func Runs(p rpmflow.Phase) bool { return p == rpmflow.PhaseSRPM || p == rpmflow.PhaseRPMs }

// Classify returns the failure if it is the packager's. It returns nil when the logs do not show that: then the failure
// is the infrastructure's, with any exit code (a failing %build and a build that was stopped can have the
// same). The engine's own rules are tried before those on specs and files.
func Classify(e Ended, own ...Rule) *rpmflow.Failure {
	if e.ExitCode >= 128 || e.Phase == rpmflow.PhaseRPMs && !e.Conclusive && !childFailed(e.Log) {
		return nil
	}
	lines := slices.DeleteFunc(slices.Concat(e.Log, e.Output), buildNoise.MatchString)
	for _, r := range slices.Concat([]Rule{scriptletRule()}, own, rules()) {
		if !slices.Contains(r.Phases, e.Phase) {
			continue
		}
		i := slices.IndexFunc(lines, r.Match.MatchString)
		switch {
		case i < 0:
		case r.Kind == rpmflow.FailureInfrastructure:
			return nil
		case r.Explain != nil:
			return r.Explain(lines, i, r.Hint)
		default:
			return &rpmflow.Failure{
				Kind: r.Kind, Message: strings.TrimSpace(r.Match.FindString(lines[i])), Hint: r.Hint,
				Excerpt: excerpt(lines, i),
			}
		}
	}
	if e.Phase == rpmflow.PhaseRPMs { // rpmbuild has ended by itself and does not say why
		return &rpmflow.Failure{Kind: rpmflow.FailureBuild, Message: "rpmbuild failed", Hint: "the log has the reason",
			Excerpt: Last(lines, 15)}
	}
	return nil
}

// childFailed looks for rpmbuild's own non-zero exit in the last such line of build.log.
func childFailed(lines []string) bool {
	for _, line := range slices.Backward(lines) {
		if m := ranByRPM.FindStringSubmatch(line); m != nil {
			return m[1] != "0" && m[1][0] != '-'
		}
	}
	return false
}

// excerpt returns the decisive line with the lines around it.
func excerpt(lines []string, i int) []string {
	return Unrepeated(slices.Clone(lines[max(0, i-3):min(len(lines), i+3)]))
}

// Last returns the last n lines.
func Last(lines []string, n int) []string { return slices.Clone(lines[max(0, len(lines)-n):]) }
