// Package git reads git repositories: commits out of mirrors, which are the bare repositories that it keeps on disk.
// URLs, refs and ids of commits come in; trees with readers, archives and the ids that refs name go out, and
// *rpmflow.Failure if the packager must act. Packages source and git/worktree may import it, and programs for Resolver;
// it imports leaf libraries, its own parts and the domain's words only, and is independent of specs, layouts and
// downloads.
package git

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
	"github.com/rpmflow/rpmflow/internal/giturl"
)

// Options says where mirrors are kept, and within which bounds.
type Options struct {
	// Dir holds the mirrors, one bare repository per URL. Several processes may share it.
	Dir    string
	Logger *slog.Logger // slog.Default() if nil
	// FetchTimeout bounds one fetch: 10 minutes if zero. A mirror's lock is waited for twice as long.
	FetchTimeout time.Duration
	// Access returns the credentials for a repository; nil: none but its URL's own.
	Access func(giturl.URL) Access
	// Dial connects to the servers of submodules that are not on the project's own server. nil: such submodules are
	// refused.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// MaxBytes is how much of the disk the mirrors may take together, MaxAge how long an unused one is kept. Both are
	// enforced after a fetch. Zero: without bound.
	MaxBytes int64
	MaxAge   time.Duration
}

// Mirrors are the bare repositories that are kept of remote ones. They may be used by many goroutines, and their
// directory by many processes.
type Mirrors struct{ Options }

// Open makes the directory of mirrors and checks that the git command is installed.
func Open(o Options) (*Mirrors, error) {
	if o.Dir == "" {
		return nil, errors.New("git: no directory for mirrors; set one")
	}
	if err := gitcmd.Check(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("git: directory of mirrors %q: %w", o.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("git: making the directory of mirrors: %w", err)
	}
	o.Dir = dir
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Access == nil {
		o.Access = func(giturl.URL) Access { return Access{} }
	}
	if o.FetchTimeout <= 0 {
		o.FetchTimeout = 10 * time.Minute
	}
	return &Mirrors{o}, nil
}

// Request names a commit of a repository.
type Request struct {
	Project string // for messages and logs
	// URL is the repository: https, http, ssh (also git@host:path), file:// or an absolute path. It may hold
	// credentials; they are used and never repeated.
	URL string
	// Ref is the pushed ref in full (refs/heads/main). Empty: the commit is fetched by its id, which not every server
	// allows.
	Ref string
	// Commit is a full id; the id of an annotated tag stands for the commit that it tags.
	Commit string
	// History asks for all commits behind the commit, and for the repository's tags as they are now. Without it only
	// the commit's tree is fetched, and its parents cannot be read.
	History bool
	// Fetched means that an earlier step has fetched what History asks for: tags are not fetched again.
	Fetched bool

	parent *parent // of a submodule
}

// parent is the project whose submodule is read, which decides which credentials the submodule is read with.
type parent struct {
	url string // of the project's own repository
}
