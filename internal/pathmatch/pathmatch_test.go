package pathmatch_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

func TestMatchList(t *testing.T) {
	t.Parallel()
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
		{"feature/**", "feature/a feature/a/b feature", "features/a"},
		{"feature/*", "feature/a", "feature/a/b feature"},
		{"v* !v*-rc*", "v1.0 v2", "v1.0-rc1 v2-rc"},
		{"v* !v*-rc* v2-rc1", "v1.0 v2-rc1", "v1.0-rc1 v2-rc2"},
		{"{main,f4?}", "main f43", "f4 epel"},
		{"[!a-c]x", "dx", "ax /x"},
		{"a[^b]c a[!b]d", "axc axd", "a/c a/d abc abd"},
		{`\[^x`, "[^x", "/x ax"},
		{`\!x \{y`, "!x {y", "x y"},
	} {
		patterns := strings.Fields(tt.patterns)
		for _, name := range strings.Fields(tt.yes) {
			if !pathmatch.MatchList(patterns, name) {
				t.Errorf("%v does not match %q", patterns, name)
			}
		}
		for _, name := range strings.Fields(tt.no) {
			if pathmatch.MatchList(patterns, name) {
				t.Errorf("%v matches %q", patterns, name)
			}
		}
	}
}

func TestCheckPath(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "a/", "a/**", "**/x", "!a/**", "a b/é.[ch]", "{a,b}/x", `\!x`, "v*"} {
		if err := pathmatch.CheckPath(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "!", "/a", "a//b", "./a", "a/../b", "..", "a**", "a/**b", "[", "!/a", "!!a", "{a",
		`a\`, "[b-a"} {
		if err := pathmatch.CheckPath(bad); err == nil || !strings.Contains(err.Error(), "such as") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A pattern for which a backtracking matcher needs very long.
func TestMatchIsQuick(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	pathmatch.Match(strings.Repeat("**/a/", 1000)+"b", strings.Repeat("a/", 5000)+"c")
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
}

func FuzzMatchList(f *testing.F) {
	f.Add("a/**/[b-c]?", "a/x/b1")
	f.Add("!**/", "")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if pathmatch.CheckPath(pattern) == nil && !strings.HasPrefix(pattern, "!") &&
			!pathmatch.MatchList([]string{"**"}, name) {
			t.Errorf("** does not match %q", name)
		}
		if matched := pathmatch.MatchList([]string{pattern}, name); matched &&
			pathmatch.MatchList([]string{pattern, "!**"},
				name) {
			t.Errorf("!** leaves %q", name)
		}
	})
}
