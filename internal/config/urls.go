package config

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow/internal/giturl"
)

// webURL is an http or https URL without credentials, query and slash at its end.
func webURL(dst **url.URL, such string, withPath, optional bool) field {
	return one(dst, "URL", func(s string) (*url.URL, error) {
		if s == "" && optional {
			return nil, nil
		}
		u, err := parseURL(s, "http", "https")
		if err != nil {
			return nil, fmt.Errorf("%w: write one such as %s", err, such)
		}
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
		if u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
			return nil, fmt.Errorf("%s has a query or a fragment: remove it", quote(s))
		}
		if u.Path != "" && !withPath {
			return nil, fmt.Errorf("%s has a path: write scheme, host and port only, and the bucket in s3.bucket",
				quote(s))
		}
		return u, nil
	}, func(u *url.URL) string {
		if u == nil {
			return ""
		}
		return u.String()
	})
}

func checkNATS(s string) error {
	if _, err := parseURL(s, "nats", "tls", "ws", "wss"); err != nil {
		return fmt.Errorf("%w: write one such as nats://127.0.0.1:4222", err)
	}
	return nil
}

func checkDocker(s string) error {
	if rest, ok := strings.CutPrefix(s, "unix://"); ok && path.IsAbs(rest) {
		return nil
	}
	if strings.HasPrefix(s, "ssh://") {
		_, err := giturl.ParseServer(s)
		if err != nil {
			err = fmt.Errorf("%s %w: write one such as ssh://builder@docker", quote(redactURL(s)), err)
		}
		return err
	}
	if _, err := parseURL(s, "tcp", "http", "https"); err != nil {
		return fmt.Errorf("%w: write one such as unix:///var/run/docker.sock, tcp://docker:2376 or "+
			"ssh://builder@docker, "+
			"or nothing to let DOCKER_HOST decide", err)
	}
	return nil
}

// parseURL reads a URL that has one of the schemes, a host, and no credentials: those have keys of their own. What
// net/url says of a URL is not repeated, because it repeats parts of it, credentials included.
func parseURL(s string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Opaque != "" || printable(s) != nil {
		return nil, fmt.Errorf("%s is not a URL", quote(redactURL(s)))
	}
	if !slices.Contains(schemes, u.Scheme) {
		return nil, fmt.Errorf("%s has none of the schemes %s", quote(redactURL(s)), strings.Join(schemes, ", "))
	}
	if u.User != nil {
		return nil, fmt.Errorf("%s has credentials in it, which have keys of their own", quote(redactURL(s)))
	}
	return u, nil
}

// repository is what git can clone from. Credentials are allowed in http and https URLs, since git has no other way
// to get them from us. They are kept apart from the address and never shown, and only those who fetch from
// repositories get them.
func repository(dst *string, user **url.Userinfo, l *loader, optional bool) field {
	return field{
		typ: "URL",
		set: func(in input) error {
			s := in.values[0]
			if s == "" && optional {
				return nil
			}
			if strings.HasPrefix(s, "./") { // it starts at the directory of the file that has it
				p, err := in.path()
				if err != nil {
					return err
				}
				s = p
			}
			u, err := parseRepository(s)
			if err != nil {
				return err
			}
			*dst = u.Redacted()
			if u.Scheme != "ssh" && slices.Contains(tokenReaders(), l.program) {
				*user = u.User
			}
			return nil
		},
		get: func() []string {
			if *user == nil {
				return []string{*dst}
			}
			return []string{strings.Replace(*dst, "://", "://"+redacted+"@", 1)}
		},
	}
}

func parseRepository(s string) (giturl.URL, error) {
	if printable(s) != nil || strings.ContainsAny(s, " \t") {
		return giturl.URL{}, fmt.Errorf("%s has spaces or control characters in it: remove them", quote(redactURL(s)))
	}
	const write = "write https://host/path.git, ssh://git@host/path.git, git@host:path.git, file:///path, an " +
		"absolute path or ./path"
	u, err := giturl.Parse(s)
	_, hasPassword := u.User.Password()
	switch {
	case err != nil:
		err = fmt.Errorf("%s is not the URL of a git repository: %w: %s", quote(redactURL(s)), err, write)
	case u.Local() && (!path.IsAbs(u.Path) || u.Location() == ""):
		err = fmt.Errorf("%s is not an absolute path: %s", quote(redactURL(s)), write)
	case u.Local():
	case !slices.Contains([]string{"http", "https", "ssh"}, u.Scheme):
		err = fmt.Errorf("%s has none of the schemes https, http, ssh and file: %s", quote(redactURL(s)), write)
	case u.Location() == "":
		err = fmt.Errorf("%s has no path: %s", quote(redactURL(s)), write)
	case hasPassword && u.Scheme == "ssh":
		err = errors.New("ssh takes no password from a URL: use a key, and write ssh://git@host/path.git")
	}
	return u, err
}

// redactURL shows that a URL has credentials, and not which.
func redactURL(s string) string { return giturl.RedactAs(s, redacted) }
