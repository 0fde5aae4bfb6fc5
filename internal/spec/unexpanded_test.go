package spec

import "testing"

func FuzzUnexpanded(f *testing.F) {
	f.Add("Name: a\nVersion: 1\nSource0: %{name}-%{version}.tar.gz\n", "a-1.tar.gz")
	f.Add("Source: %{crates_source}\nPatch: [x\\\n", "x")
	f.Fuzz(func(t *testing.T, text, file string) {
		u := ParseUnexpanded([]byte(text))
		if got := u.Source0In([]string{file}); got != "" && got != file {
			t.Errorf("got %q", got)
		}
		u.Names(file)
		u.Misses([]string{file})
		u.Uses([]string{file})
	})
}
