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
	Output   []string // the command's last lines, mock's own messages among them
}

// pattern is one row of the table that decides whose a failure is. The rows are tried in order.
type pattern struct {
	phases []rpmflow.Phase
	match  *regexp.Regexp // a line of the log
	kind   rpmflow.FailureKind
	text   string // what the packager is told; empty: the line itself
	hint   string
}

// unreachable are dnf's words for a repository that cannot be had. Source: librepo and dnf 4 and 5, and the failures that
// DLRN and Copr retry.
const unreachable = `Could not resolve host|No more mirrors|Cannot download|Failed to download metadata|Curl error|Connection (refused|timed out|reset)|Operation too slow|Timeout was reached|Status code: 5\d\d|All mirrors were tried|No space left on device|Cannot allocate memory`

var patterns = []pattern{
	// Ours, wherever they occur before the package's own build.
	{[]rpmflow.Phase{rpmflow.PhaseRoot, rpmflow.PhaseDependencies}, notThere, rpmflow.FailureInfrastructure, "", ""},
	{[]rpmflow.Phase{rpmflow.PhaseSRPM}, regexp.MustCompile(`No space left on device|Cannot allocate memory`), rpmflow.FailureInfrastructure, "", ""},
	// The package's own commands, with rpmbuild's own verdict. First of the rows of this phase: nothing that these commands
	// have written before is decisive then, whatever it looks like.
	{[]rpmflow.Phase{rpmflow.PhaseRPMs}, regexp.MustCompile(`error: Bad exit status from \S+ \(%\w+\)`),
		rpmflow.FailureBuild, "", "the log has the command that failed above this line"},
	// dnf cannot find what the spec asks for (mock exit code 30), or rpmbuild misses it.
	{[]rpmflow.Phase{rpmflow.PhaseDependencies, rpmflow.PhaseRPMs}, missing, rpmflow.FailureDependencies, "", missingHint},
	{[]rpmflow.Phase{rpmflow.PhaseDependencies, rpmflow.PhaseRPMs}, regexp.MustCompile(`conflicting requests|Failed build dependencies:?.*`),
		rpmflow.FailureDependencies, "", missingHint},
	// rpmbuild -bs and rpmspec: a Source or Patch that is not there. Interleaved output can lose the beginning of the line.
	{[]rpmflow.Phase{rpmflow.PhaseSRPM}, regexp.MustCompile(`Bad (file|source): .*|.*/SOURCES/[^:]*: No such file or directory`),
		rpmflow.FailureSource, "", "commit the file beside the spec, or mend the Source or Patch line"},
	// rpm's parser names the line; other errors of rpmspec and rpmbuild -bs are the spec's as well.
	{[]rpmflow.Phase{rpmflow.PhaseSRPM}, regexp.MustCompile(`error: .*`),
		rpmflow.FailureSpec, "", "mend the spec: rpmspec -P shows what rpm reads"},
	// All of the package's commands went well, and what rpmbuild made of their results did not.
	{[]rpmflow.Phase{rpmflow.PhaseRPMs}, regexp.MustCompile(`^(error|RPM build errors): ?.*`),
		rpmflow.FailureBuild, "", "the log says which file or check it was"},
}

// missing are the words of dnf 4, dnf 5 and rpmbuild for a package that is not to be had.
var missing = regexp.MustCompile(`No matching package to install: .*|nothing provides .*|No match for argument: .*|Unable to find a match: .*|^\s*\S+.* is needed by \S+`)

const missingHint = "check the BuildRequires, and whether the target's repositories have the package"

// Unreachable reports whether dnf says in its last lines that it did not get at the repositories.
func Unreachable(output []string) bool {
	return slices.ContainsFunc(output, notThere.MatchString)
}

var notThere = regexp.MustCompile(unreachable)

// ranByRPM is the command line of the rpmbuild that mock reports as failed: with it, exit code 1 is rpmbuild's own and
// not mock's.
var ranByRPM = regexp.MustCompile(`Child return code was: ([0-9]+)`)

// Classify decides whose the failure of a command is. It returns nil when nothing speaks for the packager: then the failure is
// ours, whatever the exit code says (mock exits with 1 both for a failing %build and when it is stopped in the middle).
func Classify(e Ended) *rpmflow.Failure {
	if e.ExitCode >= 128 {
		return nil // killed: what the log says of errors is no verdict
	}
	lines := slices.Clone(e.Output)
	if e.Phase == rpmflow.PhaseSRPM || e.Phase == rpmflow.PhaseRPMs {
		tail, err := tail(e.BuildLog, 400)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if e.Phase == rpmflow.PhaseRPMs && !childFailed(tail) && !dependenciesFailed(e) {
			return nil // stopped, killed or never begun
		}
		lines = append(tail, lines...)
	}
	for _, p := range patterns {
		if !slices.Contains(p.phases, e.Phase) {
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
		return &rpmflow.Failure{Kind: p.kind, Message: message, Hint: p.hint, Excerpt: excerpt(lines, i, e.Phase)}
	}
	if e.Phase == rpmflow.PhaseRPMs { // rpmbuild has ended by itself and says nothing of its reason
		return &rpmflow.Failure{Kind: rpmflow.FailureBuild, Message: "rpmbuild failed", Hint: "the log has the reason", Excerpt: lastOf(lines, 15)}
	}
	return nil
}

// dependenciesFailed reports whether mock itself could not install what the package needs: before rpmbuild (exit code 30) or after
// %generate_buildrequires (10). The package's own output is among the lines, so they alone prove nothing.
func dependenciesFailed(e Ended) bool {
	return (e.ExitCode == 30 || e.ExitCode == 10) && slices.ContainsFunc(e.Output, missing.MatchString)
}

// childFailed looks for rpmbuild's own non-zero exit in the last such line of build.log.
func childFailed(lines []string) bool {
	for _, line := range slices.Backward(lines) {
		if m := ranByRPM.FindStringSubmatch(line); m != nil {
			return m[1] != "0"
		}
	}
	return false
}

// excerpt gives the decisive line with what stands before it: of a failed build the commands' own errors.
func excerpt(lines []string, i int, phase rpmflow.Phase) []string {
	before := 3
	if phase == rpmflow.PhaseRPMs {
		before = 12
	}
	return slices.Clone(lines[max(0, i-before):min(len(lines), i+3)])
}

func lastOf(lines []string, n int) []string { return slices.Clone(lines[max(0, len(lines)-n):]) }

// tail reads the last lines of a log, each cut to what a record can carry.
func tail(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	const window = 256 << 10
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
