package git

import (
	"cmp"
	"context"
	"errors"
	"path"
	"path/filepath"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/giturl"
)

const (
	// MaxNesting is how deep submodules may be nested.
	MaxNesting = 10
	// maxSubmodules is how many an archive may have altogether.
	maxSubmodules = 500
)

// module is an entry of .gitmodules.
type module struct {
	name, path, url string
	none            bool // update = none: not checked out in a clone
}

// modules reads .gitmodules, by path. If there is none, there are no entries.
func (c *Commit) modules(ctx context.Context) (map[string]module, error) {
	const hint = "correct .gitmodules"
	values, err := c.config(ctx, ".gitmodules", hint)
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
		if Outside(m.path) || path.Clean(m.path) == "." {
			return nil, rpmflow.Fail(rpmflow.FailureSource, hint,
				"submodule %s: its path %q in .gitmodules is outside the repository", show(m.name), m.path)
		}
		if other, twice := all[path.Clean(m.path)]; twice {
			return nil, rpmflow.Fail(rpmflow.FailureSource, hint,
				"submodules %s and %s have the same path %s in .gitmodules",
				show(min(other.name, m.name)), show(max(other.name, m.name)), show(m.path))
		}
		all[path.Clean(m.path)] = *m
	}
	return all, nil
}

// submoduleURL is what a URL of .gitmodules means in a repository that was fetched from base.
func submoduleURL(base, text string) (string, error) {
	refuse := func(why string) (string, error) {
		return "", rpmflow.Fail(rpmflow.FailureSource,
			"correct url in .gitmodules: a path that begins with ./ or ../, or a URL of https, http or ssh",
			"its URL %q %s", giturl.Redact(text), why)
	}
	switch {
	case text == "":
		return refuse("in .gitmodules is empty")
	case !strings.HasPrefix(text, "./") && !strings.HasPrefix(text, "../"):
		return text, nil
	}
	r, err := parseRemote(base)
	if err != nil {
		return "", err
	}
	joined, ok := r.url.Join(text)
	if !ok {
		return refuse("leads out of the server that the repository is on")
	}
	return joined.String(), nil
}

// submodule gives a submodule's remote its credentials. Anybody who may push writes .gitmodules, so these are the
// project's own, on the project's own server, and none elsewhere: else a submodule could read another project's
// repository, or send a token to another server. Other servers must have public addresses, as those that sources are
// downloaded from.
func (m *Mirrors) submodule(r *remote, of *parent) (*remote, error) {
	project, err := parseRemote(of.url)
	if err != nil {
		return nil, err
	}
	refuse := func(hint, why string) (*remote, error) {
		return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "%s %s", r.clean, why)
	}
	r.parent = of
	switch {
	case r.url.Local():
		if !project.url.Local() {
			return refuse("use a URL in .gitmodules, best a relative one", onDisk)
		}
		return r, nil
	case project.url.SameServer(r.url):
		a := m.Access(project.url)
		a.User = cmp.Or(project.url.User, a.User)
		r.scope = rpmflow.Digest([]byte(project.clean))[:12]
		return r.with(a), nil
	case r.ssh():
		return refuse("use a relative URL in .gitmodules, or one of https",
			"would need an ssh key, and keys are for the server of the project's own repository only")
	case m.Dial == nil:
		return refuse("use a relative URL in .gitmodules", "is on another server than the project's own repository")
	}
	r.scope, r.dial = "public", m.Dial
	return r.with(Access{}), nil
}

const onDisk = "is on a builder's own disk, which only submodules of repositories there may be"

// nested is the request for a submodule.
func (req Request) nested(m module, commit, project string) (Request, error) {
	text, err := submoduleURL(req.URL, m.url)
	if err != nil {
		return Request{}, err
	}
	if u, err := giturl.Parse(text); err == nil && u.Local() && filepath.IsAbs(u.Path) ||
		strings.HasPrefix(text, "file:") {
		if p, err := parseRemote(req.URL); err != nil || !p.url.Local() {
			return Request{}, rpmflow.Fail(rpmflow.FailureSource, "use a URL in .gitmodules, best a relative one",
				"its URL %q %s", giturl.Redact(text), onDisk)
		}
	}
	return Request{Project: req.Project, URL: text, Commit: commit, parent: &parent{url: project}}, nil
}

// submoduleError is an error about a submodule, with the path of the innermost one.
type submoduleError struct {
	at  string
	err error
}

func (e *submoduleError) Error() string { return "submodule " + show(e.at) + ": " + e.err.Error() }
func (e *submoduleError) Unwrap() error { return e.err }

func inSubmodule(at string, err error) error {
	var inner *submoduleError
	if errors.As(err, &inner) {
		return err
	}
	return &submoduleError{at, err}
}
