// Package nearest finds, among known names, the one that a misspelled name probably means.
//
// A name and those that are known come in; one of them goes out. Every package may import it.
package nearest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow/internal/printable"
)

// Name is the known name with the smallest edit distance to what was written; the first of equals.
func Name(written string, known []string) string {
	best, least := "", -1
	for _, k := range known {
		// A key in the wrong section is near, too: "poll" is meant to be "builder.poll".
		d := min(Distance(written, k), Distance(leaf(written), leaf(k))+1)
		if least < 0 || d < least {
			best, least = k, d
		}
	}
	return best
}

func leaf(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// Distance counts the insertions, deletions, replacements and swaps of neighbours between two names, in
// upper or lower case.
func Distance(from, to string) int {
	a, b := []rune(strings.ToLower(from)), []rune(strings.ToLower(to))
	const longest = 200 // no name of ours comes near; keeps a senseless key from costing memory
	a, b = a[:min(len(a), longest)], b[:min(len(b), longest)]
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range b {
		d[0][j+1] = j + 1
	}
	for i := range a {
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			d[i+1][j+1] = min(d[i][j+1]+1, d[i+1][j]+1, d[i][j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d[i+1][j+1] = min(d[i+1][j+1], d[i-1][j-1]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

// Unknown says that a name is not known, which one may be meant, and which ones there are. The hint ends with what else
// one can do.
func Unknown(what, written string, known []string, more ...string) (message, hint string) {
	message, hint = fmt.Sprintf("%s %q is not known", what, written), knownAre(written, known)
	return message, strings.Join(append([]string{hint}, more...), "; ")
}

func knownAre(written string, known []string) (hint string) {
	if len(known) == 0 {
		return "there is none yet"
	}
	const most = 40 // of a long list the rest is left out
	sorted := slices.Sorted(slices.Values(known))
	hint = "known are: " + printable.List(sorted, most)
	if best := Name(written, sorted); 2*Distance(written, best) <= len(best) {
		hint = fmt.Sprintf("did you mean %s? %s", best, hint)
	}
	return hint
}
