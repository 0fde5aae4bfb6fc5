package storage

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxKey     = 1024 // S3's limit, in bytes
	maxSegment = 255  // the file systems' limit, for the embedded S3
)

// CheckKey checks that an object may have this key: relative, in segments that are not empty, "." or "..".
func CheckKey(key string) error {
	bad := func(why string) error { return fmt.Errorf("%w %q: %s", ErrKey, key, why) }
	switch {
	case key == "":
		return bad("it is empty")
	case len(key) > maxKey:
		return bad(fmt.Sprintf("longer than %d bytes", maxKey))
	case !utf8.ValidString(key):
		return bad("not UTF-8")
	case strings.ContainsFunc(key, func(r rune) bool { return unicode.IsControl(r) || r == '\\' }):
		return bad("control characters and backslashes are not allowed")
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case segment == "":
			return bad("an empty segment, or a slash at its beginning or end")
		case segment == "." || segment == "..":
			return bad("it has a segment " + segment)
		case len(segment) > maxSegment:
			return bad(fmt.Sprintf("a segment longer than %d bytes", maxSegment))
		}
	}
	return nil
}
