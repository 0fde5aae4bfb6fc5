package source

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/fetch"
)

// resolveTimeout bounds Resolve where the caller's context does not.
const resolveTimeout = time.Minute

// remote is a repository's URL, checked.
type remote struct {
	url   string // as configured, with credentials
	clean string // for people
	// path is set for a repository on this machine's disk, user for one behind ssh.
	path, user string
	ssh        bool
	access     Access
	secrets    []string // what must not be in a message
	// from is where a submodule was met, nil for others; scope keeps its mirror apart from those that are read with other credentials, and
	// client, where it is set, is what connects to its server.
	from   *origin
	scope  string
	client *fetch.Client
}

// scpForm is git's short form of ssh URLs. The path must not begin with a colon: ext::… is another thing altogether.
var scpForm = regexp.MustCompile(`^(?:([A-Za-z0-9._-]+)@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):([^:].*)$`)

func parseRemote(raw string) (*remote, error) {
	r := &remote{url: raw, clean: CleanURL(raw)}
	refuse := func(why string) (*remote, error) {
		return nil, rpmflow.Fail(rpmflow.FailureSource,
			"use https, http, ssh, git@host:path, file:// or an absolute path in the project's url setting",
			"repository %q: %s", r.clean, why)
	}
	if raw == "" {
		return refuse("no URL")
	}
	if strings.ContainsFunc(raw, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return refuse("control characters in the URL")
	}
	if strings.HasPrefix(raw, "/") {
		r.path = filepath.Clean(raw)
		return r, nil
	}
	if !strings.Contains(raw, "://") {
		m := scpForm.FindStringSubmatch(raw)
		if m == nil || slices.Contains([]string{"file", "http", "https", "ssh", "git"}, m[2]) { // file:a is a URL gone wrong, not a host
			return refuse("neither a URL nor an absolute path")
		}
		r.ssh, r.user = true, m[1]
		return r, nil
	}
	u, err := url.Parse(raw)
	if err != nil { // its text has the URL with the credentials in it
		return refuse("malformed URL")
	}
	if password, ok := u.User.Password(); ok {
		r.secrets = append(r.secrets, password, url.QueryEscape(password), url.PathEscape(password), url.UserPassword("", password).String()[1:])
	}
	switch u.Scheme {
	case "file":
		if (u.Host != "" && u.Host != "localhost") || !strings.HasPrefix(u.Path, "/") {
			return refuse("a file URL needs three slashes and an absolute path")
		}
		r.path = filepath.Clean(u.Path)
		return r, nil
	case "http", "https":
		if name := u.User.Username(); name != "" { // a token often stands where the user name should
			r.secrets = append(r.secrets, name, url.QueryEscape(name), url.PathEscape(name), url.User(name).String())
		}
	case "ssh":
		r.ssh, r.user = true, u.User.Username()
	default:
		return refuse(fmt.Sprintf("scheme %q is not allowed", u.Scheme))
	}
	if u.Hostname() == "" {
		return refuse("no host in the URL")
	}
	return r, nil
}

// CleanURL removes userinfo, for records and messages. The bare user name of an ssh URL is no secret and stays, so
// that the URL remains one that can be fetched from.
func CleanURL(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		// A path or git@host:path, which have no place for a password; user:password@host:path is a mistake, but not to be repeated.
		if i := strings.LastIndexByte(raw, '@'); i >= 0 && raw[0] != '/' && strings.Contains(raw[:i], ":") && strings.Contains(raw[i:], ":") {
			return raw[i+1:]
		}
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		// Where a password holds a slash, the userinfo reaches beyond what looks like the host.
		if i := strings.LastIndexByte(rest, '@'); i >= 0 {
			rest = rest[i+1:]
		}
		return scheme + "://" + rest
	}
	if u.User == nil {
		return raw
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host := rest[strings.LastIndexByte(rest[:end], '@')+1:]
	if name := u.User.Username(); u.Scheme == "ssh" && name != "" {
		host = url.User(name).String() + "@" + host
	}
	return scheme + "://" + host
}

// mirrorName is the name of the remote's mirror: something to read and something unique. Credentials are no part
// of it, so that a new token does not mean a new mirror.
func (r *remote) mirrorName() string {
	id := r.clean
	if r.path != "" {
		id = r.path
	}
	readable := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			return c
		}
		return '-'
	}, strings.TrimSuffix(path.Base(id), ".git"))
	if r.scope != "" { // what one project may read is not there for another's submodules
		id += "\x00" + r.scope
	}
	return strings.Trim(readable[:min(len(readable), 40)], "-") + "-" + rpmflow.Digest([]byte(id))[:20] + ".git"
}

// scrubbed is an error without the credentials of the URL. It hides the cause's text but not what kind of error it is.
type scrubbed struct {
	text  string
	cause error
}

func (e *scrubbed) Error() string        { return e.text }
func (e *scrubbed) Is(target error) bool { return errors.Is(e.cause, target) }

