package rpmlog_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rpmflow/rpmflow/internal/build/rpmlog"
)

func TestLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	for name, test := range map[string]struct {
		in   string
		n    int
		want []string
	}{
		"empty":             {"", 3, nil},
		"no newline at end": {"a\nb", 3, []string{"a", "b"}},
		"the last":          {"a\nb\nc\nd\n", 2, []string{"c", "d"}},
		"empty lines":       {"\n\na\n", 3, []string{"", "", "a"}},
		"carriage returns":  {"a\r\nb\r\r\n", 3, []string{"a", "b"}},
		"invalid UTF-8":     {"a\xff\xfeb\n", 3, []string{"a\uFFFDb"}},
		"long line":         {"a\n" + long + "\nb\n", 3, []string{"a", long[:500], "b"}},
		"long last line":    {"a\n" + long, 3, []string{"a", long[:500]}},
		"cut in a rune":     {strings.Repeat("x", 499) + "ä\n", 1, []string{strings.Repeat("x", 499) + "\uFFFD"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rpmlog.Lines(strings.NewReader(test.in), test.n); !slices.Equal(got, test.want) {
				t.Errorf("%.200q, want %.200q", got, test.want)
			}
		})
	}
}

func FuzzLines(f *testing.F) {
	f.Add("a\r\nb\xff\n", 2)
	f.Fuzz(func(t *testing.T, in string, n int) {
		n = max(1, n%1000)
		lines := rpmlog.Lines(strings.NewReader(in), n)
		if len(lines) > n {
			t.Fatalf("%d lines, asked for %d", len(lines), n)
		}
		for _, l := range lines {
			if len(l) > 1500 || !utf8.ValidString(l) || strings.Contains(l, "\n") {
				t.Fatalf("%q", l)
			}
		}
	})
}
