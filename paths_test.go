package rpmflow_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
)

func TestMatchPaths(t *testing.T) {
	for _, tt := range []struct {
		patterns string // separated by blanks
		yes, no  string
	}{
		{"a/**", "a/x a/b/c a", "ab/x b/a/x"},
		{"a/", "a/x a/b/c", "b ab/x"},
		{"**", "x a/x .hidden", ""},
		{"*.spec", "a.spec .spec", "d/a.spec a.spec.in"},
		{"**/*.spec", "a.spec d/a.spec d/e/a.spec", "a.spec/x"},
		{"a/**/z", "a/z a/b/z a/b/c/z a/z/z", "a/b z a/z/y"},
		{"a/**/b/**/c", "a/b/c a/x/b/y/c a/b/b/c/c", "a/c a/b/x"},
		{"src/*/x?.[ch]", "src/a/x1.c src/b/xy.h", "src/x1.c src/a/b/x1.c src/a/x.c"},
		{"** !docs/** docs/index", "a docs/index", "docs/a docs/b/c"},
		{"a/** b/** !**/README", "a/x b/x", "a/README b/c/README c/x"},
		{"caf?/x", "caf\xe9/x café/x", "caf/x"},
		{"a[", "", "a[ a"},
	} {
		patterns := strings.Fields(tt.patterns)
		for _, name := range strings.Fields(tt.yes) {
			if !rpmflow.MatchPaths(patterns, name) {
				t.Errorf("%v does not take %q", patterns, name)
			}
		}
		for _, name := range strings.Fields(tt.no) {
			if rpmflow.MatchPaths(patterns, name) {
				t.Errorf("%v takes %q", patterns, name)
			}
		}
	}
}

func TestCheckPathPattern(t *testing.T) {
	for _, good := range []string{"a", "a/", "a/**", "**/x", "!a/**", "a b/é.[ch]"} {
		if err := rpmflow.CheckPathPattern(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "!", "/a", "a//b", "./a", "a/../b", "..", "a**", "a/**b", "[", "!/a"} {
		if err := rpmflow.CheckPathPattern(bad); err == nil || !strings.Contains(err.Error(), "such as") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A pattern that another program would take for ever over.
func TestMatchPathIsQuick(t *testing.T) {
	begun := time.Now()
	rpmflow.MatchPath(strings.Repeat("**/a/", 1000)+"b", strings.Repeat("a/", 5000)+"c")
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
}

func FuzzMatchPaths(f *testing.F) {
	f.Add("a/**/[b-c]?", "a/x/b1")
	f.Add("!**/", "")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if rpmflow.CheckPathPattern(pattern) == nil && !strings.HasPrefix(pattern, "!") && !rpmflow.MatchPaths([]string{"**"}, name) {
			t.Errorf("** does not take %q", name)
		}
		if taken := rpmflow.MatchPaths([]string{pattern}, name); taken && rpmflow.MatchPaths([]string{pattern, "!**"}, name) {
			t.Errorf("!** leaves %q", name)
		}
	})
}