func (r *remote) scrub(err error) error {
	text := strings.ReplaceAll(err.Error(), r.url, r.clean)
	for _, secret := range r.secrets {
		if len(secret) > 3 {
			text = strings.ReplaceAll(text, secret, "***")
			continue
		}
		// Too short to be replaced wherever it stands; in a URL it stands before : or @.
		if secret != "" {
			text = strings.ReplaceAll(strings.ReplaceAll(text, secret+"@", "***@"), "/"+secret+":", "/***:")
		}
	}
	return &scrubbed{text: strings.ToValidUTF8(text, "?"), cause: err}
}

// errNoKey is there no ssh agent and no key file to authenticate with.
var errNoKey = errors.New("no ssh agent and no key in ~/.ssh")

// explain sorts what a transport returned: refused or not found is the configuration's mistake, all else a retry's business.
func (r *remote) explain(what string, err error) error {
	hint := "check the project's url setting, and that its credentials (those in the URL, token, the ssh key) may read the repository"
	if r.from != nil {
		hint = "check url in .gitmodules; a submodule is read with the project's own credentials (those in the URL, token, the ssh key) on the project's own server, and without any elsewhere"
	}
	var refused *rpmflow.Failure
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%s: %w", what, refused)
	case errors.Is(err, errRefused), errors.Is(err, errNoKey):
		return &rpmflow.Failure{Kind: rpmflow.FailureSource, Hint: hint, Message: fmt.Sprintf("%s: authentication refused by %s", what, r.clean)}
	case errors.Is(err, errIncomplete) && r.path != "":
		return &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: fmt.Sprintf("%s: objects are missing in %s", what,
			r.clean), Err: r.scrub(err),
			Hint: "of a partial clone build the directory itself, or the repository that it was cloned from; else see what git fsck says"}
	case errors.Is(err, errNoRepository):
		return &rpmflow.Failure{Kind: rpmflow.FailureSource, Hint: hint, Message: fmt.Sprintf("%s: repository %s not found", what, r.clean)}
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s from %s took too long; is it reachable from here?: %w", what, r.clean, r.scrub(err))
	}
	return fmt.Errorf("%s from %s: %w", what, r.clean, r.scrub(err))
}

// advertised is one line of what a remote lists.
type advertised struct {
	name   string
	commit string // peeled, where the remote says so
	target string // of a symbolic ref
}

// Resolve asks the remote which commit a branch, a tag, a full ref or HEAD (also "") names, and returns the full ref
// with it. A full commit id is returned as it is, without a ref and without asking.
func Resolve(ctx context.Context, url, ref string) (fullRef, commit string, err error) {
	return resolve(ctx, url, ref, Access{})
}

// Resolver is Resolve with the means to get in that access knows for a URL.
func Resolver(access func(url string) Access) func(ctx context.Context, url, ref string) (fullRef, commit string, err error) {
	return func(ctx context.Context, url, ref string) (string, string, error) {
		return resolve(ctx, url, ref, access(url))
	}
}

func resolve(ctx context.Context, url, ref string, access Access) (fullRef, commit string, err error) {
	if rpmflow.IsCommit(ref) {
		return "", ref, nil
	}
	r, err := parseRemote(url)
	if err != nil {
		return "", "", err
	}
	if ref == "" {
		ref = "HEAD"
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	refs, err := r.with(access).list(ctx)
	if err != nil {
		return "", "", r.explain("listing refs", err)
	}
	return pick(refs, ref, r.clean)
}

func pick(refs []advertised, ref, where string) (fullRef, commit string, err error) {
	byName := make(map[string]advertised, len(refs))
	for _, a := range refs {
		byName[a.name] = a
	}
	names := []string{"refs/heads/" + ref, "refs/tags/" + ref}
	if ref == "HEAD" || strings.HasPrefix(ref, "refs/") {
		names = []string{ref}
	}
	var found []advertised
	for _, name := range names {
		a, ok := byName[name]
		if ok && a.target != "" { // HEAD of a repository is a branch, unless detached
			a, ok = byName[a.target]
		}
		if ok && a.commit != "" {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 0:
		return "", "", rpmflow.Fail(rpmflow.FailureSource, "name a branch, a tag, a full ref, HEAD or a full commit id",
			"%s has no branch or tag %q", where, ref)
	case 2:
		return "", "", rpmflow.Fail(rpmflow.FailureSource, "say "+found[0].name+" or "+found[1].name,
			"%q is both a branch and a tag in %s", ref, where)
	}
	return found[0].name, found[0].commit, nil
}

// checkRef refuses a ref that would mean something else as a refspec.
func checkRef(ref string) error {
	if !strings.HasPrefix(ref, "refs/") || plumbing.ReferenceName(ref).Validate() != nil || strings.ContainsAny(ref, "*:^ ~?[\\") {
		return rpmflow.Fail(rpmflow.FailureSource, "push a branch or a tag", "%q is not the full name of a ref", ref)
	}
	return nil
}
