package rpmflow

import (
	"fmt"
	"path"
	"strings"
)

// MatchPath says whether a path in a repository matches a pattern: path.Match in each of its parts, and ** stands for any number
// of them. A pattern that ends in a slash matches everything below that directory.
func MatchPath(pattern, name string) bool {
	if strings.HasSuffix(pattern, "/") {
		pattern += "**"
	}
	return matchParts(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func matchParts(pattern, name []string) bool {
	// The ** seen last, and the part of the name that it ends before: it takes one part more where the rest does not match. That is all
	// the going back that is needed, so that no pattern takes long.
	star, at, i := -1, 0, 0
	for n := 0; n < len(name); {
		switch {
		case i < len(pattern) && pattern[i] == "**":
			star, at = i, n
			i++
			continue
		case i < len(pattern):
			if ok, err := path.Match(pattern[i], name[n]); err == nil && ok {
				i++
				n++
				continue
			}
		}
		if star < 0 {
			return false
		}
		at++
		n, i = at, star+1
	}
	for i < len(pattern) && pattern[i] == "**" {
		i++
	}
	return i == len(pattern)
}

// MatchPaths says whether a list of patterns takes a path. One that begins with ! takes away what those before it have taken.
func MatchPaths(patterns []string, name string) bool {
	taken := false
	for _, p := range patterns {
		rest, not := strings.CutPrefix(p, "!")
		if taken == not && MatchPath(rest, name) {
			taken = !not
		}
	}
	return taken
}

// CheckPathPattern says whether MatchPaths can do something with a pattern.
func CheckPathPattern(pattern string) error {
	p := strings.TrimPrefix(pattern, "!")
	bad := p == "" || strings.HasPrefix(p, "/")
	for part := range strings.SplitSeq(strings.TrimSuffix(p, "/"), "/") {
		_, err := path.Match(part, "")
		bad = bad || err != nil || part == "" || part == "." || part == ".." || (strings.Contains(part, "**") && part != "**")
	}
	if bad {
		return fmt.Errorf("%.120q is not a pattern of paths: write it from the top of the repository on, such as src/**, docs/*.md or !**/README", pattern)
	}
	return nil
}
