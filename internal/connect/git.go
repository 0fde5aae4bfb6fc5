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
func GitAccess(cfg *config.Config) func(repository string) git.Access {
	return func(repository string) git.Access {
		all := git.Access{SSHKeyFile: cfg.Git.SSHKeyFile, KnownHostsFile: cfg.Git.KnownHostsFile}
		for _, p := range cfg.Projects {
			own := giturl.Redact(p.URL) == repository
			if !own && giturl.Redact(p.Packaging.URL) != repository ||
				p.Token == "" && p.SSHKeyFile == "" && p.KnownHostsFile == "" {
				continue
			}
			a := git.Access{
				SSHKeyFile:     cmp.Or(p.SSHKeyFile, all.SSHKeyFile),
				KnownHostsFile: cmp.Or(p.KnownHostsFile, all.KnownHostsFile),
			}
			// A token is not sent to another server. What cannot be parsed is on none.
			project, _ := giturl.Parse(p.URL)
			asked, _ := giturl.Parse(repository)
			if own || project.SameServer(asked) {
				a.Token = p.Token
			}
			return a
		}
		return all
	}
}
