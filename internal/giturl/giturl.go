// Package giturl has the one type for the address of a git repository, and the function that hides credentials in the
// URL of a repository or a service. Downloads (fetch.Clean) and package repositories
// (rpmflow.ParseRepo) have their own, and say why.
//
// Text from configurations, deliveries, command lines and .gitmodules comes in; a URL with its parts, or an error
// without credentials in it, goes out. It reads what git reads, and refuses what git would read as something else than
// was meant. It imports nothing of ours, and every package may import it; which schemes and hosts are allowed is for
// its callers to decide.
package giturl

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// URL is the address of a repository: a URL, git's short form of an ssh address (user@host:path), or a path on this
// machine. It is read only; WithUser and Join return other ones.
type URL struct {
	Scheme string        // lower case; "ssh" for the short form, git+ssh and ssh+git; "" for a path
	User   *url.Userinfo // nil: none
	Host   string        // as written, without port and brackets; "" for a path and a file URL
	Port   string        // digits; "" if it is not written
	// Path is decoded. Behind ssh it begins without a slash if it starts at the user's home, on this machine if it is
	// relative.
	Path string

	short bool   // the short form
	raw   string // as written
}

// schemes are those of git-clone(1).
func schemes() []string { return []string{"https", "http", "ssh", "git", "ftp", "ftps", "file"} }

// protocol is a scheme, in lower case, as git reads it: git+ssh and ssh+git are deprecated names of ssh.
func protocol(scheme string) string {
	if scheme == "git+ssh" || scheme == "ssh+git" {
		return "ssh"
	}
	return scheme
}

const (
	shortUser = `([A-Za-z0-9_][A-Za-z0-9._+-]*)`
	shortName = `([A-Za-z0-9][A-Za-z0-9._-]*)`
)

var (
	// shortForm is user@host:path. Brackets hold an IPv6 address, or a host and its port; git reads the user before the
	// brackets and in them. Groups: user, host, user in brackets, host in brackets, port, IPv6 address, path.
	shortForm = regexp.MustCompile(`^(?:` + shortUser + `@)?(?:` + shortName + `|` +
		`\[(?:` + shortUser + `@)?(?:` + shortName + `(?::([0-9]+))?|([0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*))\])` +
		`:([^:].*)$`)
	// portInPath is host:2222:/path, which git reads as the path 2222:/path.
	portInPath = regexp.MustCompile(`^[0-9]+:/`)
	userName   = regexp.MustCompile(`^` + shortUser + `$`)
	hostName   = regexp.MustCompile(`^[\pL\pN_][\pL\pN._-]*$`)
)

// Parse reads an address. Its errors do not repeat the text, which may hold credentials: show it with Redact.
func Parse(text string) (URL, error) {
	switch {
	case text == "":
		return URL{}, errors.New("empty")
	case strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return URL{}, errors.New("control characters in the URL")
	case strings.HasPrefix(text, "/"):
		return URL{Path: text, raw: text}, nil
	case !strings.Contains(text, "://"):
		return parseShort(text)
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" { // the error's text has the credentials in it
		return URL{}, errors.New("malformed URL")
	}
	out := URL{Scheme: protocol(u.Scheme), User: u.User, Host: u.Hostname(), Port: u.Port(), Path: u.Path, raw: text}
	_, rest, _ := strings.Cut(text, "://")
	if _, after := splitUser(rest); strings.ContainsFunc(out.Path, isControl) || passwordBehindPort(after) >= 0 {
		return URL{}, errors.New("malformed URL: an @ in a path is written %40, and a / in a password %2F")
	}
	switch {
	case !slices.Contains(schemes(), out.Scheme):
		return URL{}, fmt.Errorf("scheme %q is not one of %s", u.Scheme, strings.Join(schemes(), ", "))
	case u.Scheme == "file":
		if u.Host != "" && u.Host != "localhost" || !strings.HasPrefix(u.Path, "/") {
			return URL{}, errors.New("a file URL needs three slashes and an absolute path")
		}
		out.Host, out.Port = "", ""
		return out, nil
	case out.Host == "":
		return URL{}, errors.New("no host in the URL")
	// git would hand a host or a user that begins with a hyphen to ssh, which takes it for an option.
	case !hostName.MatchString(out.Host) && !strings.HasPrefix(u.Host, "["), strings.HasPrefix(out.Host, "-"):
		return URL{}, errors.New("malformed host in the URL")
	case out.Port != "" && !isPort(out.Port):
		return URL{}, errors.New("malformed port in the URL")
	case out.Scheme == "ssh" && strings.HasPrefix(u.User.Username(), "-"):
		return URL{}, errors.New("the user in the URL begins with a hyphen")
	}
	return out, nil
}

