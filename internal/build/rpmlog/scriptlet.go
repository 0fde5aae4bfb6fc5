package rpmlog

import (
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// When a scriptlet of a spec (%prep, %build, %check, …) fails, rpmbuild only says that it failed. The reason is in the
// output of the tool that failed, in the tool's own words, and in that of the shell, which writes each command before
// it runs it.

var (
	badExit = regexp.MustCompile(`(?:error: |^\s*)Bad exit status from \S+ \((%\w+)\)`)
	section = regexp.MustCompile(`^Executing\((%\w+)\): `)
	// traced is a command of the scriptlet itself. One plus sign is the shell's own, more are of what it calls in a
	// subshell.
	traced = regexp.MustCompile(`^\++ (.*)`)
	// closing are the lines with which rpmbuild and mock end a log.
	closing = regexp.MustCompile(`^(RPM build (errors|warnings):|EXCEPTION: |Child return code was: )`)
)

// certain are messages of tools that show in one line what is wrong. The first is decisive, the others
// follow from it.
var certain = []*regexp.Regexp{
	regexp.MustCompile(`^\S*rpm-tmp\.\w+: (line )?\d+: .`), // the scriptlet's own shell: bash, dash
	regexp.MustCompile(`^\S+:\d+(:\d+)?: (fatal |internal compiler )?error[: ]`),
	regexp.MustCompile(`^(\S*/)?[\w.+-]+: (fatal |internal compiler )?error: `), // gcc, cc1, ld.lld, install-info
	regexp.MustCompile(`undefined reference to|: cannot find -l|ld: cannot find |: relocation .* against |` +
		`^collect2: fatal`),
	// cargo, rustc
	regexp.MustCompile(`^error(\[E\d+\]): |` +
		`^error: (no matching package|failed to (parse|load|get|select|download|read|run)|package .* cannot be built|` +
		`unable to|` +
		`cannot find|toolchain)`),
	regexp.MustCompile(`^\S+\.go:\d+(:\d+)?: .|` +
		`^go: .*(cannot|not found|no such|missing|dial |disabled|unknown|invalid|inconsistent|requires go)|^panic: |` +
		`^--- FAIL: `),
	regexp.MustCompile(`^CMake Error|^\S*meson\.build:\d+:\d+: ERROR: |` +
		`^ERROR: (Dependency|Program|Unknown|Could not find|Unhandled|Feature)\b`),
	regexp.MustCompile(`^configure: error: |^\S*(configure|config\.status): (line )?\d+: .*(not found|error|denied)|` +
		`possibly undefined macro`),
	regexp.MustCompile(`^Makefile\S*:\d+: \*\*\* |` +
		`\*\*\* (No rule to make target|No targets|missing separator|target pattern|multiple target|` +
		`recipe commences)|` +
		`[Nn]othing to be done for .*\*\*\*`),
	regexp.MustCompile(`^FAILED \S+(\.py|::)|^ERROR \S+(\.py|::)`), // pytest
	// automake, unittest, TAP, ctest
	regexp.MustCompile(`^FAIL: |^ERROR: \S+ \(|^not ok \d|^\d+[:/].*\*\*\*(Failed|Timeout|Exception|Not Run)|` +
		`^\s*\d+ - \S+ \((Failed|Timeout|SEGFAULT)`),
	// check-rpaths, brp scripts
	regexp.MustCompile(`^ERROR\s+\d{4}: |\*\*\* ERROR: |^error: (Installed|Could not|Missing)`),
	regexp.MustCompile(`^Can't locate \S+ in @INC|^\S+\.(rb|pl|pm|js|t):\d+:.*(rror|not found|denied)|` +
		`^\[ERROR\] |^npm (ERR!|error) `),
	regexp.MustCompile(`: (command )?not found$|: [Bb]ad substitution|: [Ss]yntax error\b|: unbound variable|` +
		`: parameter not set|: bad interpreter`),
	regexp.MustCompile(`^(\S*/)?(error|fatal): (patch failed|patch with|corrupt patch|No valid patches|` +
		`unrecognized input|pathspec|` +
		`not a git|.*patch does not apply|.*does not exist in index|.*does not match index)`),
}

// likely are messages that probably are the reason, if no certain one is there.
var likely = []*regexp.Regexp{
	regexp.MustCompile(`^(\S*/)?[\w.+-]+(\[\d+\])?( \(child\))?: (\S.*: )?` +
		`(cannot |can't |could not |unable to |missing |invalid |unrecognized |unknown |not in gzip|` +
		`.*(No such file or directory|Permission denied|Not a directory|Is a directory|` +
		`File exists|Cannot open|Cannot exec|Operation not permitted|Read-only file system|No space left on device|` +
		`unexpected end of file|not found|unrecognized format))`),
	regexp.MustCompile(`^(error|fatal): `),
	regexp.MustCompile(`(^|[\s:])(fatal )?([Ee]rror|ERROR)(\[\w+\])?: |Segmentation fault|core dumped|` +
		`Assertion .*failed|assertion failed|AssertionError|^Killed|^Aborted|` +
		`No such file or directory|No space left on device|[Tt]imed? ?out`),
	regexp.MustCompile(`^FAIL(ED|URES)?\b|\bFAIL(ED|URE)?\b[:!]?|The following tests FAILED|tests? failed`),
	regexp.MustCompile(`^(g?make|ninja)(\[\d+\])?: (\*\*\*|.*stopped)`),
}

// consequence are lines that look like a reason but are not: warnings, ignored errors, and what follows from an earlier
// error.
var consequence = regexp.MustCompile(`(?i)warning:|\(ignored\)|` +
	`^(\S*/)?(g?make|ninja)(\[\d+\])?: (\*\*\* .*Error \d+|\*\*\* Waiting|\*\*\* Deleting|build stopped)|` +
	`not recoverable|exiting now|Exiting with failure status|` +
	`^error: (could not compile|aborting due|command .* failed|build failed|Bad exit status|test failed)|` +
	`returned non-zero exit|^collect2: error: ld returned|^configure: error: in .?/`)

var (
	exitCommand = regexp.MustCompile(`^exit( \d+)?$`)
	ofMake      = regexp.MustCompile(`^(\S*/)?g?make(\[\d+\])?: \*\*\* `)
	traceback   = regexp.MustCompile(`^Traceback \(most recent call last\):`)
	exception   = regexp.MustCompile(`^[A-Za-z_][\w.]*(: .*)?$`)
	failedHunk  = regexp.MustCompile(`^Hunk #\d+ FAILED|^\d+ out of \d+ hunks? (FAILED|ignored)|` +
		`^can't find file to patch|` +
		`malformed patch at line|^Reversed \(or previously applied\) patch|^patch: \*\*\*`)
	patchedFile = regexp.MustCompile(`^(checking|patching) file `)
	// patchName is written by rpm's %patch. mock may put it behind the plus sign of the command that follows.
	patchName = regexp.MustCompile(`^(?:\+ )?(?:echo '?)?(Patch #\d+ \([^)]*\))`)
	// ofShell are messages of the scriptlet's shell itself.
	ofShell = regexp.MustCompile(`^\S*rpm-tmp\.\w+: (line )?\d+: `)
)

// cause is the reason of a failed scriptlet, as far as its log shows it.
type cause struct {
	at      int    // its line
	until   int    // the line after its last
	message string // of the tool; empty: it has written none
	command string // empty: not known
}

// causeOf looks for the reason in the lines of a scriptlet: first in the output of its last command, then in all.
func causeOf(lines []string) cause {
	var c cause
	last := -1
	for i, l := range lines {
		m := traced.FindStringSubmatch(l)
		switch {
		case m == nil || strings.HasPrefix(l, "++") || m[1] == "":
		case strings.HasPrefix(m[1], "Patch #") && i+1 < len(lines): // split: the command is in the next line
			last, c.command = i+1, lines[i+1]
		default:
			last, c.command = i, strings.TrimPrefix(m[1], "+ ") // two commands of a pipe write at once
		}
	}
	for _, from := range slices.Compact([]int{last + 1, 0}) {
		for _, words := range [][]*regexp.Regexp{certain, likely} {
			at, until, text, ok := find(lines[from:], words)
			if !ok {
				continue
			}
			c.at, c.until, c.message = from+at, from+until, text
			if failedHunk.MatchString(lines[c.at]) {
				c.message = patchMessage(lines, c.at)
			}
			return c
		}
		if i := lastMessage(lines[last+1:]); i >= 0 { // the failed command has written something unknown
			c.at, c.until = last+1+i, last+2+i
			c.message = strings.TrimSpace(lines[c.at])
			return c
		}
	}
	c.at, c.until = max(last, 0), max(last, 0)+1
	if exitCommand.MatchString(c.command) { // the script has written why
		from := max(0, last-2)
		if i := lastMessage(lines[from:last]); i >= 0 {
			c.at, c.message = from+i, strings.TrimSpace(lines[from+i])
		}
	}
	return c
}

// find returns the first line that has one of these messages, with what belongs to it.
func find(lines []string, words []*regexp.Regexp) (at, until int, text string, ok bool) {
	is := func(l string) bool {
		return slices.ContainsFunc(words, func(re *regexp.Regexp) bool { return re.MatchString(l) })
	}
	weak := -1
	for i, l := range lines {
		switch {
		case traced.MatchString(l) || badExit.MatchString(l) || closing.MatchString(l):
		case traceback.MatchString(l):
			if end := slices.IndexFunc(lines[i+1:], exception.MatchString); end >= 0 {
				return i + 1 + end, i + 2 + end, lines[i+1+end], true
			}
			return i, i + 1, l, true
		case failedHunk.MatchString(l):
			return i, i + 1, l, true
		case consequence.MatchString(l):
			if weak < 0 && is(l) && !strings.Contains(strings.ToLower(l), "warning:") &&
				!strings.Contains(l, "(ignored)") {
				weak = i
			}
		case is(l):
			text, until := l, i+1
			if strings.HasPrefix(l, "CMake Error") { // the reason is in the next paragraph
				for until < len(lines) && strings.TrimSpace(lines[until]) == "" {
					until++
				}
				if until < len(lines) && strings.HasPrefix(lines[until], "  ") {
					text += " " + strings.TrimSpace(lines[until])
					until++
				}
			}
			return i, until, strings.TrimSpace(text), true
		}
	}
	if weak < 0 || words[0] != likely[0] {
		return 0, 0, "", false
	}
	if ofMake.MatchString(lines[weak]) { // the reason is in the recipe's output
		if before := lastMessage(lines[:weak]); before >= 0 {
			return before, weak + 1, strings.TrimSpace(lines[before]), true
		}
	}
	return weak, weak + 1, strings.TrimSpace(lines[weak]), true
}

// patchMessage returns the patch and its file.
func patchMessage(lines []string, i int) string {
	file, text := "", lines[i]
	for _, l := range slices.Backward(lines[:i+1]) {
		if file == "" && patchedFile.MatchString(l) {
			file = l + ": "
		}
		if m := patchName.FindStringSubmatch(l); m != nil {
			return m[1] + ": " + file + text
		}
	}
	return file + text
}

// lastMessage returns the last line that says anything, -1 if there is none.
func lastMessage(lines []string) int {
	for i, l := range slices.Backward(lines) {
		if l = strings.TrimSpace(l); l != "" && !badExit.MatchString(l) && !closing.MatchString(l) &&
			!traced.MatchString(l) {
			return i
		}
	}
	return -1
}

// scriptlet explains the failure of a scriptlet that rpmbuild reports in lines[i].
func scriptlet(lines []string, i int, _ string) *rpmflow.Failure {
	name := badExit.FindStringSubmatch(lines[i])[1]
	begin := 0
	for at, l := range slices.Backward(lines[:i]) {
		if m := section.FindStringSubmatch(l); m != nil {
			begin = at + 1
			break
		}
	}
	end := i
	c := causeOf(lines[begin:i])
	// The log has both streams of rpmbuild in no certain order: the report may come before what it is about.
	if after := endOfOutput(lines, i+1); after > i+1 {
		if at, until, words, ok := find(lines[i+1:after], certain); ok && (c.message == "" || !isCertain(c.message)) {
			c.at, c.until, c.message, end = i+1+at-begin, i+1+until-begin, words, after
		}
	}
	if first, _, _ := strings.Cut(c.command, " "); ofShell.MatchString(c.message) &&
		!strings.Contains(c.message, first) {
		c.command = "" // the shell failed at the next command, before it wrote it
	}
	f := &rpmflow.Failure{Kind: rpmflow.FailureBuild, Message: name + " failed",
		Hint: "build.log has what came before it"}
	switch {
	case c.message != "" && c.command != "" && !strings.HasSuffix(c.message, " "+c.command):
		f.Message += ": " + c.message + " (in: " + short(c.command) + ")"
	case c.message != "":
		f.Message += ": " + c.message
	case c.command != "":
		f.Message += " in: " + short(c.command)
	default:
		f.Message = strings.TrimPrefix(strings.TrimSpace(lines[i]), "error: ")
	}
	f.Excerpt = around(lines, begin+c.at, begin+c.until, begin, end, i)
	return f
}

func isCertain(words string) bool {
	return slices.ContainsFunc(certain, func(re *regexp.Regexp) bool { return re.MatchString(words) }) ||
		failedHunk.MatchString(words)
}

// endOfOutput returns where the package's own output ends after rpmbuild's report.
func endOfOutput(lines []string, from int) int {
	i := slices.IndexFunc(lines[from:], func(l string) bool {
		return strings.HasPrefix(l, "Child return code was: ") || strings.HasPrefix(l, "EXCEPTION: ")
	})
	if i < 0 {
		return len(lines)
	}
	return from + i
}

// around returns the lines of a cause with some before and after it, the last lines, and rpmbuild's report once.
func around(lines []string, at, until, begin, end, badExitAt int) []string {
	const before, after, last = 6, 4, 3
	from, to := max(begin, at-before), min(end, until+after)
	excerpt := slices.Clone(lines[from:to])
	if tail := max(to, end-last); tail < end {
		if tail > to {
			excerpt = append(excerpt, "[…]")
		}
		excerpt = append(excerpt, lines[tail:end]...)
	}
	return Unrepeated(append(excerpt, lines[badExitAt]))
}

// Unrepeated drops empty lines, rpmbuild's headings, and lines that are there already, with or without the word error.
func Unrepeated(lines []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(lines, func(l string) bool {
		l = strings.TrimPrefix(strings.TrimSpace(l), "error: ")
		if l == "" || closing.MatchString(l) || seen[l] && len(l) > 8 || badExit.MatchString(l) && seen["bad exit"] {
			return true
		}
		seen[l] = true
		seen["bad exit"] = seen["bad exit"] || badExit.MatchString(l)
		return false
	})
}

// short cuts a command to what fits in a message.
func short(command string) string {
	const longest = 120
	if runes := []rune(command); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return command
}
