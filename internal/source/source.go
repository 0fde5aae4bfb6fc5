// Package source turns a pushed commit into a spec and a directory of sources, and a ref's name into a commit.
// In come a repository's URL, ref and commit, and later the spec as rpm expands it; out come plain files below
// a directory of the caller, and *rpmflow.Failure where the packager has to act.
// Builders and the listener may import it; it imports nothing of ours but the domain.
package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/filetime"
	"github.com/rpmflow/rpmflow/internal/git"
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
	// Allow lists what downloads may connect to although it is not public: host names, addresses, and ranges such as 10.1.0.0/16.
	Allow []string
	// Advice is what failures tell people to do.
	Advice Advice
	// Cache keeps what was downloaded; nil: nothing does.
	Cache Cache
	// Uploads has source packages that are built instead of a commit; nil: there are none.
	Uploads Uploads
	// FetchTimeout bounds one fetch: 10 minutes if zero. A mirror's lock is waited for twice as long.
	FetchTimeout time.Duration
	// Access gives the credentials for the repository with this URL, without credentials in it; nil: none but the URL's own.
	Access func(url string) git.Access
	// MaxBytes is how much of the disk the mirrors may take together, MaxAge how long an unused one is kept. Both are
	// enforced after a fetch. Zero: without bound.
	MaxBytes int64
	MaxAge   time.Duration
}

// Advice says how to have something changed, in words that follow "or". What is empty is that of a project's packagers and operators.
type Advice struct {
	Permit    string // an address that is not public
	Raise     string // the largest file
	Lookaside string // where the files of dist-git's lists are; its names follow
}

// Store keeps the mirrors. It may be used by many goroutines, and its directory by many processes.
type Store struct {
	log       *slog.Logger
	maxFile   int64
	mirrors   *git.Mirrors // nil: only downloads are possible
	client    *fetch.Client
	cache     Cache
	uploads   Uploads
	lookaside string // as in Advice
}

// Open makes the directory of mirrors ready and checks that the git command is there, which makes archives.
func Open(o Options) (*Store, error) {
	s, err := openDownloads(o)
	if err != nil {
		return nil, err
	}
	s.mirrors, err = git.Open(git.Options{Dir: o.Dir, Logger: o.Logger, FetchTimeout: o.FetchTimeout, Access: o.Access,
		Dial: s.client.Dial, MaxBytes: o.MaxBytes, MaxAge: o.MaxAge})
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("source: %w", err)
	}
	return s, nil
}

// openDownloads is a store without mirrors.
func openDownloads(o Options) (*Store, error) {
	s := &Store{log: o.Logger, maxFile: o.MaxFile, cache: o.Cache, uploads: o.Uploads,
		lookaside: cmp.Or(o.Advice.Lookaside, "set lookaside: in the project's configuration:")}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.maxFile <= 0 {
		s.maxFile = 1 << 30
	}
	var err error
	if s.client, err = fetch.New(fetch.Options{Allow: o.Allow, MaxFile: s.maxFile, Permit: o.Advice.Permit, Raise: o.Advice.Raise}); err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	return s, nil
}

// Close drops idle connections of downloads.
func (s *Store) Close() { s.client.Close() }

// Request names what to fetch.
type Request struct {
	Project string
	// URL is the repository: https, http, ssh (also git@host:path), file:// or an absolute path. It may hold
	// credentials; they are used and never repeated.
	URL string
	// WorkTree is a directory on disk that is built as it is, in place of a commit: URL, Ref and Commit are not looked at.
	WorkTree *git.WorkTree
	// Ref is the pushed ref in full (refs/heads/main). Empty: the commit is fetched by its id, which not every server allows.
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
	// History asks for the commits behind the commit too, and for the repository's tags as they are now. Without it only the commit's
	// tree is fetched, and its parents are not there to be read.
	History bool

	fetched   bool          // by an earlier step of the same build
	notBefore time.Time     // of CommitTime
	about     *spec.Facts   // for a spec's template; nil: of Ref and Commit
	version   *spec.Version // of the other repository, of layout split
}

