package forge

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
)

func TestRepositories(t *testing.T) {
	github := `{"ref":"refs/heads/main","repository":{"id":7,"full_name":"ann/hello","clone_url":"https://github.com/ann/hello.git","ssh_url":"git@github.com:ann/hello.git",` +
		`"git_url":"git://github.com/ann/hello.git","html_url":"https://github.com/ann/hello","url":"https://github.com/ann/hello"}}`
	all := []string{"https://github.com/ann/hello.git", "git@github.com:ann/hello.git", "git://github.com/ann/hello.git", "https://github.com/ann/hello", "https://github.com/ann/hello", "ann/hello"}
	for _, tt := range []struct {
		name, contentType, body string
		want                    []string
	}{
		{"GitHub", "application/json", github, all},
		{"GitHub's form", "application/x-www-form-urlencoded", "payload=" + url.QueryEscape(github), all},
		{"rpmflow's own", "application/json", `{"repository":"/srv/git/hello.git"}`, []string{"/srv/git/hello.git"}},
		{"none", "application/json", `{"ref":"refs/heads/main"}`, nil},
		{"empty", "application/json", `{"repository":""}`, nil},
		{"a number", "application/json", `{"repository":7}`, nil},
		{"not JSON", "application/json", `<xml/>`, nil},
	} {
		if got := Repositories(http.Header{"Content-Type": {tt.contentType}}, []byte(tt.body)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q", tt.name, got)
		}
	}
}

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

func FuzzRepositories(f *testing.F) {
	f.Add(`{"repository":{"clone_url":"https://github.com/ann/hello.git"}}`, "https://github.com/ann/hello")
	f.Add(`{"repository":"git@host:x"}`, "ssh://git@host/x")
	f.Fuzz(func(t *testing.T, body, url string) {
		for _, name := range Repositories(nil, []byte(body)) {
			if name == "" {
				t.Error("a repository without a name")
			}
			if _, path := location(name); SameRepository(name, name) && path == "" {
				t.Errorf("%q is the same as itself without a path", name)
			}
			SameRepository(name, url)
		}
	})
}
