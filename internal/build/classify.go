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
	{[]rpmflow.Phase{rpmflow.PhaseRPMs}, regexp.MustCompile(`(error: |^\s*)Bad exit status from \S+ \(%\w+\)`),
		rpmflow.FailureBuild, "the log has the command that failed above this line", "rpm 4.18, build/build.c; mock 6.7, util.py, logOutput; seen"},
	// dnf cannot find what the spec asks for, or rpmbuild misses it.
	{[]rpmflow.Phase{rpmflow.PhaseDependencies, rpmflow.PhaseRPMs}, missing, rpmflow.FailureDependencies, missingHint,
		"mock's exit code 30 with dnf 4.14, seen; dnf 5 and rpmbuild from their sources"},
	{[]rpmflow.Phase{rpmflow.PhaseDependencies, rpmflow.PhaseRPMs}, regexp.MustCompile(`conflicting requests|Failed build dependencies:?.*`),
		rpmflow.FailureDependencies, missingHint, "libsolv's problems as dnf prints them; rpm 4.18, build.c"},
	// What the package's build left is no package. mock copies the names that it finds, whatever they are.
	{[]rpmflow.Phase{rpmflow.PhaseRPMs}, unfit,
		rpmflow.FailureBuild, "leave RPMs alone in the RPMS and SRPMS directories, as rpmbuild wrote them", "mock 6.7, backend.py: PkgError (exit code 40), copy_build_results"},
	// rpmbuild -bs and rpmspec: a Source or Patch that is not there. Interleaved output can lose the beginning of the line.
	{[]rpmflow.Phase{rpmflow.PhaseSRPM}, regexp.MustCompile(`Bad (file|source): .*|.*/SOURCES/[^:]*: No such file or directory`),
		rpmflow.FailureSource, "commit the file beside the spec, or mend the Source or Patch line", "rpm 4.18, seen"},
	// rpm's parser names the line; other errors of rpmspec and rpmbuild -bs are the spec's as well.
	{[]rpmflow.Phase{rpmflow.PhaseSRPM}, regexp.MustCompile(`error: .*`),
		rpmflow.FailureSpec, "mend the spec: rpmspec -P shows what rpm reads", "rpm 4.18, seen"},
	// All of the package's commands went well, and what rpmbuild made of their results did not.
	{[]rpmflow.Phase{rpmflow.PhaseRPMs}, regexp.MustCompile(`^(error|RPM build errors): ?.*`),
		rpmflow.FailureBuild, "the log says which file or check it was", "rpm 4.18, build/files.c; seen"},
}

// missing are the words of dnf 4, dnf 5 and rpmbuild for a package that is not to be had.
var missing = regexp.MustCompile(`No matching package to install: .*|nothing provides .*|No match for argument: .*|Unable to find a match: .*|^\s*\S+.* is needed by \S+`)

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
		f = matched(e.Phase, lines)
	}
	if !ran || e.MemoryLimit == "" {
		return f
	}
	if f == nil { // killed; by its own hunger, as the kernel says
		f = &rpmflow.Failure{Kind: rpmflow.FailureBuild, Message: "the build was ended by the kernel", Excerpt: lastOf(lines, 15)}
	}
	f.Message += ": a process needed more memory than the limit of " + e.MemoryLimit
	f.Hint = "make it use less, with fewer jobs at once for instance, or ask an operator to raise builder.docker.memory"
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
func matched(phase rpmflow.Phase, lines []string) *rpmflow.Failure {
	for _, p := range patterns {
		if !slices.Contains(p.phases, phase) {
			continue
		}
		i := slices.IndexFunc(lines, p.match.MatchString)
		if i < 0 {
			continue
		}
		if p.kind == rpmflow.FailureInfrastructure {
			return nil
		}
		message := strings.TrimSpace(p.match.FindString(lines[i]))
		return &rpmflow.Failure{Kind: p.kind, Message: message, Hint: p.hint, Excerpt: excerpt(lines, i, phase)}
	}
	if phase == rpmflow.PhaseRPMs { // rpmbuild has ended by itself and says nothing of its reason
		return &rpmflow.Failure{Kind: rpmflow.FailureBuild, Message: "rpmbuild failed", Hint: "the log has the reason", Excerpt: lastOf(lines, 15)}
	}
	return nil
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

// Words by which the tools of a build name what is wrong: compilers, linkers, interpreters, test programs; and those that only
// say that something was.
var (
	toolError   = regexp.MustCompile(`(^|[\s:])(fatal )?error(\[\w+\])?: |undefined reference to|^Traceback |CMake Error|^panic: |(^|\s)FAIL(ED)?: |: command not found|No rule to make target|AssertionError`)
	toolVerdict = regexp.MustCompile(`^(g?make|ninja)(\[\d+\])?: (\*\*\*|.*stopped)|^FAIL(ED|URES)?\b`)
	section     = regexp.MustCompile(`^Executing\(%\w+\): `)
)

// excerpt gives the decisive line with what stands before it. Of a failed build that is what the commands themselves called an
// error, however far above their end, and then the verdict.
func excerpt(lines []string, i int, phase rpmflow.Phase) []string {
	i = max(i, 0)
	end := min(len(lines), i+3)
	if phase != rpmflow.PhaseRPMs {
		return slices.Clone(lines[max(0, i-3):end])
	}
	const before = 12
	begin := 0
	for at := i; at > 0 && begin == 0; at-- {
		if section.MatchString(lines[min(at, len(lines)-1)]) {
			begin = at
		}
	}
	first := -1
	for _, words := range []*regexp.Regexp{toolError, toolVerdict} {
		if first < 0 && i > begin {
			first = slices.IndexFunc(lines[begin:i], words.MatchString)
		}
	}
	if first < 0 {
		// Both streams of rpmbuild come to the log in no certain order: the verdict may be in it before what it is about.
		if at := slices.IndexFunc(lines[end:], func(l string) bool { return toolError.MatchString(l) && !strings.Contains(l, "Bad exit status") }); at >= 0 {
			at += end
			return slices.Concat(lines[max(end, at-4):min(len(lines), at+6)], []string{"[…]"}, lines[i:end])
		}
	}
	if first < 0 || begin+first >= i-before {
		return slices.Clone(lines[max(0, i-before):end])
	}
	first += begin
	return slices.Concat(lines[max(begin, first-4):first+6], []string{"[…]"}, lines[i-3:end])
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

// Lines keeps the last n lines of r, as valid UTF-8 of a bounded length.
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
		for more && err == nil { // the rest of a very long line
			_, more, err = s.ReadLine()
		}
		if lines = append(lines, strings.TrimRight(text, "\r")); len(lines) > n {
			lines = lines[1:]
		}
	}
}
