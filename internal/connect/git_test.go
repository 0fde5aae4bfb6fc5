package connect

import (
	"net/url"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestAccesses(t *testing.T) {
	t.Parallel()
	me, them := url.UserPassword("me", "secret"), url.User("them")
	of := GitAccess(&config.Config{
		Git: config.Git{SSHKeyFile: "/all/key", KnownHostsFile: "/all/hosts"},
		Projects: []rpmflow.Project{
			{Name: "open", URL: "https://example.org/open.git"},
			{Name: "a", URL: "https://example.org/a.git", User: me, Token: "ta",
				Packaging: rpmflow.Packaging{URL: "https://example.org/a-rpm.git"}},
			{Name: "b", URL: "https://example.org/b.git", Token: "tb",
				Packaging: rpmflow.Packaging{URL: "https://elsewhere.example/b-rpm.git"}},
			{Name: "d", URL: "https://example.org/d.git", User: me,
				Packaging: rpmflow.Packaging{URL: "https://elsewhere.example/d-rpm", User: them}},
			{Name: "c", URL: "git@example.org:c.git", SSHKeyFile: "/c/key"},
		},
	})
	all := git.Access{SSHKeyFile: "/all/key", KnownHostsFile: "/all/hosts"}
	with := func(user *url.Userinfo, token string) git.Access {
		return git.Access{User: user, Token: token, SSHKeyFile: all.SSHKeyFile, KnownHostsFile: all.KnownHostsFile}
	}
	for address, want := range map[string]git.Access{
		"https://example.org/open.git":  all,
		"https://example.org/other.git": all,
		"https://example.org/a.git":     with(me, "ta"),
		"https://EXAMPLE.org:443/a":     with(me, "ta"),
		"https://example.org/a-rpm.git": with(nil, "ta"),
		// Neither a token nor a user is its host's, or for another port or protocol.
		"https://elsewhere.example/b-rpm.git": all,
		"https://elsewhere.example/a.git":     all,
		"https://example.org:8443/a.git":      all,
		"http://example.org/a.git":            all,
		"https://elsewhere.example/d-rpm":     with(them, ""),
		"git@example.org:c.git":               {SSHKeyFile: "/c/key", KnownHostsFile: "/all/hosts"},
	} {
		asked, err := giturl.Parse(address)
		testkit.Must(t, err)
		if got := of(asked); got != want {
			t.Errorf("%s: got %+v, want %+v", address, got, want)
		}
	}
}
