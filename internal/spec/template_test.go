package spec

import (
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
)

func FuzzSubstitute(f *testing.F) {
	f.Add("Version: @VERSION@\n# @PLANNED@\na@b.org and @nobody@\nsed -i 's/@VERSION@/x/; s/@LATER@/y/'\n", "VERSION=1")
	f.Add("Version: @A@@B@", "A=@B@")
	f.Add("%package x\n@X@", "X={branch}")
	f.Fuzz(func(t *testing.T, text, pair string) {
		s, err := rpmflow.ParseSubstitution(pair)
		if err != nil {
			return
		}
		got, err := Substitute([]byte(text), []rpmflow.Substitution{s}, FactsOf("refs/heads/main",
			strings.Repeat("a", 40)),
			"x.spec.in")
		if err == nil && len(unreplaced(got, []rpmflow.Substitution{s})) > 0 {
			t.Errorf("%q with %q is left with %q", text, pair, got)
		}
		if err == nil && strings.Count(string(got), "\n") != strings.Count(text, "\n") {
			t.Errorf("%q with %q has another number of lines", text, pair)
		}
	})
}
