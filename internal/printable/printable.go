// Package printable makes foreign text fit for messages: names in a commit, on a disk or in a spec may hold any bytes.
// In comes a name, out comes the name itself or, if it has characters that cannot be printed, the name quoted; of a
// long list of names comes the beginning.
// Every package may import it; it imports nothing of ours.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Name returns a name as it is or, if it has characters that cannot be printed, quoted as in Go.
func Name(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return strconv.Quote(name)
	}
	return name
}

// List joins names for a sentence, and counts those that are more than most.
func List(names []string, most int) string {
	if n := len(names) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n)
	}
	return strings.Join(names, ", ")
}