// commit is the commit that is requested.
func (req Request) commit() git.Request {
	return git.Request{Project: req.Project, URL: req.URL, Ref: req.Ref, Commit: req.Commit, History: req.History, Fetched: req.fetched}
}

// read calls use with the tree that is requested, which is valid until use returns. use may be called more than once, and must begin
// from the start each time.
func (s *Store) read(ctx context.Context, req Request, use func(git.Tree) error) error {
	if req.WorkTree != nil {
		return use(req.WorkTree)
	}
	return s.mirrors.Read(ctx, req.commit(), func(c *git.Commit) error { return use(c) })
}

// Packaging is a commit of the other repository of layout split, as in Request.
type Packaging struct{ URL, Ref, Commit string }

// Prepared is a commit's spec and sources on disk.
type Prepared struct {
	Spec    string // file on disk
	Sources string // directory on disk: what rpm calls %_sourcedir
	Layout  rpmflow.Layout
	// Explanation says in words how the layout was found.
	Explanation string
	SpecPath    string // of the spec in the repository
	// SRPM is a source package on disk, in place of spec and sources; SRPMPath is its path in the repository.
	SRPM, SRPMPath string
	Commit         string // what the pushed id led to: never a tag
	// Packaging is that of the packaging repository, of layout split only.
	Packaging string
	// CommitTime is the committer's date, of layout split the later of both. All files have it as their modification time, so that the same commit makes the same SRPM.
	CommitTime time.Time
	// Files are the sources that are not in git, as far as they are there; Notes are remarks on the way to them.
	Files []rpmflow.SourceFile
	Notes []string

	// Version is what the spec's Version was replaced with; "" where it was not.
	Version string

	automatic []string // macros of rpmautospec in the spec
	store     *Store
	request   Request
	// leftOut tells why a file beside an in-tree spec was not copied: a mistake only if the spec names it.
	leftOut map[string]*rpmflow.Failure
	// pending are those of which there is only a pointer of Git LFS so far.
	pending []pending
	// listed is what dist-git's lists name, of the package listedAs.
	listed   []listed
	listedAs string
	deferred []listed // those that the spec may have a URL of, where there is no lookaside
	// unsure: the spec may name a file that is not there.
	unsure bool
	// dirs are where the sources of a spec on disk lie; clean: what is taken is as it is in Commit.
	dirs  []string
	clean bool
	look  *look // as of the plan
}

