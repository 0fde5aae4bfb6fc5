package nearest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/nearest"
)

func TestUnknown(t *testing.T) {
	t.Parallel()
	many := make([]string, 60)
	for i := range many {
		many[i] = fmt.Sprintf("project-%02d", i)
	}
	for _, test := range []struct {
		written string
		known   []string
		hint    string
	}{
		{"helo", []string{"world", "hello"}, "did you mean hello? known are: hello, world"},
		{"fedora-34-x86_64", []string{"fedora-43-x86_64", "centos-stream-10-x86_64"},
			"did you mean fedora-43-x86_64? known are: centos-stream-10-x86_64, fedora-43-x86_64"},
		{"zzz", []string{"world", "hello"}, "known are: hello, world"},
		{"x", nil, "there is none yet"},
		{"nothing like it", many, "known are: " + strings.Join(many[:40], ", ") + " and 20 more"},
	} {
		message, hint := nearest.Unknown("project", test.written, test.known)
		if message != fmt.Sprintf("project %q is not known", test.written) || hint != test.hint {
			t.Errorf("%s: %s: %s", test.written, message, hint)
		}
	}
	if _, hint := nearest.Unknown("project", "x", nil, "or add it", "or leave it"); hint !=
		"there is none yet; or add it; or leave it" {
		t.Errorf("with more to do: %s", hint)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"poll", "poll", 0}, {"POLL", "poll", 0}, {"pool", "poll", 1},
		{"brnaches", "branches", 1}, {"kitten", "sitting", 3}} {
		if got := nearest.Distance(tc.a, tc.b); got != tc.want || nearest.Distance(tc.b, tc.a) != got {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
	nearest.Distance(strings.Repeat("x", 1e6), strings.Repeat("y", 1e6)) // must not take for ever
}
