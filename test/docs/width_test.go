package docs_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxWidth is the longest line of prose in a document.
const maxWidth = 100

// unbreakable is a word that no editor can wrap: a link or code without a place to break.
var unbreakable = regexp.MustCompile("`[^`]*`|\\[[^]]*\\]\\([^)]*\\)")

// TestWidth finds lines of prose that are longer than a screen is wide. Tables, headings, comments, links and code are
// exempt.
func TestWidth(t *testing.T) {
	for _, file := range documents(t) {
		for i, line := range strings.Split(prose(read(t, file)), "\n") {
			if utf8.RuneCountInString(line) <= maxWidth || strings.HasPrefix(line, "|") ||
				strings.HasPrefix(line, "#") ||
				strings.HasPrefix(line, "<!--") {
				continue
			}
			// A line that is long only because of the one link or code that it ends with cannot be wrapped.
			if rest := strings.TrimLeft(line, " -*"); len(unbreakable.ReplaceAllString(rest, "")) <= 1 {
				continue
			}
			t.Errorf("%s:%d: %d columns of prose, wrap at %d", file, i+1, utf8.RuneCountInString(line), maxWidth)
		}
	}
}

// prose is a document with its fenced blocks emptied.
func prose(text string) string {
	lines := strings.Split(text, "\n")
	code := false
	for i, line := range lines {
		fence := strings.HasPrefix(line, "```")
		if code || fence {
			lines[i] = ""
		}
		if fence {
			code = !code
		}
	}
	return strings.Join(lines, "\n")
}
