package forge

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Repositories lists what a delivery calls the repository that was pushed to: its URLs and names, of which some can be missing. It
// reads GitHub's form, which others use too, and rpmflow's own, where "repository" is the URL itself.
func Repositories(h http.Header, body []byte) []string {
	if strings.HasPrefix(h.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if form, err := url.ParseQuery(string(body)); err == nil {
			body = []byte(form.Get("payload"))
		}
	}
	var p struct {
		Repository json.RawMessage `json:"repository"`
	}
	if json.Unmarshal(body, &p) != nil {
		return nil
	}
	var own string
	if json.Unmarshal(p.Repository, &own) == nil {
		return named(own)
	}
	var r struct {
		CloneURL string `json:"clone_url"`
		SSHURL   string `json:"ssh_url"`
		GitURL   string `json:"git_url"`
		HTMLURL  string `json:"html_url"`
		URL      string `json:"url"`
		FullName string `json:"full_name"`
	}
	if json.Unmarshal(p.Repository, &r) != nil {
		return nil
	}
	return named(r.CloneURL, r.SSHURL, r.GitURL, r.HTMLURL, r.URL, r.FullName)
}

func named(names ...string) (given []string) {
	for _, name := range names {
		if name != "" {
			given = append(given, name)
		}
	}
	return given
}

// SameRepository reports whether a name from a delivery means the repository that is configured under url: the same host and path
// over whichever protocol, or, where the delivery has no host, the same path at its end.
func SameRepository(name, url string) bool {
	host, path := location(url)
	otherHost, otherPath := location(name)
	switch {
	case otherPath == "" || path == "":
		return false
	case otherHost != "":
		return host == otherHost && path == otherPath
	case strings.HasPrefix(name, "/"):
		return host == "" && path == otherPath
	}
	return host != "" && path == otherPath // owner/name
}

// location is where a repository lies: host without port, and path without .git, both of them without regard to case as the forges
// have it.
func location(name string) (host, path string) {
	if scheme, rest, ok := strings.Cut(name, "://"); ok {
		u, err := url.Parse(name)
		if err != nil { // a password with a slash in it
			u = &url.URL{Scheme: scheme, Path: rest}
		}
		host, path = u.Hostname(), u.Path
	} else if before, after, ok := strings.Cut(name, ":"); ok && !strings.Contains(before, "/") {
		host, path = before[strings.LastIndexByte(before, '@')+1:], after
	} else {
		path = name
	}
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	return strings.ToLower(host), strings.ToLower(strings.TrimSuffix(path, "/"))
}
