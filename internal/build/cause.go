package build

import (
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// A failed scriptlet of a spec (%prep, %build, %check, …): rpmbuild says only that it failed. What it was is said by the tool that failed, in words of its
// own, and by the shell, which writes each command before it runs it.

var (
	verdict = regexp.MustCompile(`(?:error: |^\s*)Bad exit status from \S+ \((%\w+)\)`)
	section = regexp.MustCompile(`^Executing\((%\w+)\): `)
	// traced is a command of the scriptlet itself; one plus sign is the shell's own, more are of what it calls in a subshell.
	traced = regexp.MustCompile(`^\++ (.*)`)
	// closing are the lines with which rpmbuild and mock end a log.
	closing = regexp.MustCompile(`^(RPM build (errors|warnings):|EXCEPTION: |Child return code was: )`)
)

// certain are the words of tools for what is wrong, one line of which is enough; the first is decisive, the others follow from it.
var certain = []*regexp.Regexp{
	regexp.MustCompile(`^\S*rpm-tmp\.\w+: (line )?\d+: .`), // the scriptlet's own shell: bash, dash
	regexp.MustCompile(`^\S+:\d+(:\d+)?: (fatal |internal compiler )?error[: ]`),
	regexp.MustCompile(`^(\S*/)?[\w.+-]+: (fatal |internal compiler )?error: `), // gcc, cc1, ld.lld, install-info
	regexp.MustCompile(`undefined reference to|: cannot find -l|ld: cannot find |: relocation .* against |^collect2: fatal`),
	regexp.MustCompile(`^error(\[E\d+\]): |^error: (no matching package|failed to (parse|load|get|select|download|read|run)|package .* cannot be built|unable to|cannot find|toolchain)`), // cargo, rustc
	regexp.MustCompile(`^\S+\.go:\d+(:\d+)?: .|^go: .*(cannot|not found|no such|missing|dial |disabled|unknown|invalid|inconsistent|requires go)|^panic: |^--- FAIL: `),
	regexp.MustCompile(`^CMake Error|^\S*meson\.build:\d+:\d+: ERROR: |^ERROR: (Dependency|Program|Unknown|Could not find|Unhandled|Feature)\b`),
	regexp.MustCompile(`^configure: error: |^\S*(configure|config\.status): (line )?\d+: .*(not found|error|denied)|possibly undefined macro`),
	regexp.MustCompile(`^Makefile\S*:\d+: \*\*\* |\*\*\* (No rule to make target|No targets|missing separator|target pattern|multiple target|recipe commences)|[Nn]othing to be done for .*\*\*\*`),
	regexp.MustCompile(`^FAILED \S+(\.py|::)|^ERROR \S+(\.py|::)`),                                                                                       // pytest
	regexp.MustCompile(`^FAIL: |^ERROR: \S+ \(|^not ok \d|^\d+[:/].*\*\*\*(Failed|Timeout|Exception|Not Run)|^\s*\d+ - \S+ \((Failed|Timeout|SEGFAULT)`), // automake, unittest, TAP, ctest
	regexp.MustCompile(`^ERROR\s+\d{4}: |\*\*\* ERROR: |^error: (Installed|Could not|Missing)`),                                                          // check-rpaths, brp scripts
	regexp.MustCompile(`^Can't locate \S+ in @INC|^\S+\.(rb|pl|pm|js|t):\d+:.*(rror|not found|denied)|^\[ERROR\] |^npm (ERR!|error) `),
	regexp.MustCompile(`: (command )?not found$|: [Bb]ad substitution|: [Ss]yntax error\b|: unbound variable|: parameter not set|: bad interpreter`),
	regexp.MustCompile(`^(\S*/)?(error|fatal): (patch failed|patch with|corrupt patch|No valid patches|unrecognized input|pathspec|not a git|.*patch does not apply|.*does not exist in index|.*does not match index)`),
}

// likely are what is taken for it where nothing is certain.
var likely = []*regexp.Regexp{
	regexp.MustCompile(`^(\S*/)?[\w.+-]+(\[\d+\])?( \(child\))?: (\S.*: )?(cannot |can't |could not |unable to |missing |invalid |unrecognized |unknown |not in gzip|.*(No such file or directory|Permission denied|Not a directory|Is a directory|` +
		`File exists|Cannot open|Cannot exec|Operation not permitted|Read-only file system|No space left on device|unexpected end of file|not found|unrecognized format))`),
	regexp.MustCompile(`^(error|fatal): `),
	regexp.MustCompile(`(^|[\s:])(fatal )?([Ee]rror|ERROR)(\[\w+\])?: |Segmentation fault|core dumped|Assertion .*failed|assertion failed|AssertionError|^Killed|^Aborted|No such file or directory|No space left on device|[Tt]imed? ?out`),
	regexp.MustCompile(`^FAIL(ED|URES)?\b|\bFAIL(ED|URE)?\b[:!]?|The following tests FAILED|tests? failed`),
	regexp.MustCompile(`^(g?make|ninja)(\[\d+\])?: (\*\*\*|.*stopped)`),
}

// beside are lines that look like a cause and are none: warnings, what was ignored, and what follows from a cause that stands above.
var beside = regexp.MustCompile(`(?i)warning:|\(ignored\)|^(\S*/)?(g?make|ninja)(\[\d+\])?: (\*\*\* .*Error \d+|\*\*\* Waiting|\*\*\* Deleting|build stopped)|not recoverable|exiting now|Exiting with failure status|` +
	`^error: (could not compile|aborting due|command .* failed|build failed|Bad exit status|test failed)|returned non-zero exit|^collect2: error: ld returned|^configure: error: in .?/`)

var (
	gaveUp    = regexp.MustCompile(`^exit( \d+)?$`)
	byMake    = regexp.MustCompile(`^(\S*/)?g?make(\[\d+\])?: \*\*\* `)
	traceback = regexp.MustCompile(`^Traceback \(most recent call last\):`)
	raised    = regexp.MustCompile(`^[A-Za-z_][\w.]*(: .*)?$`)
	hunks     = regexp.MustCompile(`^Hunk #\d+ FAILED|^\d+ out of \d+ hunks? (FAILED|ignored)|^can't find file to patch|malformed patch at line|^Reversed \(or previously applied\) patch|^patch: \*\*\*`)
	patching  = regexp.MustCompile(`^(checking|patching) file `)
	// whichOne is written by rpm's %patch; mock may put it behind the plus sign of the command that follows.
	whichOne = regexp.MustCompile(`^(?:\+ )?(?:echo '?)?(Patch #\d+ \([^)]*\))`)
	// ofShell are words of the scriptlet's shell itself.
	ofShell = regexp.MustCompile(`^\S*rpm-tmp\.\w+: (line )?\d+: `)
)

// cause is what a failed scriptlet's log says of its reason.
type cause struct {
	at      int    // its line
	until   int    // the line behind its last
	words   string // of the tool; empty: it has said nothing
	command string // empty: not known
}

// causeOf looks for the reason in the lines of a scriptlet: first in what its last command has said, then in all.
func causeOf(lines []string) cause {
	var c cause
	last := -1
	for i, l := range lines {
		m := traced.FindStringSubmatch(l)
		switch {
		case m == nil || strings.HasPrefix(l, "++") || m[1] == "":
		case strings.HasPrefix(m[1], "Patch #") && i+1 < len(lines): // torn: the command is in the next line
			last, c.command = i+1, lines[i+1]
		default:
			last, c.command = i, strings.TrimPrefix(m[1], "+ ") // two commands of a pipe write at once
		}
	}
	for _, from := range slices.Compact([]int{last + 1, 0}) {
		for _, words := range [][]*regexp.Regexp{certain, likely} {
			at, until, text, ok := said(lines[from:], words)
			if !ok {
				continue
			}
			c.at, c.until, c.words = from+at, from+until, text
			if hunks.MatchString(lines[c.at]) {
				c.words = patchWords(lines, c.at)
			}
			return c
		}
		if i := lastWord(lines[last+1:]); i >= 0 { // the command that failed has said something, in nobody's known words
			c.at, c.until = last+1+i, last+2+i
			c.words = strings.TrimSpace(lines[c.at])
			return c
		}
	}
	c.at, c.until = max(last, 0), max(last, 0)+1
	if gaveUp.MatchString(c.command) { // the script has said why
		from := max(0, last-2)
		if i := lastWord(lines[from:last]); i >= 0 {
			c.at, c.words = from+i, strings.TrimSpace(lines[from+i])
		}
	}
	return c
}

// said gives the first line that is one of these words, with what belongs to it.
func said(lines []string, words []*regexp.Regexp) (at, until int, text string, ok bool) {
	is := func(l string) bool {
		return slices.ContainsFunc(words, func(re *regexp.Regexp) bool { return re.MatchString(l) })
	}
	weak := -1
	for i, l := range lines {
		switch { // the first that fits
		case traced.MatchString(l) || verdict.MatchString(l) || closing.MatchString(l):
		case traceback.MatchString(l):
			if end := slices.IndexFunc(lines[i+1:], raised.MatchString); end >= 0 {
				return i + 1 + end, i + 2 + end, lines[i+1+end], true
			}
			return i, i + 1, l, true
		case hunks.MatchString(l):
			return i, i + 1, l, true
		case beside.MatchString(l):
			if weak < 0 && is(l) && !strings.Contains(strings.ToLower(l), "warning:") && !strings.Contains(l, "(ignored)") {
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
	if byMake.MatchString(lines[weak]) { // the reason is what the recipe has said
		if before := lastWord(lines[:weak]); before >= 0 {
			return before, weak + 1, strings.TrimSpace(lines[before]), true
		}
	}
	return weak, weak + 1, strings.TrimSpace(lines[weak]), true
}

// patchWords say which file of which patch it is.
func patchWords(lines []string, i int) string {
	text := lines[i]
	for at := i; at >= 0; at-- {
		if patching.MatchString(lines[at]) {
			text = lines[at] + ": " + text
			break
		}
	}
	for at := i; at >= 0; at-- {
		if m := whichOne.FindStringSubmatch(lines[at]); m != nil {
			return m[1] + ": " + text
		}
	}
	return text
}

// lastWord gives the last line that is something.
func lastWord(lines []string) int {
	for i, l := range slices.Backward(lines) {
		if l = strings.TrimSpace(l); l != "" && !verdict.MatchString(l) && !closing.MatchString(l) && !traced.MatchString(l) {
			return i
		}
	}
	return -1
}

// scriptlet gives the failure of a scriptlet of which lines[i] is rpmbuild's verdict.
func scriptlet(lines []string, i int) *rpmflow.Failure {
	name := verdict.FindStringSubmatch(lines[i])[1]
	begin := 0
	for at, l := range slices.Backward(lines[:i]) {
		if m := section.FindStringSubmatch(l); m != nil {
			begin = at + 1
			break
		}
	}
	end := i
	c := causeOf(lines[begin:i])
	// Both streams of rpmbuild come to the log in no certain order: the verdict may be in it before what it is about.
	if after := untilClosed(lines, i+1); after > i+1 {
		if at, until, words, ok := said(lines[i+1:after], certain); ok && (c.words == "" || !isCertain(c.words)) {
			c.at, c.until, c.words, end = i+1+at-begin, i+1+until-begin, words, after
		}
	}
	if first, _, _ := strings.Cut(c.command, " "); ofShell.MatchString(c.words) && !strings.Contains(c.words, first) {
		c.command = "" // the shell could not read the next one, which it has therefore not written
	}
	f := &rpmflow.Failure{Kind: rpmflow.FailureBuild, Message: name + " failed", Hint: "build.log has what came before it"}
	switch {
	case c.words != "" && c.command != "" && !strings.HasSuffix(c.words, " "+c.command):
		f.Message += ": " + c.words + " (in: " + short(c.command) + ")"
	case c.words != "":
		f.Message += ": " + c.words
	case c.command != "":
		f.Message += " in: " + short(c.command)
	default:
		f.Message = strings.TrimPrefix(strings.TrimSpace(lines[i]), "error: ")
	}
	f.Excerpt = around(lines, begin+c.at, begin+c.until, begin, end, i)
	return f
}

func isCertain(words string) bool {
	return slices.ContainsFunc(certain, func(re *regexp.Regexp) bool { return re.MatchString(words) }) || hunks.MatchString(words)
}

// untilClosed gives where the package's own output ends behind the verdict.
func untilClosed(lines []string, from int) int {
	for i := from; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], "Child return code was: ") || strings.HasPrefix(lines[i], "EXCEPTION: ") {
			return i
		}
	}
	return len(lines)
}

// around gives the lines of a cause with some before and behind it, what stands at the end, and the verdict once.
func around(lines []string, at, until, begin, end, verdictAt int) []string {
	const before, behind, last = 6, 4, 3
	from, to := max(begin, at-before), min(end, until+behind)
	excerpt := slices.Clone(lines[from:to])
	if tail := max(to, end-last); tail < end {
		if tail > to {
			excerpt = append(excerpt, "[…]")
		}
		excerpt = append(excerpt, lines[tail:end]...)
	}
	return unrepeated(append(excerpt, lines[verdictAt]))
}

// unrepeated drops empty lines, rpmbuild's headings, and lines that are there already, with or without the word error.
func unrepeated(lines []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(lines, func(l string) bool {
		l = strings.TrimPrefix(strings.TrimSpace(l), "error: ")
		if l == "" || closing.MatchString(l) || seen[l] && len(l) > 8 || verdict.MatchString(l) && seen["verdict"] {
			return true
		}
		seen[l] = true
		seen["verdict"] = seen["verdict"] || verdict.MatchString(l)
		return false
	})
}

// short cuts a command to what a message can carry.
func short(command string) string {
	const longest = 120
	if runes := []rune(command); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return command
}
