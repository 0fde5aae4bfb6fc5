package build

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// Ended is what is known of a command of the build that ended with an error.
type Ended struct {
	Phase    rpmflow.Phase
	ExitCode int
	BuildLog string   // path of build.log; need not exist
	StateLog string   // path of mock's state.log; need not exist
	RootLog  string   // path of mock's root.log, with all that dnf has said; need not exist
	Output   []string // the command's last lines, mock's own messages among them
	// Interfered is what others did to the command meanwhile, in words; empty: nothing is known.
	Interfered string
	// MemoryLimit is the limit in words at which the kernel ended a process of the command; empty: it did not.
	MemoryLimit string
}

// pattern is one row of the table that decides whose a failure is. The rows are tried in order.
type pattern struct {
	phases []rpmflow.Phase
	match  *regexp.Regexp // a line of the log
	kind   rpmflow.FailureKind
	hint   string
	source string // where the words come from
}

// unreachable are dnf's words for a repository that cannot be had, and the kernel's for a machine that is full.
const unreachable = `Could not resolve host|No more mirrors|Cannot download|Failed to download metadata|Curl error|Connection (refused|timed out|reset)|Operation too slow|Timeout was reached|Status code: 5\d\d|All mirrors were tried|No space left on device|Cannot allocate memory`

var patterns = []pattern{
	// Ours, wherever they occur before the package's own build.
	{[]rpmflow.Phase{rpmflow.PhaseRoot, rpmflow.PhaseDependencies}, notThere, rpmflow.FailureInfrastructure, "",
		"librepo, dnf 4 and 5; the failures that DLRN and Copr retry"},
	{[]rpmflow.Phase{rpmflow.PhaseSRPM}, regexp.MustCompile(`No space left on device|Cannot allocate memory`), rpmflow.FailureInfrastructure, "", "strerror(3): ENOSPC, ENOMEM"},
	// The package's own commands, with rpmbuild's own verdict. First of the rows of this phase: nothing that these commands
	// have written before is decisive then, whatever it looks like.
	// mock joins what rpmbuild writes to both streams as it comes, and can tear the line.
	{[]rpmflow.Phase{rpmflow.PhaseRPMs}, verdict, rpmflow.FailureBuild, "", "rpm 4.18, build/build.c; mock 6.7, util.py, logOutput; seen"},
	// dnf cannot find what the spec asks for, or rpmbuild misses it.
	{[]rpmflow.Phase{rpmflow.PhaseDependencies, rpmflow.PhaseRPMs}, missing, rpmflow.FailureDependencies, missingHint,
		"mock's exit code 30 with dnf 4.14, seen; dnf 5 and rpmbuild from their sources"},
	{[]rpmflow.Phase{rpmflow.PhaseDependencies, rpmflow.PhaseRPMs}, regexp.MustCompile(`conflicting requests|conflicts with|Failed build dependencies:?.*`),
		rpmflow.FailureDependencies, missingHint, "libsolv's problems as dnf prints them; rpm 4.18, build.c"},
	// What the package's build left is no package. mock copies the names that it finds, whatever they are.
	{[]rpmflow.Phase{rpmflow.PhaseRPMs}, unfit,
		rpmflow.FailureBuild, "leave RPMs alone in the RPMS and SRPMS directories, as rpmbuild wrote them", "mock 6.7, backend.py: PkgError (exit code 40), copy_build_results"},
	// rpmbuild -bs and rpmspec: a Source or Patch that is not there. Interleaved output can lose the beginning of the line.
	{[]rpmflow.Phase{rpmflow.PhaseSRPM}, regexp.MustCompile(`Bad (file|source): .*|.*/SOURCES/[^:]*: No such file or directory`),
		rpmflow.FailureSource, "commit the file beside the spec, or fix the Source or Patch line", "rpm 4.18, seen"},
	// A macro that the root does not define is read as a tag.
	{[]rpmflow.Phase{rpmflow.PhaseSRPM}, regexp.MustCompile(`error: line \d+: Unknown tag: %.*`), rpmflow.FailureSpec,
		"the target's root does not define this macro, and BuildRequires do not count while the spec is read: the package that has it must be among those that mock's chroot_setup_cmd installs", "rpm 4.18, build/parsePreamble.c; seen"},
	// rpm's parser names the line; other errors of rpmspec and rpmbuild -bs are the spec's as well.
	{[]rpmflow.Phase{rpmflow.PhaseSRPM}, regexp.MustCompile(`error: .*`),
		rpmflow.FailureSpec, "fix the spec: rpmspec -P shows what rpm reads", "rpm 4.18, seen"},
	// All of the package's commands went well, and what rpmbuild made of their results did not.
	{[]rpmflow.Phase{rpmflow.PhaseRPMs}, ofFiles,
		rpmflow.FailureBuild, "fix the %files section, or what %install puts there", "rpm 4.18, build/files.c; seen"},
}

