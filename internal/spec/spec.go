// Package spec reads and edits the text of a spec: which sources it names, what is missing of them, its version and
// changelog. The text comes in, as the packager wrote it or as rpmspec expands it; out go names, an edited text, or a
// *rpmflow.Failure if the packager must change the spec. Package source, builds and local builds import it; it never
// sees a commit, a disk or a network, and imports leaf packages only.
package spec

import (
	"path"
	"slices"
	"strings"
)

// MaxSize is the largest spec, in bytes, that is read as a whole.
const MaxSize = 4 << 20

// IsSpec reports whether a file has the name of a spec.
func IsSpec(name string) bool {
	name = path.Base(name)
	return strings.HasSuffix(name, ".spec") && name != ".spec"
}

// IsTemplate reports whether a file has the name of a spec's template, NAME.spec.in.
func IsTemplate(name string) bool {
	name = path.Base(name)
	return strings.HasSuffix(name, ".spec.in") && name != ".spec.in"
}

// sections are the words that begin a section of a spec (rpm's build/parseSpec.c).
var sections = []string{"%package", "%prep", "%generate_buildrequires", "%conf", "%build", "%install", "%check",
	"%clean", "%preun", "%postun", "%pretrans", "%posttrans", "%preuntrans", "%postuntrans", "%pre", "%post", "%files",
	"%changelog", "%description", "%triggerpostun", "%triggerprein", "%triggerun", "%triggerin", "%trigger",
	"%verifyscript", "%sepolicy", "%filetriggerin", "%filetrigger", "%filetriggerun", "%filetriggerpostun",
	"%transfiletriggerin", "%transfiletrigger",
	"%transfiletriggerun", "%transfiletriggerpostun", "%sourcelist", "%patchlist", "%end"}

// section is the section that a line begins, in small letters; "" if it begins none.
func section(line string) string {
	word := strings.ToLower(firstWord(line))
	if strings.HasPrefix(word, "%") && slices.Contains(sections, word) {
		return word
	}
	return ""
}

func firstWord(line string) string {
	if i := strings.IndexAny(line, " \t\r\n"); i >= 0 {
		return line[:i]
	}
	return line
}
