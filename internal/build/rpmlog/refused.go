package rpmlog

import (
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// refusal is what rpm says about a spec that excludes the target (build/parsePreamble.c). It parses the spec before it
// runs any of it.
var refusal = regexp.MustCompile(`^(?:error: )?(Architecture|OS) is (not included|excluded): \S+$`)

// ranScript begins the output of a part of the spec.
var ranScript = regexp.MustCompile(`^Executing\(%\w+\): `)

// Refused returns the tag (ExclusiveArch, ExcludeArch, ExclusiveOS, ExcludeOS) by which rpm refused to build for the
// target; empty: it did not.
func Refused(f *rpmflow.Failure) (tag string) {
	if slices.ContainsFunc(f.Excerpt, ranScript.MatchString) {
		return ""
	}
	for _, line := range append([]string{f.Message}, f.Excerpt...) {
		if m := refusal.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			return map[string]string{"excluded": "Exclude", "not included": "Exclusive"}[m[2]] +
				map[string]string{"OS": "OS", "Architecture": "Arch"}[m[1]]
		}
	}
	return ""
}
