// Package source turns a commit into a source package: it combines package git, package spec and package fetch,
// and has the layouts of repositories. A commit or a directory goes in and a Draft comes out; given the target's rpm,
// the draft is completed to a spec with all of its sources and to their source package, or to a *rpmflow.Failure if the
// packager must act. Builds, local builds and the listener may import it; it imports the three packages and leaf
// packages.
package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/printable"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// Options says where and within which bounds a Store works.
type Options struct {
	// Dir holds the mirrors, one bare repository per URL. Several builders may share it.
	Dir    string
	Logger *slog.Logger // slog.Default() if nil
	// MaxFile is the largest file, in bytes, taken from git, made of it or downloaded: 1 GiB if zero.
	MaxFile int64
	// Allow lists what downloads may connect to although it is not public: host names, addresses and ranges such as
	// 10.1.0.0/16.
	Allow []string
	// Advice is what failures advise people to do.
	Advice Advice
	// Cache keeps what was downloaded; nil: nothing does.
	Cache fetch.Cache
	// Uploads has source packages that are built instead of a commit; nil: there are none.
	Uploads Uploads
	// FetchTimeout bounds one fetch: 10 minutes if zero. A mirror's lock is waited for twice as long.
	FetchTimeout time.Duration
	// Access returns the credentials for a repository; nil: none but its URL's own.
	Access func(giturl.URL) git.Access
	// MaxBytes is how much of the disk the mirrors may take together, MaxAge how long an unused one is kept. Both are
	// enforced after a fetch. Zero: without bound.
	MaxBytes int64
	MaxAge   time.Duration
}

// Advice says how to have a setting changed, in words that follow "or". Empty ones name the setting of a project or a
// builder.
type Advice struct {
	fetch.Advice
	Lookaside string // to name where the files of dist-git's lists are; the possible names follow
}

// Store keeps the mirrors. It may be used by many goroutines, and its directory by many processes.
type Store struct {
	log     *slog.Logger
	maxFile int64
	mirrors *git.Mirrors
	client  *fetch.Client
	uploads Uploads
	advice  Advice
}

// Open makes the directory of mirrors ready and checks that the git command is there, which makes archives.
func Open(o Options) (*Store, error) {
	s := &Store{log: o.Logger, maxFile: o.MaxFile, uploads: o.Uploads, advice: o.Advice}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.maxFile <= 0 {
		s.maxFile = 1 << 30
	}
	var err error
	s.client, err = fetch.New(fetch.Options{Allow: o.Allow, MaxFile: s.maxFile, Advice: o.Advice.Advice, Cache: o.Cache,
		Logger: s.log})
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	s.mirrors, err = git.Open(git.Options{Dir: o.Dir, Logger: o.Logger, FetchTimeout: o.FetchTimeout, Access: o.Access,
		Dial: s.client.Dial, MaxBytes: o.MaxBytes, MaxAge: o.MaxAge})
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("source: %w", err)
	}
	return s, nil
}

// Download gets a file from a URL into a new file, with these checksums.
func (s *Store) Download(
	ctx context.Context, url string, known []checksum.Checksum, to string,
) (rpmflow.SourceFile, error) {
	return s.client.Download(ctx, url, known, to)
}

// Close drops idle connections of downloads.
func (s *Store) Close() { s.client.Close() }

// Request names what to fetch.
type Request struct {
	Project string
	// URL is the repository: https, http, ssh (also git@host:path), file:// or an absolute path. It may hold
	// credentials; they are used and never repeated.
	URL string
	// WorkTree is a directory on disk that is built as it is, in place of a commit: URL, Ref and Commit are not looked
	// at.
	WorkTree *worktree.Tree
	// Ref is the pushed ref in full (refs/heads/main). Empty: the commit is fetched by its id, which not every server
	// allows.
	Ref string
	// Commit is what was pushed; the id of an annotated tag stands for the commit that it tags.
	Commit string
	Layout rpmflow.Layout // auto if empty
	Spec   string         // path in the repository; empty: there must be exactly one
	// SourcePackage is built instead of a commit; only Project counts besides.
	SourcePackage *rpmflow.SourcePackage
	// Sources is what the project says beyond that.
	Sources rpmflow.Sources
	// Packaging is where layout split has spec and sources; URL, Ref and Commit are the source tree's.
	Packaging *Packaging
	// History asks for the commits behind the commit too, and for the repository's tags as they are now. Without it
	// only the commit's tree is fetched, and its parents are not there to be read.
	History bool

	fetched   bool          // by an earlier step of the same build
	notBefore time.Time     // of CommitTime
	about     *spec.Facts   // for a spec's template; nil: of Ref and Commit
	version   *spec.Version // of the other repository, of layout split
}

// commit is the commit that is requested.
func (req Request) commit() git.Request {
	return git.Request{Project: req.Project, URL: req.URL, Ref: req.Ref, Commit: req.Commit, History: req.History,
		Fetched: req.fetched}
}

// read calls use with the tree that is requested, which is valid until use returns. use may be called more than once,
// and must begin from the start each time.
func (s *Store) read(ctx context.Context, req Request, use func(git.Tree) error) error {
	if req.WorkTree != nil {
		return use(req.WorkTree)
	}
	return s.mirrors.Read(ctx, req.commit(), func(c *git.Commit) error { return use(c) })
}

// Packaging is a commit of the other repository of layout split, as in Request.
type Packaging struct{ URL, Ref, Commit string }

func show(name string) string { return printable.Name(name) }

func short(commit string) string { return commit[:min(len(commit), 12)] }

// failureOf is the packager's failure in an error, nil if there is none.
func failureOf(err error) *rpmflow.Failure {
	var f *rpmflow.Failure
	if errors.As(err, &f) {
		return f
	}
	return nil
}