func isControl(c rune) bool { return c < ' ' || c == 0x7f }

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// parseShort reads what is neither a URL nor an absolute path.
func parseShort(text string) (URL, error) {
	m := shortForm.FindStringSubmatch(text)
	if m == nil {
		// git-clone(1): it is a path if a slash stands before the first colon, or if there is no colon.
		colon, slash := strings.IndexByte(text, ':'), strings.IndexByte(text, '/')
		switch {
		// user:password@host/path without a scheme
		case colon >= 0 && (slash < 0 || colon < slash), Redact(text) != text:
			return URL{}, errors.New("neither a URL nor user@host:path nor a path")
		case strings.HasPrefix(text, "-"):
			return URL{}, errors.New("the path begins with a hyphen")
		}
		return URL{Path: text, raw: text}, nil
	}
	user, host, port, where := m[1]+m[3], m[2]+m[4]+m[6], m[5], m[7]
	switch {
	case slices.Contains(schemes(), m[2]): // file:a is a malformed URL, not a host
		return URL{}, errors.New("neither a URL nor an absolute path: two slashes are missing behind " + m[2] + ":")
	case m[1] != "" && m[3] != "":
		return URL{}, errors.New("two users in the URL")
	case port != "" && !isPort(port):
		return URL{}, errors.New("malformed port in the URL")
	case portInPath.MatchString(where):
		return URL{}, errors.New("git takes no port behind user@host: write user@[host:port]:path")
	case strings.HasPrefix(where, "-"): // git would take it for an option
		return URL{}, errors.New("the path begins with a hyphen")
	case user == "" && m[2] != "" && strings.Contains(where, "@"): // user:password@host is not a form of git's
		return URL{}, errors.New("neither a URL nor user@host:path: ssh takes no password from a URL")
	}
	u := URL{Scheme: "ssh", Host: host, Port: port, Path: where, short: true, raw: text}
	if user != "" {
		u.User = url.User(user)
	}
	return u, nil
}

// ParseServer reads ssh://user@host:port, the address of a server that has something else than repositories; user and
// port are optional. Its errors follow the address that they are about.
func ParseServer(text string) (URL, error) {
	u, err := Parse(text)
	_, hasPassword := u.User.Password()
	switch {
	case err != nil, u.Scheme != "ssh", u.short:
		return URL{}, errors.New("has no host")
	case hasPassword:
		return URL{}, errors.New("has a password in it, and ssh needs a key")
	case u.User != nil && !userName.MatchString(u.User.Username()):
		return URL{}, errors.New("has no valid user")
	case strings.Trim(u.Path, "/") != "" || strings.ContainsAny(text, "?#"):
		return URL{}, errors.New("has more than a host in it")
	}
	return u, nil
}

// String is the address as it was written, with credentials.
func (u URL) String() string { return u.raw }

// Redacted is the address without credentials, for records and messages. The user of an ssh address is not secret and
// stays, so that the address can still be fetched from.
func (u URL) Redacted() string { return Redact(u.raw) }

// Local reports whether the repository is on this machine's disk.
func (u URL) Local() bool { return u.Scheme == "" || u.Scheme == "file" }

// Address is what git can be called with: without a password, over ssh with a user, which is sshUser if the address has
// none, and for a repository on this machine its path.
func (u URL) Address(sshUser string) string {
	switch {
	case u.Local():
		return u.Path
	case u.Scheme != "ssh":
		return u.Redacted()
	case u.User.Username() != "":
		sshUser = u.User.Username()
	}
	return u.WithUser(url.User(sshUser)).String()
}

// WithUser is the same address with other credentials; nil: with none.
func (u URL) WithUser(user *url.Userinfo) URL {
	if u.Local() {
		return u
	}
	out := u
	out.User = user
	userinfo := ""
	if user != nil {
		userinfo = user.String() + "@"
	}
	if u.short {
		if user != nil {
			userinfo = user.Username() + "@"
			out.User = url.User(user.Username())
		}
		out.raw = userinfo + u.shortHost() + u.Path
		return out
	}
	scheme, rest, _ := strings.Cut(u.raw, "://")
	_, rest = splitUser(rest)
	out.raw = scheme + "://" + userinfo + rest
	return out
}

