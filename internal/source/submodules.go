package source

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/rpmflow/rpmflow"
)

const (
	// maxNesting is how many submodules may lie within one another.
	maxNesting = 10
	// maxSubmodules is how many an archive may have altogether.
	maxSubmodules = 500
	// maxModules bounds .gitmodules and .lfsconfig, in bytes.
	maxModules = 1 << 20
)

// origin is where a submodule was met, which decides what it may be read with.
type origin struct {
	project string // URL of the project's own repository
	path    string // of the submodule in the archive's tree, for messages
}

// module is an entry of .gitmodules.
type module struct {
	name, path, url string
	none            bool // update = none: nobody who clones the repository has it checked out
}

// modules reads .gitmodules, by path. There is none: nor are there entries.
func (s *snapshot) modules(ctx context.Context) (map[string]module, error) {
	const hint = "correct .gitmodules"
	values, err := s.gitConfig(ctx, ".gitmodules", hint)
	if err != nil {
		return nil, err
	}
	by := map[string]*module{}
	for _, v := range values {
		section, rest, ok := strings.Cut(v.key, ".")
		last := strings.LastIndexByte(rest, '.')
		if !ok || section != "submodule" || last < 0 {
			continue
		}
		name := rest[:last]
		if by[name] == nil {
			by[name] = &module{name: name}
		}
		switch m := by[name]; rest[last+1:] {
		case "path":
			m.path = strings.TrimSuffix(v.value, "/")
		case "url":
			m.url = v.value
		case "update":
			m.none = v.value == "none"
		}
	}
	all := map[string]module{}
	for _, m := range by {
		if m.path == "" {
			continue
		}
		if outside(m.path) || path.Clean(m.path) == "." {
			return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "submodule %s: its path %q in .gitmodules lies outside of the repository", show(m.name), m.path)
		}
		if other, twice := all[path.Clean(m.path)]; twice {
			return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "submodules %s and %s have the same path %s in .gitmodules",
				show(min(other.name, m.name)), show(max(other.name, m.name)), show(m.path))
		}
		all[path.Clean(m.path)] = *m
	}
	return all, nil
}

// setting is a line of a file in git's own form.
type setting struct{ key, value string }

// gitConfig reads a file of the commit that has git's own form: .gitmodules, .lfsconfig.
func (s *snapshot) gitConfig(ctx context.Context, name, hint string) ([]setting, error) {
	e, _, err := s.find(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if e.Mode != filemode.Regular && e.Mode != filemode.Executable {
		return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "%s is not a file", name)
	}
	text, err := s.head(e.Hash, maxModules)
	if err != nil {
		return nil, err
	}
	if len(text) >= maxModules {
		return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "%s has more than %d bytes", name, maxModules)
	}
	out, err := runGit(ctx, "--git-dir="+s.mirror, "config", "--no-includes", "--null", "--list", "--blob="+e.Hash.String())
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "git cannot read %s at %s", name, short(s.commit.Hash.String()))
	}
	var all []setting
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		key, value, _ := strings.Cut(line, "\n")
		all = append(all, setting{key, value})
	}
	return all, nil
}

// submoduleURL is what a URL of .gitmodules means in a repository that was fetched from base.
func submoduleURL(base, raw string) (string, error) {
	refuse := func(why string) (string, error) {
		return "", rpmflow.Fail(rpmflow.FailureSource, "correct url in .gitmodules: a path that begins with ./ or ../, or a URL of https, http or ssh", "its URL %q %s", CleanURL(raw), why)
	}
	switch {
	case raw == "":
		return refuse("in .gitmodules is empty")
	case !strings.HasPrefix(raw, "./") && !strings.HasPrefix(raw, "../"):
		return raw, nil
	}
	r, err := parseRemote(base)
	if err != nil {
		return "", err
	}
	var joined string
	ok := false
	switch m := scpForm.FindStringSubmatch(base); {
	case r.path != "":
		joined, ok = climb(r.path, raw)
	case m != nil && !strings.Contains(base, "://"):
		host := strings.TrimSuffix(base, m[3])
		joined, ok = climb(m[3], raw)
		joined = host + joined
	default:
		u, perr := url.Parse(base)
		if perr != nil {
			return refuse("cannot be joined with the repository's own")
		}
		u.Path, ok = climb(u.Path, raw)
		u.RawPath, u.RawQuery, u.Fragment, u.RawFragment = "", "", "", ""
		joined = u.String()
	}
	if !ok {
		return refuse("leads out of the server that the repository is on")
	}
	return joined, nil
}