// Prepare fetches the pushed ref into the repository's mirror unless the commit is there already, finds the layout
// and writes spec and sources to dir/SPECS and dir/SOURCES, replacing what is there.
//
// What the packager can mend is a *rpmflow.Failure; any other error is ours or the network's, and worth a retry.
func (s *Store) Prepare(ctx context.Context, req Request, dir string) (*Prepared, error) {
	prepare := s.prepare
	req.History = req.History || req.Sources.Version == rpmflow.VersionFromGit
	if req.Layout == rpmflow.LayoutSplit {
		prepare = s.prepareSplit
	}
	if req.SourcePackage != nil {
		prepare = func(ctx context.Context, req Request, dir string) (*Prepared, error) {
			return s.prepareUpload(ctx, *req.SourcePackage, dir)
		}
	}
	p, err := prepare(ctx, req, dir)
	// No mirror is locked any more. Where Source0 is made, many files lie beside the spec that it does not name; Complete knows.
	if err == nil && !p.makesSource0() {
		err = p.fetchPending(ctx, func(string) bool { return true })
	}
	if err == nil && p.SRPM == "" {
		err = p.fetchListed(ctx)
		if err == nil && !p.makesSource0() {
			err = p.compareKnown()
		}
		if err == nil {
			p.unsure, err = p.mayMiss()
			// Of what lies on disk only what rpm names is taken.
			p.unsure = p.unsure || len(p.deferred) > 0 || req.WorkTree != nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("project %q: %w", req.Project, err)
	}
	s.log.Debug("sources prepared", "project", req.Project, "commit", p.Commit, "spec", p.SpecPath, "layout", p.Layout)
	return p, nil
}

func (s *Store) prepare(ctx context.Context, req Request, dir string) (p *Prepared, err error) {
	err = s.read(ctx, req, func(tree git.Tree) (err error) {
		p, err = s.write(ctx, tree, req, dir)
		return err
	})
	return p, err
}

func (s *Store) write(ctx context.Context, tree git.Tree, req Request, dir string) (_ *Prepared, err error) {
	plan, err := findLayout(ctx, tree, req, s.maxFile)
	if err != nil {
		return nil, err
	}
	if plan.srpm != nil {
		return s.writeSRPM(ctx, tree, plan, req, dir)
	}
	version := req.version
	if version == nil && req.Sources.Version == rpmflow.VersionFromGit {
		if version, err = gitVersion(ctx, tree, req.Sources.VersionTags); err != nil {
			return nil, err
		}
	}
	commit, when := tree.Revision()
	p := &Prepared{
		Spec:        filepath.Join(dir, "SPECS", strings.TrimSuffix(plan.spec.Name(), ".in")),
		Sources:     filepath.Join(dir, "SOURCES"),
		Layout:      plan.layout,
		Explanation: plan.why,
		SpecPath:    plan.spec.Found,
		Commit:      commit,
		CommitTime:  later(when, req.notBefore),
		store:       s,
		request:     req,
		leftOut:     map[string]*rpmflow.Failure{},
		listed:      plan.listed,
		listedAs:    plan.listedAs,
	}
	if req.WorkTree != nil {
		if err := p.takeState(ctx, req.WorkTree, plan); err != nil {
			return nil, err
		}
	}
	if plan.note != "" {
		p.Notes = append(p.Notes, plan.note)
	}
	for _, d := range []string{filepath.Dir(p.Spec), p.Sources} {
		// A second try in the same directory must not find the first one's files.
		if err := errors.Join(os.RemoveAll(d), os.MkdirAll(d, 0o755)); err != nil {
			return nil, fmt.Errorf("making %s: %w", d, err)
		}
	}
	out, err := p.checkout(ctx, tree, append([]git.File{plan.spec}, plan.sources...), dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.remove()) }()
	if err := out.writeSpec(ctx, plan.spec, p.Spec); err != nil {
		return nil, err
	}
	if spec.IsTemplate(plan.spec.Name()) {
		known := spec.FactsOf(req.Ref, p.Commit)
		if req.about != nil {
			known = *req.about
		}
		if version != nil {
			known.Version = version.Version
		}
		if err := p.fillTemplate(req.Sources.Substitute, known); err != nil {
			return nil, err
		}
	}
	if err := p.setVersion(version); err != nil {
		return nil, err
	}
	if req.WorkTree != nil {
		return p, p.copyNamed(ctx)
	}
	for _, f := range plan.sources {
		err := out.writeSource(ctx, f, p.Sources, f.Name())
		var mistake *rpmflow.Failure
		if p.makesSource0() && errors.As(err, &mistake) {
			p.leftOut[f.Name()] = mistake
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// checkout writes files of a tree to the directories of a build.
type checkout struct {
	*Prepared
	tree    git.Tree
	files   *git.Checkout
	scratch string
	server  *git.LFSServer // of the repository, once it is needed
}

func (p *Prepared) checkout(ctx context.Context, tree git.Tree, files []git.File, dir string) (*checkout, error) {
	c := &checkout{Prepared: p, tree: tree, scratch: filepath.Join(dir, "converted")}
	var err error
	c.files, err = tree.Checkout(ctx, files, git.CheckoutOptions{Scratch: c.scratch, MaxFile: p.store.maxFile, Time: p.CommitTime,
		LFS: p.request.Sources.LFS})
	if err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

// remove removes temporary files.
func (c *checkout) remove() error { return os.RemoveAll(c.scratch) }

// writeSpec writes the spec, which must not be in Git LFS.
func (c *checkout) writeSpec(ctx context.Context, f git.File, to string) error {
	pointer, err := c.files.Write(ctx, f, filepath.Dir(to), filepath.Base(to))
	if err == nil && pointer != nil {
		err = rpmflow.Fail(rpmflow.FailureSource, "commit the file itself", "%s is a Git LFS pointer, not the file", show(f.Path))
	}
	return err
}

// writeSource writes a file beside the spec, or a source package. One that is in Git LFS is fetched later, when no mirror is locked.
func (c *checkout) writeSource(ctx context.Context, f git.File, dir, as string) error {
	pointer, err := c.files.Write(ctx, f, dir, as)
	if err != nil || pointer == nil {
		return err
	}
	if commit, is := c.tree.(*git.Commit); is && c.server == nil {
		if c.server, err = commit.LFSServer(ctx); err != nil {
			return err
		}
	}
	c.pending = append(c.pending, pending{Pointer: *pointer, as: as, mode: f.Perm(), server: c.server})
	return nil
}

// setVersion writes the version of git into the spec, and notes what the spec leaves to rpmautospec.
func (p *Prepared) setVersion(v *spec.Version) error {
	text, err := os.ReadFile(p.Spec)
	if err != nil {
		return fmt.Errorf("reading the spec: %w", err)
	}
	if v != nil {
		edited, err := v.Edit(string(text))
		if err != nil {
			return err
		}
		text = []byte(edited)
		if err := p.writeSpec(text); err != nil {
			return err
		}
		p.Version = v.Version
		p.Explanation += "; " + v.String()
	}
	p.automatic = spec.Automatic(string(text))
	return nil
}

// fillTemplate makes the spec out of the template that was written to p.Spec.
func (p *Prepared) fillTemplate(list []rpmflow.Substitution, f spec.Facts) error {
	text, err := os.ReadFile(p.Spec)
	if err != nil {
		return fmt.Errorf("reading the template of the spec: %w", err)
	}
	if text, err = spec.Substitute(text, list, f, p.SpecPath); err != nil {
		return err
	}
	p.Explanation += fmt.Sprintf("; %s is made of %s", show(filepath.Base(p.Spec)), show(path.Base(p.SpecPath)))
	return p.writeSpec(text)
}

// writeSpec replaces the text of the spec on disk.
func (p *Prepared) writeSpec(text []byte) error {
	if err := os.WriteFile(p.Spec, text, 0o644); err != nil {
		return fmt.Errorf("writing the spec: %w", err)
	}
	return filetime.Set(p.Spec, p.CommitTime)
}

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

// Automatic reports whether the spec leaves Release or changelog to rpmautospec, so that its expansion is to be shown to CheckAutomatic.
func (p *Prepared) Automatic() bool { return len(p.automatic) > 0 }

// CheckAutomatic looks whether the target knows the macros of rpmautospec. In come the expanded spec, or what rpm said instead of
// expanding it; out comes a remark for the packager, or the error.
func (p *Prepared) CheckAutomatic(expanded []byte, err error) (remark string, _ error) {
	return spec.CheckAutomatic(p.automatic, expanded, err)
}

// NeedsExpansion reports whether Source0 has to be made, or a source may have to be downloaded, for which Complete needs the spec as rpm
// expands it, or whether rpmautospec's macros are to be looked for. The second is a guess, made without rpm: Complete does no harm where it was not asked for, and helps where rpm misses a source.
func (p *Prepared) NeedsExpansion() bool { return p.makesSource0() || p.unsure || p.Automatic() }

func (p *Prepared) makesSource0() bool {
	return p.Layout == rpmflow.LayoutInTree || p.Layout == rpmflow.LayoutSplit
}
