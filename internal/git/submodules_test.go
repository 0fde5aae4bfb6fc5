package git

import (
	"strings"
	"testing"
)

func TestSubmoduleURL(t *testing.T) {
	t.Parallel()
	for _, tt := range [][3]string{
		{"https://host/a/b.git", "../c.git", "https://host/a/c.git"},
		{"https://me:pw@host:8443/a/b.git/", "../../c", "https://me:pw@host:8443/c"},
		{"https://host/b", "./c", "https://host/b/c"},
		{"https://host/b", "../../evil", ""},
		{"https://host/b", "../../../evil.example/c", ""},
		{"https://host/b", "../", ""},
		{"https://host/b", "https://other/c", "https://other/c"},
		{"ssh://git@host:2222/a/b", "../c", "ssh://git@host:2222/a/c"},
		{"git@host:a/b.git", "../c.git", "git@host:a/c.git"},
		{"git@host:b.git", "../c.git", "git@host:c.git"},
		{"git@host:/srv/b.git", "../c.git", "git@host:/srv/c.git"},
		{"git@host:b.git", "../../c.git", ""},
		{"/srv/git/b", "../c", "/srv/git/c"},
		{"file:///srv/git/b", "../../../../c", ""},
		{"/srv/git/b", "", ""},
	} {
		got, err := submoduleURL(tt[0], tt[1])
		if got != tt[2] || (err != nil) != (tt[2] == "") {
			t.Errorf("%s and %s: got %q, %v, want %q", tt[0], tt[1], got, err, tt[2])
		}
	}
}

func FuzzSubmoduleURL(f *testing.F) {
	for _, s := range []string{"../x", "./../..//y", "..", ".././../", "../\\x", "../%2e%2e/x", "../@evil:x", "../#?"} {
		f.Add("https://user@host/a/b.git", s)
		f.Add("git@host:a/b.git", s)
	}
	f.Fuzz(func(t *testing.T, base, raw string) {
		b, err := parseRemote(base)
		if err != nil || !strings.HasPrefix(raw, "../") && !strings.HasPrefix(raw, "./") {
			return
		}
		joined, err := submoduleURL(base, raw)
		if err != nil {
			return
		}
		r, err := parseRemote(joined)
		if err == nil && (r.url.Server() != b.url.Server() || r.url.Local() != b.url.Local()) {
			t.Errorf("%q and %q lead to %q, which is another server", base, raw, joined)
		}
	})
}