// missing are the words of dnf 4, dnf 5 and rpmbuild for a package that is not to be had.
var missing = regexp.MustCompile(`No matching package to install: .*|nothing provides .*|No match for argument: .*|Unable to find a match: .*|No package \S.* available|` +
	`package \S+ requires .*, but none of the providers can be installed|^\s*\S+.* is needed by \S+`)

// unfit are mock's words for results that are no packages.
var unfit = regexp.MustCompile(`No build results found|Expected to find single rebuilt srpm.*|Can not copy \S+ into resultdir.*(No such file|Is a directory|Permission denied|special file|named pipe|File too large).*`)

const missingHint = "check the BuildRequires, and whether the target's repositories have the package"

// Unreachable reports whether dnf says in its last lines that it did not get at the repositories.
func Unreachable(output []string) bool {
	return slices.ContainsFunc(output, notThere.MatchString)
}

var notThere = regexp.MustCompile(unreachable)

// ranByRPM is the end of the rpmbuild that mock ran (util.py, do): with it, exit code 1 is rpmbuild's own and not mock's. A command
// that was killed has a negative one.
var ranByRPM = regexp.MustCompile(`Child return code was: (-?[0-9]+)`)

// Classify decides whose the failure of a command is. It returns nil when nothing speaks for the packager: then the failure is
// ours, whatever the exit code says (mock exits with 1 both for a failing %build and when it is stopped in the middle).
func Classify(e Ended) *rpmflow.Failure {
	if e.Interfered != "" {
		return nil
	}
	lines := e.Output
	ran := e.Phase == rpmflow.PhaseSRPM || e.Phase == rpmflow.PhaseRPMs // something that a packager wrote
	if ran {
		logged, err := tail(e.BuildLog, 2000)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		lines = slices.Concat(logged, lines)
	}
	var f *rpmflow.Failure
	if cameToItsEnd(e, lines) {
		f = matched(e, lines)
	}
	if !ran || e.MemoryLimit == "" {
		return f
	}
	if f == nil { // killed; by its own hunger, as the kernel says
		f = &rpmflow.Failure{Kind: rpmflow.FailureBuild, Message: "the build was ended by the kernel", Excerpt: lastOf(lines, 15)}
	}
	f.Message += ": a process needed more memory than the limit of " + e.MemoryLimit
	f.Hint = "make it use less, with fewer jobs at once for instance, or have builder.docker.memory raised"
	return f
}

// cameToItsEnd reports whether the command ended by itself: only then what the log says of errors is a verdict.
func cameToItsEnd(e Ended, lines []string) bool {
	if e.ExitCode >= 128 || brokenOff(e) {
		return false
	}
	return e.Phase != rpmflow.PhaseRPMs || childFailed(lines[:len(lines)-len(e.Output)]) || dependenciesFailed(e) || refused(e)
}

