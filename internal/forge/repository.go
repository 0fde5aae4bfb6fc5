package forge

import (
	"net/url"
	"strings"
)

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
