package connect

import (
	"cmp"
	"log/slog"
	"path/filepath"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/source"
)

// Sources opens the git mirrors in the data directory. cache and uploads may be nil.
func Sources(
	cfg *config.Config, cache fetch.Cache, uploads source.Uploads, log *slog.Logger,
) (*source.Store, error) {
	return source.Open(source.Options{
		Dir: filepath.Join(cfg.DataDir, "mirrors"), Logger: log, Access: GitAccess(cfg),
		MaxBytes: int64(cfg.Git.MirrorsMax), MaxAge: cfg.Git.MirrorsAge,
		MaxFile: int64(cfg.Builder.MaxSource), Allow: cfg.Builder.AllowAddresses, Cache: cache, Uploads: uploads,
	})
}

// GitAccess returns the credentials for a repository: those of the project that has it, else those of all repositories.
func GitAccess(cfg *config.Config) func(giturl.URL) git.Access {
	return func(asked giturl.URL) git.Access {
		a := git.Access{SSHKeyFile: cfg.Git.SSHKeyFile, KnownHostsFile: cfg.Git.KnownHostsFile}
		for _, p := range cfg.Projects {
			project, _ := giturl.Parse(p.URL) // what cannot be parsed is on no server
			packaging, _ := giturl.Parse(p.Packaging.URL)
			user := p.User
			switch {
			case asked.SameServer(project) && asked.Same(project):
			case asked.SameServer(packaging) && asked.Same(packaging):
				user = p.Packaging.User
			default:
				continue
			}
			if user == nil && p.Token == "" && p.SSHKeyFile == "" && p.KnownHostsFile == "" {
				continue
			}
			a.User = user
			if asked.SameServer(project) { // a token is not sent to another server
				a.Token = p.Token
			}
			a.SSHKeyFile = cmp.Or(p.SSHKeyFile, a.SSHKeyFile)
			a.KnownHostsFile = cmp.Or(p.KnownHostsFile, a.KnownHostsFile)
			break
		}
		return a
	}
}
