package giturl

import (
	"net/url"
	"regexp"
	"strings"
)

// Redact removes user and password from the text of a URL of any kind, also from one that is malformed: then rather too
// much than too little. The user of an ssh address stays.
func Redact(text string) string { return RedactAs(text, "") }

// RedactAs puts a mark where Redact removes something.
func RedactAs(text, mark string) string {
	if mark != "" {
		mark += "@"
	}
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../") {
		return text
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		at := strings.LastIndexByte(text, '@')
		if at < 0 {
			return text
		}
		if m := shortForm.FindStringSubmatch(text); m != nil && (m[1] != "" || m[2] == "") {
			return text // git@host:path or [host:port]:path
		}
		return mark + text[at+1:]
	}
	scheme += "://"
	u, err := url.Parse(text)
	if err != nil { // a slash in a password, for example: then it reaches beyond what looks like the host
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			return scheme + mark + rest[at+1:]
		}
		return text
	}
	userinfo, after := splitUser(rest)
	if at := passwordBehindPort(after); at >= 0 {
		return scheme + mark + after[at+1:]
	}
	switch name := u.User.Username(); {
	case userinfo == "":
		return text
	case protocol(u.Scheme) == "ssh" && name != "":
		return scheme + url.User(name).String() + "@" + after
	}
	return scheme + mark + after
}

// splitUser splits what follows :// into user and password with their @, and the rest.
func splitUser(rest string) (userinfo, after string) {
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	return rest[:at], rest[at:]
}

// What follows the @ is a host by its last label, which begins with a letter, or all four numbers of an address: the
// version in host:8081/pkg@1.2.3/ is none.
var behindPort = regexp.MustCompile(`^[^/?#]*:[0-9]*[/?#].*(@)(?:localhost|[^@/]*\.\pL[^@/.:]*\.?|` +
	`[0-9]+(?:\.[0-9]+){3})(?::[0-9]*)?/`)

// passwordBehindPort finds the @ of https://user:12/34@example.com/path, whose password looks like a port and a path;
// -1: there is none.
func passwordBehindPort(rest string) int {
	if m := behindPort.FindStringSubmatchIndex(rest); m != nil {
		return m[2]
	}
	return -1
}
