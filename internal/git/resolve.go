package git

import (
	"context"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/giturl"
)

// resolveTimeout bounds the listing of refs if the caller's context does not.
const resolveTimeout = time.Minute

// Refs are what a remote repository lists.
type Refs struct {
	URL  string // without credentials
	list map[string]listedRef
}

// listedRef is one ref of the list.
type listedRef struct {
	commit string // peeled, if the remote says so
	target string // of a symbolic ref
}

// Refs asks a remote repository for its refs.
func (m *Mirrors) Refs(ctx context.Context, url string) (*Refs, error) {
	return listRefs(ctx, url, m.Access)
}

// Resolver returns a function that asks a repository which commit a branch, a tag, a full ref or HEAD (also "") names,
// and returns the full ref with it. A full commit id is returned as it is, without a ref and without asking. access
// is as in Options.
func Resolver(
	access func(giturl.URL) Access) func(ctx context.Context, url, ref string) (fullRef, commit string, err error) {
	return func(ctx context.Context, url, ref string) (string, string, error) {
		if rpmflow.IsCommit(ref) {
			return "", ref, nil
		}
		refs, err := listRefs(ctx, url, access)
		if err != nil {
			return "", "", err
		}
		if ref == "" {
			ref = "HEAD"
		}
		return refs.Pick(ref)
	}
}

func listRefs(ctx context.Context, url string, access func(giturl.URL) Access) (*Refs, error) {
	r, err := parseRemote(url)
	if err != nil {
		return nil, err
	}
	a := Access{}
	if access != nil {
		a = access(r.url)
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	out, err := r.with(a).git(ctx, nil, nil, "ls-remote", "--quiet", "--symref")
	if err != nil {
		return nil, r.explain("listing refs", err)
	}
	return &Refs{URL: r.clean, list: parseRefs(string(out))}, nil
}

// parseRefs reads lines "<id>\t<name>", where <name>^{} is a peeled tag and "ref: <target>" stands for the id of a
// symbolic ref.
func parseRefs(text string) map[string]listedRef {
	refs := map[string]listedRef{}
	for line := range strings.Lines(text) {
		id, name, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if !ok {
			continue
		}
		name, peeled := strings.CutSuffix(name, "^{}")
		ref := refs[name]
		if target, symbolic := strings.CutPrefix(id, "ref: "); symbolic {
			ref.target = target
		} else if peeled || ref.commit == "" {
			ref.commit = id
		}
		refs[name] = ref
	}
	return refs
}

// Pick returns the full ref and the commit of a branch, a tag, a full ref or HEAD.
func (r *Refs) Pick(ref string) (fullRef, commit string, err error) {
	names := []string{"refs/heads/" + ref, "refs/tags/" + ref}
	if ref == "HEAD" || strings.HasPrefix(ref, "refs/") {
		names = []string{ref}
	}
	var found []string
	for _, name := range names {
		if target := r.list[name].target; target != "" { // HEAD of a repository is a branch, unless detached
			name = target
		}
		if r.list[name].commit != "" {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 0:
		return "", "", rpmflow.Fail(rpmflow.FailureSource, "name a branch, a tag, a full ref, HEAD or a full commit id",
			"%s has no branch or tag %q", r.URL, ref)
	case 2:
		return "", "", rpmflow.Fail(rpmflow.FailureSource, "name "+found[0]+" or "+found[1],
			"%q is both a branch and a tag in %s", ref, r.URL)
	}
	return found[0], r.list[found[0]].commit, nil
}