func (u URL) shortHost() string {
	if u.Port != "" {
		return "[" + u.hostPort() + "]:"
	}
	return bracketed(u.Host) + ":"
}

// Join is the address of a path that is relative to this one as to a directory, as those of submodules are. It is false
// if the path leads out of the server or ends at its top.
func (u URL) Join(relative string) (URL, bool) {
	joined, ok := joinRelative(u.Path, relative)
	if !ok {
		return URL{}, false
	}
	var text string
	switch {
	case u.Scheme == "":
		text = joined
	case u.short:
		text = u.shortHost() + joined
		if u.User != nil {
			text = u.User.Username() + "@" + text
		}
	default:
		text = (&url.URL{Scheme: u.Scheme, User: u.User, Host: u.hostPort(), Path: joined}).String()
	}
	out, err := Parse(text)
	return out, err == nil
}

// joinRelative joins a path with one that is relative to it as to a directory, and never leaves its top.
func joinRelative(base, relative string) (string, bool) {
	parts := strings.Split(strings.Trim(base, "/"), "/")
	for part := range strings.SplitSeq(relative, "/") {
		switch part {
		case "", ".":
		case "..":
			if len(parts) == 0 || parts[0] == "" {
				return "", false
			}
			parts = parts[:len(parts)-1]
		default:
			parts = append(parts, part)
		}
	}
	joined := strings.Join(parts, "/")
	if joined == "" {
		return "", false
	}
	if strings.HasPrefix(base, "/") {
		joined = "/" + strings.TrimLeft(joined, "/")
	}
	return joined, true
}

// Server is scheme, host and port, all of them written out and in lower case; "" for a repository on this machine.
func (u URL) Server() string {
	if u.Local() {
		return ""
	}
	port := u.Port
	if port == "" {
		port = map[string]string{"ssh": "22", "http": "80", "https": "443", "git": "9418", "ftp": "21",
			"ftps": "990"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(bracketed(u.Host)) + ":" + port
}

// SameServer reports whether two addresses are on the same server: scheme, host and port are the same. A repository on
// this machine and the zero URL are on none.
func (u URL) SameServer(o URL) bool { return u.Server() != "" && u.Server() == o.Server() }

// Same reports whether two addresses mean the same repository: the same path on the same host, over whichever protocol
// and port. As the forges have it, case does not count, and neither does .git.
func (u URL) Same(o URL) bool {
	return u.Location() != "" && strings.EqualFold(u.Host, o.Host) && u.Location() == o.Location()
}

// Location is the path in lower case without .git and slashes at its ends: owner/name on a forge.
func (u URL) Location() string {
	p := strings.TrimSuffix(strings.Trim(strings.ToLower(u.Path), "/"), ".git")
	return strings.TrimSuffix(p, "/")
}

// Name is the last part of the path, without .git; "" if there is none.
func (u URL) Name() string {
	name := path.Base(strings.TrimSuffix(strings.TrimRight(u.Path, "/"), ".git"))
	if name == "." || name == "/" {
		return ""
	}
	return name
}

// Web is the https or http address of the repository, without credentials: for one behind ssh the same path on the same
// host. It is nil for a repository on this machine.
func (u URL) Web() *url.URL {
	switch {
	case u.Local():
		return nil
	case u.Scheme != "http" && u.Scheme != "https":
		return &url.URL{Scheme: "https", Host: bracketed(u.Host), Path: "/" + strings.Trim(u.Path, "/")}
	}
	w, err := url.Parse(u.Redacted())
	if err != nil { // Parse has read it
		return nil
	}
	w.Path, w.RawPath = strings.TrimRight(w.Path, "/"), strings.TrimRight(w.RawPath, "/")
	w.RawQuery, w.ForceQuery, w.Fragment, w.RawFragment = "", false, "", ""
	return w
}

// Secrets are the texts that no message may have in it: the password, and over http the user, too, since a token often
// stands there; each as it is and escaped.
func (u URL) Secrets() (secrets []string) {
	password, _ := u.User.Password()
	texts := []string{password}
	if u.Scheme != "ssh" {
		texts = append(texts, u.User.Username())
	}
	for _, s := range texts {
		if s != "" {
			secrets = append(secrets, s, url.QueryEscape(s), url.PathEscape(s), url.User(s).String())
		}
	}
	slices.Sort(secrets)
	return slices.Compact(secrets)
}

func (u URL) hostPort() string {
	if u.Port == "" {
		return bracketed(u.Host)
	}
	return bracketed(u.Host) + ":" + u.Port
}

// bracketed is a host as it is written before a port.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