// climb joins a path with one that is relative to it as to a directory, and never leaves its top.
func climb(base, relative string) (string, bool) {
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
	if len(parts) == 0 {
		return "", false
	}
	joined := strings.Join(parts, "/")
	if strings.HasPrefix(base, "/") {
		joined = "/" + joined
	}
	return joined, true
}

// enter gives a submodule's remote the means to get in. Whoever may push writes .gitmodules, so these are the project's own, on the project's own
// server, and none elsewhere: else a submodule could read another project's repository, or send a token away. Other servers must have
// public addresses, as those that sources are downloaded from.
func (s *Store) enter(r *remote, from *origin) (*remote, error) {
	project, err := parseRemote(from.project)
	if err != nil {
		return nil, err
	}
	refuse := func(hint, why string) (*remote, error) {
		return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "%s %s", r.clean, why)
	}
	r.from = from
	switch {
	case r.path != "":
		if project.path == "" {
			return refuse("use a URL in .gitmodules, best a relative one", "is on a builder's own disk, which only submodules of repositories there may be")
		}
		return r, nil
	case sameServer(project, r):
		if u, err := url.Parse(r.url); err == nil && !r.ssh && u.User == nil {
			if own, err := url.Parse(project.url); err == nil && own.User != nil {
				u.User = own.User
				if r, err = parseRemote(u.String()); err != nil {
					return nil, err
				}
				r.from = from
			}
		}
		r.scope = rpmflow.Digest([]byte(project.clean))[:12]
		return r.with(s.access(project.clean)), nil
	case r.ssh:
		return refuse("use a relative URL in .gitmodules, or one of https", "would need an ssh key, and keys are for the server of the project's own repository only")
	}
	r.scope, r.client = "public", s.client
	return r.with(Access{}), nil
}

// sameServer tells whether two remotes are behind the same door.
func sameServer(a, b *remote) bool {
	x, y := a.server(), b.server()
	return x != "" && x == y
}

// server is scheme, host and port of a remote; "" for one on disk.
func (r *remote) server() string {
	if r.path != "" {
		return ""
	}
	if m := scpForm.FindStringSubmatch(r.url); r.ssh && m != nil && !strings.Contains(r.url, "://") {
		host, port := strings.Trim(m[2], "[]"), "22"
		if p := scpPort.FindStringSubmatch(m[3]); p != nil {
			port = p[1]
		}
		return "ssh://" + strings.ToLower(host) + ":" + port
	}
	u, err := url.Parse(r.url)
	if err != nil {
		return ""
	}
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"ssh": "22", "http": "80", "https": "443"}[scheme]
	}
	return scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// nested is the request for a submodule at a path of the archive's tree.
func (req Request) nested(m module, at, commit, project string) (Request, error) {
	raw, err := submoduleURL(req.URL, m.url)
	if err != nil {
		return Request{}, err
	}
	if filepath.IsAbs(raw) || strings.HasPrefix(raw, "file:") {
		if parent, perr := parseRemote(req.URL); perr != nil || parent.path == "" {
			return Request{}, rpmflow.Fail(rpmflow.FailureSource, "use a URL in .gitmodules, best a relative one",
				"its URL %q is on a builder's own disk, which only submodules of repositories there may be", CleanURL(raw))
		}
	}
	return Request{Project: req.Project, URL: raw, Commit: commit, Sources: rpmflow.Sources{Submodules: true, LFS: req.Sources.LFS},
		from: &origin{project: project, path: at}}, nil
}

// inSubmodule is an error about a submodule, which the innermost one has the name of.
type inSubmodule struct {
	at  string
	err error
}

func (e *inSubmodule) Error() string { return "submodule " + show(e.at) + ": " + e.err.Error() }
func (e *inSubmodule) Unwrap() error { return e.err }

func within(at string, err error) error {
	var inner *inSubmodule
	if errors.As(err, &inner) {
		return err
	}
	return &inSubmodule{at, err}
}
