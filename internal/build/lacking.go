package build

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// lacks are the words of dnf 4, dnf 5, libsolv and rpmbuild for something that is not to be had. The first group is what.
var lacks = []*regexp.Regexp{
	regexp.MustCompile(`No matching package to install: '?(.+?)'?$`),
	regexp.MustCompile(`No match for argument: (.+)$`),
	regexp.MustCompile(`No package (.+) available\.?$`),
	regexp.MustCompile(`nothing provides (?:requested )?(\S.* needed by \S+|.+)`),
	regexp.MustCompile(`package \S+ requires (.+), but none of the providers can be installed`),
	regexp.MustCompile(`^\s*(\S.* is needed by \S+)`),
}

var (
	unmatched  = regexp.MustCompile(`Unable to find a match: (.+)$`) // several, with spaces between them
	problem    = regexp.MustCompile(`^\s*Problem( \d+)?: |^\s+- |conflicting requests|conflicts with|Failed build dependencies|Failed to resolve the transaction|^Error: `)
	loggedBy   = regexp.MustCompile(`^(DEBUG|INFO|WARNING|ERROR) \S+\.py:\d+: +`) // mock's root.log
	progress   = regexp.MustCompile(`\d%.*\||\|.*\d ?([kMGT]i?)?B|\d ?([kMGT]i?)?B/s|\(\d+/\d+\): |^\[ *\d+/\d+\]|^[-=#. ]{5,}$|[=#]{10,}|^(Updating and loading repositories|Repositories loaded|Last metadata expiration check)`)
	mockNoise  = regexp.MustCompile(`logging\.ini|^(INFO|Start|Finish|State Changed)\b|^\s*$|^Executing command: \[|^Mock Version: |^Building (target platforms|for target)`)
	afterDebug = regexp.MustCompile(`^(You can try to add to command line:|\(try to add |  ?--(skip-|allowerasing|nobest))`)
)

// lacking gives what is missing, in the tools' order and words.
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

// unmet gives the failure for BuildRequires that are not to be had: all of them. lines[i] is the first that says so; more is what else was written
// of it.
func unmet(lines []string, i int, hint string, more []string) *rpmflow.Failure {
	lines = slices.Concat(more, lines)
	i += len(more)
	f := &rpmflow.Failure{Kind: rpmflow.FailureDependencies, Message: strings.TrimSpace(lines[i]), Hint: hint}
	if all := lacking(lines); len(all) > 1 {
		const most = 100
		text := strings.Join(all[:min(len(all), most)], ", ")
		if len(all) > most {
			text += fmt.Sprintf(" and %d more", len(all)-most)
		}
		f.Message = fmt.Sprintf("%d packages or capabilities are missing: %s", len(all), text)
	} else if m := missing.FindString(lines[i]); m != "" {
		f.Message = strings.TrimSpace(m)
	}
	for _, l := range lines {
		l = strings.TrimRight(loggedBy.ReplaceAllString(l, ""), " ")
		if missing.MatchString(l) || problem.MatchString(l) && !progress.MatchString(l) {
			f.Excerpt = append(f.Excerpt, l)
		}
	}
	const most = 40
	f.Excerpt = unrepeated(f.Excerpt)
	f.Excerpt = f.Excerpt[:min(len(f.Excerpt), most)]
	return f
}

// withoutRemarks drops what says nothing of a failure: progress bars, and mock's own remarks.
func withoutRemarks(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		return progress.MatchString(l) || mockNoise.MatchString(l) || afterDebug.MatchString(l)
	})
}
