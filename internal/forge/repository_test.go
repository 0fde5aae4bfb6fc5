package forge

import "testing"

func TestSameRepository(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		want      bool
	}{
		{"https://github.com/ann/hello.git", "https://github.com/ann/hello.git", true},
		{"https://github.com/ann/hello", "https://token@github.com/Ann/hello.git", true},
		{"git@github.com:ann/hello.git", "https://me:pa/ss@github.com/ann/hello.git", false}, // such a URL is refused by the configuration
		{"git@github.com:ann/hello.git", "https://me:pass@github.com/ann/hello.git/", true},
		{"https://github.com/ann/hello", "ssh://git@github.com:22/ann/hello.git", true},
		{"ann/hello", "git@github.com:ann/hello.git", true},
		{"ann/hello", "/srv/ann/hello.git", false},
		{"hello", "git@github.com:ann/hello.git", false},
		{"/srv/git/hello.git", "/srv/git/hello.git", true},
		{"/srv/git/hello.git/", "file:///srv/git/hello.git", true},
		{"/srv/git/hello.git", "https://host/srv/git/hello.git", false},
		{"https://github.com/ann/hello", "https://gitlab.com/ann/hello", false},
		{"https://github.com/ann/hello", "https://github.com/ann/hello-rpm", false},
		{"", "", false},
		{"https://github.com/", "https://github.com/", false},
	} {
		if got := SameRepository(tt.name, tt.url); got != tt.want {
			t.Errorf("SameRepository(%q, %q) = %v", tt.name, tt.url, got)
		}
	}
}

func FuzzSameRepository(f *testing.F) {
	f.Add("https://github.com/ann/hello.git", "https://github.com/ann/hello")
	f.Add("git@host:x", "ssh://git@host/x")
	f.Fuzz(func(t *testing.T, name, url string) {
		if _, path := location(name); SameRepository(name, name) && path == "" {
			t.Errorf("%q is the same as itself without a path", name)
		}
		SameRepository(name, url)
	})
}
