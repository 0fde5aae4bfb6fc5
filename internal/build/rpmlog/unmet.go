package rpmlog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

var (
	// NeededBy is how rpmbuild reports one missing BuildRequires; the group is what is missing, and for what.
	NeededBy = regexp.MustCompile(`^\s*(\S.* is needed by \S+)`)
	// FailedDependencies is rpmbuild's heading of such a list.
	FailedDependencies = regexp.MustCompile(`Failed build dependencies:?.*`)
)

// UnmetHint is what to do when BuildRequires are missing.
const UnmetHint = "check the BuildRequires, and whether the target's repositories have the package"

// unmet reports all BuildRequires that rpmbuild misses.
func unmet(lines []string, i int, hint string) *rpmflow.Failure {
	var all, excerpt []string
	for _, l := range lines {
		m := NeededBy.FindStringSubmatch(l)
		if m != nil && !slices.Contains(all, m[1]) {
			all = append(all, m[1])
		}
		if m != nil || FailedDependencies.MatchString(l) {
			excerpt = append(excerpt, strings.TrimRight(l, " "))
		}
	}
	first := lines[i]
	if m := NeededBy.FindString(first); m != "" {
		first = m
	}
	return Unmet(strings.TrimSpace(first), all, excerpt, hint)
}

// Unmet is the failure for BuildRequires that cannot be had: the first message, or all that is missing if that is more
// than one.
func Unmet(first string, all, excerpt []string, hint string) *rpmflow.Failure {
	f := &rpmflow.Failure{Kind: rpmflow.FailureDependencies, Message: first, Hint: hint}
	if len(all) > 1 {
		const most = 100
		text := strings.Join(all[:min(len(all), most)], ", ")
		if len(all) > most {
			text += fmt.Sprintf(" and %d more", len(all)-most)
		}
		f.Message = fmt.Sprintf("%d packages or capabilities are missing: %s", len(all), text)
	}
	const most = 40
	f.Excerpt = Unrepeated(excerpt)
	f.Excerpt = f.Excerpt[:min(len(f.Excerpt), most)]
	return f
}
