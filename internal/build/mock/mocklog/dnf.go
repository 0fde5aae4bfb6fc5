package mocklog

import (
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/rpmlog"
)

// unreachable are dnf's messages about a repository that does not answer, and the kernel's about a machine that is
// full.
var unreachable = regexp.MustCompile(`Could not resolve host|No more mirrors|Cannot download|` +
	`Failed to download metadata|Curl error|` +
	`Connection (refused|timed out|reset)|Operation too slow|Timeout was reached|Status code: 5\d\d|` +
	`All mirrors were tried|` + rpmlog.NoRoom)

// Unreachable reports whether dnf's last lines say that it did not reach the repositories.
func Unreachable(output []string) bool { return slices.ContainsFunc(output, unreachable.MatchString) }

// missing are the messages of dnf 4, dnf 5 and rpmbuild about a package that is not there.
var missing = regexp.MustCompile(`No matching package to install: .*|nothing provides .*|No match for argument: .*|` +
	`Unable to find a match: .*|No package \S.* available|` +
	`package \S+ requires .*, but none of the providers can be installed|` + rpmlog.NeededBy.String())

// conflicts are libsolv's problems.
var conflicts = regexp.MustCompile(`conflicting requests|conflicts with|` + rpmlog.FailedDependencies.String())

// lacks are the messages of dnf 4, dnf 5, libsolv and rpmbuild about one thing that is missing. The first group is
// what.
var lacks = []*regexp.Regexp{
	regexp.MustCompile(`No matching package to install: '?(.+?)'?$`),
	regexp.MustCompile(`No match for argument: (.+)$`),
	regexp.MustCompile(`No package (.+) available\.?$`),
	regexp.MustCompile(`nothing provides (?:requested )?(\S.* needed by \S+|.+)`),
	regexp.MustCompile(`package \S+ requires (.+), but none of the providers can be installed`),
	rpmlog.NeededBy,
}

var (
	unmatched = regexp.MustCompile(`Unable to find a match: (.+)$`) // several, with spaces between them
	problem   = regexp.MustCompile(`^\s*Problem( \d+)?: |^\s+- |conflicting requests|conflicts with|` +
		`Failed build dependencies|` +
		`Failed to resolve the transaction|^Error: `)
	loggedBy = regexp.MustCompile(`^(DEBUG|INFO|WARNING|ERROR) \S+\.py:\d+: +`) // mock's root.log
	progress = regexp.MustCompile(`\d%.*\||\|.*\d ?([kMGT]i?)?B|\d ?([kMGT]i?)?B/s|\(\d+/\d+\): |^\[ *\d+/\d+\]|` +
		`^[-=#. ]{5,}$|[=#]{10,}|` +
		`^(Updating and loading repositories|Repositories loaded|Last metadata expiration check)`)
	// afterProblems is what dnf 5 suggests.
	afterProblems = regexp.MustCompile(`^(You can try to add to command line:|\(try to add |  ?--(skip-|allowerasing|` +
		`nobest))`)
)

// dnfMessages returns what root.log says about missing packages. The output has only the end of it.
func dnfMessages(e Ended) []string {
	lines, err := rpmlog.Tail(e.RootLog)
	if err != nil { // the output has the reason, too
		return nil
	}
	for i, l := range lines {
		lines[i] = loggedBy.ReplaceAllString(l, "")
	}
	return slices.DeleteFunc(lines, func(l string) bool { return !missing.MatchString(l) })
}

// lacking returns what is missing, in the tools' order and words.
func lacking(lines []string) []string {
	var all []string
	add := func(what string) {
		if what = strings.TrimSpace(what); what != "" && !slices.Contains(all, what) {
			all = append(all, what)
		}
	}
	for _, l := range lines {
		l = loggedBy.ReplaceAllString(l, "")
		if m := unmatched.FindStringSubmatch(l); m != nil {
			for _, what := range strings.Fields(m[1]) {
				add(what)
			}
			continue
		}
		for _, re := range lacks {
			if m := re.FindStringSubmatch(l); m != nil {
				add(m[1])
				break
			}
		}
	}
	return all
}

// unmet reports all BuildRequires that cannot be had. lines[i] is the first line that says so; more comes from
// root.log.
func unmet(lines []string, i int, hint string, more []string) *rpmflow.Failure {
	lines = slices.Concat(more, lines)
	first := lines[i+len(more)]
	if m := missing.FindString(first); m != "" {
		first = m
	}
	var excerpt []string
	for _, l := range lines {
		l = strings.TrimRight(loggedBy.ReplaceAllString(l, ""), " ")
		if missing.MatchString(l) || problem.MatchString(l) && !progress.MatchString(l) {
			excerpt = append(excerpt, l)
		}
	}
	return rpmlog.Unmet(strings.TrimSpace(first), lacking(lines), excerpt, hint)
}