// matched gives the failure by the first row of the table that knows one of the lines.
func matched(e Ended, lines []string) *rpmflow.Failure {
	lines = withoutRemarks(lines)
	for _, p := range patterns {
		if !slices.Contains(p.phases, e.Phase) {
			continue
		}
		i := slices.IndexFunc(lines, p.match.MatchString)
		if i < 0 {
			continue
		}
		switch p.kind {
		case rpmflow.FailureInfrastructure:
			return nil
		case rpmflow.FailureDependencies:
			return unmet(lines, i, p.hint, dnfSaid(e))
		}
		if p.match == verdict {
			return scriptlet(lines, i)
		}
		f := &rpmflow.Failure{Kind: p.kind, Message: strings.TrimSpace(p.match.FindString(lines[i])), Hint: p.hint}
		f.Excerpt = excerpt(lines, i)
		if p.match == ofFiles {
			f.Message, f.Excerpt = withDetails(lines, i, f.Message), errorsOf(lines, i)
		}
		return f
	}
	if e.Phase == rpmflow.PhaseRPMs { // rpmbuild has ended by itself and says nothing of its reason
		return &rpmflow.Failure{Kind: rpmflow.FailureBuild, Message: "rpmbuild failed", Hint: "the log has the reason", Excerpt: lastOf(lines, 15)}
	}
	return nil
}

// dnfSaid gives what mock's root.log has of dnf's words for what is missing; the output has only the end of it.
func dnfSaid(e Ended) []string {
	said, err := tail(e.RootLog, 2000)
	if err != nil { // the output has the reason, too
		return nil
	}
	for i, l := range said {
		said[i] = loggedBy.ReplaceAllString(l, "")
	}
	return slices.DeleteFunc(said, func(l string) bool { return !missing.MatchString(l) })
}

// brokenOff reports whether mock's state.log lacks the end of what the phase is for. mock writes it after a failure, too (backend.py,
// finally), and so it is missing only when mock itself was ended in the middle, or never came as far.
func brokenOff(e Ended) bool {
	states, err := tail(e.StateLog, 2000)
	if err != nil {
		return e.StateLog != "" && !errors.Is(err, fs.ErrNotExist)
	}
	of := map[rpmflow.Phase]string{rpmflow.PhaseSRPM: "buildsrpm", rpmflow.PhaseRPMs: "build phase for "}[e.Phase]
	has := func(word string) bool {
		return slices.ContainsFunc(states, func(l string) bool { return strings.Contains(l, word+": "+of) })
	}
	return has("Start") && !has("Finish")
}

// dependenciesFailed reports whether mock itself could not install what the package needs: before rpmbuild (exit code 30) or after
// %generate_buildrequires (10). The package's own output is among the lines, so they alone prove nothing.
func dependenciesFailed(e Ended) bool {
	return (e.ExitCode == 30 || e.ExitCode == 10) && slices.ContainsFunc(e.Output, missing.MatchString)
}

// refused reports whether mock could do nothing with what a build without an error left: exit code 40, a bad package, or 1 when a
// result is no file.
func refused(e Ended) bool {
	return (e.ExitCode == 40 || e.ExitCode == 1) && slices.ContainsFunc(e.Output, unfit.MatchString)
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

// excerpt gives the decisive line with what stands around it.
func excerpt(lines []string, i int) []string {
	return unrepeated(slices.Clone(lines[max(0, i-3):min(len(lines), i+3)]))
}

func lastOf(lines []string, n int) []string { return slices.Clone(lines[max(0, len(lines)-n):]) }

// tail reads the last lines of a log, each cut to what a record can carry.
func tail(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	const window = 1 << 20
	if size, err := f.Seek(0, io.SeekEnd); err != nil {
		return nil, err
	} else if _, err := f.Seek(max(0, size-window), io.SeekStart); err != nil {
		return nil, err
	}
	return Lines(f, n), nil
}

// escapes are the colours of terminals.
var escapes = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

// Lines keeps the last n lines of r, as valid UTF-8 of a bounded length and without colours.
func Lines(r io.Reader, n int) []string {
	const longest = 500
	var lines []string
	s := bufio.NewReaderSize(r, 4096)
	for {
		line, more, err := s.ReadLine()
		if err != nil {
			return lines
		}
		text := strings.ToValidUTF8(string(line[:min(len(line), longest)]), "\uFFFD")
		if strings.Contains(text, "\x1b") {
			text = escapes.ReplaceAllString(text, "")
		}
		for more && err == nil { // the rest of a very long line
			_, more, err = s.ReadLine()
		}
		if lines = append(lines, strings.TrimRight(text, "\r")); len(lines) > n {
			lines = lines[1:]
		}
	}
}
