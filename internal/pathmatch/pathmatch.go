// Package pathmatch has the language of patterns that projects are configured with: for branches, tags, targets and
// paths.
//
// Patterns and names come in; whether they match, and what is wrong with a pattern, goes out. docs/packaging.md,
// "Patterns", has the language, which is that of doublestar with ! before exceptions. It imports nothing of ours, and
// every package may import it.
package pathmatch

import (
	"fmt"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Match reports whether a pattern matches a name: of a branch or a tag without refs/heads/ or refs/tags/, of a target,
// or a path from the top of the repository.
func Match(pattern, name string) bool {
	if strings.HasSuffix(pattern, "/") {
		pattern += "**"
	}
	ok, err := doublestar.Match(withoutSlash(pattern), name)
	return err == nil && ok
}

// withoutSlash keeps [^…] from taking a slash, as * and ? do: doublestar lets it.
func withoutSlash(pattern string) string {
	if !strings.Contains(pattern, "[^") && !strings.Contains(pattern, "[!") {
		return pattern
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		b.WriteByte(pattern[i])
		switch rest := pattern[i+1:]; {
		case pattern[i] == '\\' && rest != "":
			i++
			b.WriteByte(pattern[i])
		case pattern[i] == '[' && rest != "" && (rest[0] == '^' || rest[0] == '!'):
			i++
			b.WriteString(pattern[i:i+1] + "/")
		}
	}
	return b.String()
}

// MatchList reports whether a list of patterns matches a name. A pattern that begins with ! is an exception to those
// before it.
func MatchList(patterns []string, name string) bool {
	matched := false
	for _, p := range patterns {
		rest, not := strings.CutPrefix(p, "!")
		if matched == not && Match(rest, name) {
			matched = !not
		}
	}
	return matched
}

// Check returns what is wrong with a pattern; such is an example of a good one, for the message.
func Check(pattern, such string) error {
	p := strings.TrimPrefix(pattern, "!")
	wrong := ""
	switch {
	case p == "":
		wrong = "is empty"
	case strings.HasPrefix(p, "!"):
		wrong = "has more than one ! before it"
	case strings.HasPrefix(p, "/"):
		wrong = "begins with a slash"
	case !doublestar.ValidatePattern(p):
		wrong = `has a [, a { or a \ that is not closed`
	default:
		wrong = wrongPart(p)
	}
	if wrong != "" {
		return fmt.Errorf("%.120q is not a pattern: it %s; write one such as %s", pattern, wrong, such)
	}
	return nil
}

func wrongPart(p string) string {
	for part := range strings.SplitSeq(strings.TrimSuffix(p, "/"), "/") {
		switch {
		case part == "":
			return "has two slashes in a row"
		case part == "." || part == "..":
			return "has . or .. between slashes, which no name has"
		case strings.Contains(part, "**") && part != "**":
			return "has ** next to other characters: it must stand alone between slashes, as in src/**/*.c"
		}
	}
	return ""
}

// CheckPath returns what is wrong with a pattern of paths.
func CheckPath(pattern string) error {
	return Check(pattern, "src/**, docs/*.md or !**/README, from the repository's top on")
}
