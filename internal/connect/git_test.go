package connect

import (
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/git"
)

func TestAccesses(t *testing.T) {
	t.Parallel()
	of := GitAccess(&config.Config{
		Git: config.Git{SSHKeyFile: "/all/key", KnownHostsFile: "/all/hosts"},
		Projects: []rpmflow.Project{
			{Name: "open", URL: "https://example.org/open.git"},
			{Name: "a", URL: "https://me@example.org/a.git", Token: "ta",
				Packaging: rpmflow.Packaging{URL: "https://example.org/a-rpm.git"}},
			{Name: "b", URL: "https://example.org/b.git", Token: "tb",
				Packaging: rpmflow.Packaging{URL: "https://elsewhere.example/b-rpm.git"}},
			{Name: "c", URL: "git@example.org:c.git", SSHKeyFile: "/c/key"},
		},
	})
	for url, want := range map[string]git.Access{
		"https://example.org/open.git":  {SSHKeyFile: "/all/key", KnownHostsFile: "/all/hosts"},
		"https://example.org/other.git": {SSHKeyFile: "/all/key", KnownHostsFile: "/all/hosts"},
		"https://example.org/a.git":     {Token: "ta", SSHKeyFile: "/all/key", KnownHostsFile: "/all/hosts"},
		"https://example.org/a-rpm.git": {Token: "ta", SSHKeyFile: "/all/key", KnownHostsFile: "/all/hosts"},
		// the token is not its host's
		"https://elsewhere.example/b-rpm.git": {SSHKeyFile: "/all/key", KnownHostsFile: "/all/hosts"},
		"git@example.org:c.git":               {SSHKeyFile: "/c/key", KnownHostsFile: "/all/hosts"},
	} {
		if got := of(url); got != want {
			t.Errorf("%s: got %+v, want %+v", url, got, want)
		}
	}
}
