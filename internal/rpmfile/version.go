package rpmfile

import (
	"cmp"
	"strings"
)

// Compare orders packages of one name by epoch, version and release, as rpm does: negative if n is older than m.
func (n NEVRA) Compare(m NEVRA) int {
	return cmp.Or(cmp.Compare(n.Epoch, m.Epoch), Vercmp(n.Version, m.Version), Vercmp(n.Release, m.Release))
}

// Vercmp orders versions, or releases, as rpm's rpmvercmp does. The library's function ignores "^".
func Vercmp(a, b string) int {
	separator := func(r rune) bool { return !digit(r) && !letter(r) && r != '~' && r != '^' }
	for a != "" || b != "" {
		a, b = strings.TrimLeftFunc(a, separator), strings.TrimLeftFunc(b, separator)
		if a != "" && b != "" && a[0] == b[0] && (a[0] == '~' || a[0] == '^') {
			a, b = a[1:], b[1:]
			continue
		}
		if c := cmp.Compare(rank(a), rank(b)); c != 0 {
			return c
		}
		if a == "" {
			return 0
		}
		is := letter
		if digit(rune(a[0])) {
			is = digit
		}
		x, y := a[:length(a, is)], b[:length(b, is)]
		a, b = a[len(x):], b[len(y):]
		if digit(rune(x[0])) {
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Compare(len(x), len(y)); c != 0 {
				return c
			}
		}
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// rank orders what two versions go on with: "~" is older than the end, "^" newer than the end and older than all else.
func rank(s string) int {
	switch {
	case s == "":
		return 1
	case s[0] == '~':
		return 0
	case s[0] == '^':
		return 2
	case letter(rune(s[0])):
		return 3
	}
	return 4
}

func digit(r rune) bool  { return '0' <= r && r <= '9' }
func letter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// length is how many of the first bytes are of one class.
func length(s string, is func(rune) bool) int {
	if n := strings.IndexFunc(s, func(r rune) bool { return !is(r) }); n >= 0 {
		return n
	}
	return len(s)
}
