package spec

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// autoMacro is a macro of rpmautospec.
var autoMacro = regexp.MustCompile(`%\{?[!?]*(autorelease|autochangelog)\b`)

// Automatic lists the macros of rpmautospec to which a spec, as the packager wrote it, leaves Release or changelog;
// those in comments do not count.
func Automatic(spec string) (macros []string) {
	for line := range strings.Lines(spec) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, m := range autoMacro.FindAllStringSubmatch(line, -1) {
			if name := "%" + m[1]; !slices.Contains(macros, name) {
				macros = append(macros, name)
			}
		}
	}
	return macros
}

// CheckAutomatic reports whether the target has these macros of rpmautospec. In come the expanded spec and the error of
// expanding it; out comes a remark for the packager, or an error.
func CheckAutomatic(macros []string, expanded []byte, err error) (remark string, _ error) {
	if len(macros) == 0 {
		return "", err
	}
	names := strings.Join(macros, " and ")
	var f *rpmflow.Failure
	unknown := autoMacro.Match(expanded)
	if errors.As(err, &f) {
		said := err.Error() + strings.Join(f.Excerpt, "\n")
		unknown = unknown || slices.ContainsFunc([]string{"autorelease", "autochangelog", "%changelog"},
			func(word string) bool { return strings.Contains(said, word) })
	}
	if unknown {
		return "", &rpmflow.Failure{Kind: rpmflow.FailureSpec, Err: err,
			Message: "the spec uses " + names +
				", which are not defined in the target's root: rpmautospec is not installed there",
			Hint: "set version: from-git of the project, which counts commits and writes the changelog itself, " +
				"write Release and %changelog out, or have rpmautospec's macros in the target's root"}
	}
	if err != nil {
		return "", err
	}
	return names + " are what the target's macros make of them without history: the same Release for every commit; " +
		"version: from-git counts commits", nil
}
