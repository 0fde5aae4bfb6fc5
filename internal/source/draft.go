package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/filetime"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// Draft is what can be said of a commit from its tree: a spec, and those of its sources that were found without rpm.
// Complete gets the rest.
type Draft struct {
	Layout rpmflow.Layout
	// Explanation says in words how the layout was found.
	Explanation string
	Commit      string // what the pushed id led to: never a tag
	Packaging   string // the commit of the packaging repository; of layout split only
	// CommitTime is the committer's date; of layout split the later one of both. All files have it as their
	// modification time, so that the same commit makes the same source package.
	CommitTime time.Time

	SpecPath string // of the spec in the repository
	Spec     string // file on disk
	Sources  string // directory on disk: what rpm calls %_sourcedir
	Version  string // what the spec's Version was replaced by; "" if it was not
	// SRPM is a source package on disk that is rebuilt, in place of a spec; SRPMPath is its path in the repository.
	// Sources are then the files that it was made without, if there are any.
	SRPM, SRPMPath string

	// Files are the sources so far that are not in git; Notes are remarks for the packager.
	Files []rpmflow.SourceFile
	Notes []string

	store     *Store
	request   Request
	automatic []string // macros of rpmautospec in the spec
	// leftOut is why a file next to the spec was not copied: a mistake only if the spec names it.
	leftOut map[string]*rpmflow.Failure
	// pending are those with only a pointer of Git LFS.
	pending []pending
	// listed is what dist-git's lists name, of the package listedAs.
	listed   []fetch.Listed
	listedAs string
	deferred []fetch.Listed // those that the spec may have a URL of, if there is no lookaside
	// unsure: the spec may name a file that is not there.
	unsure bool
	// dirs are where the sources of a spec on disk are; clean: what is taken is as it is in Commit.
	dirs  []string
	clean bool
	clues *clues // as in the plan
}

// Prepare fetches the pushed ref into the repository's mirror unless the commit is there already, finds the layout
// and writes spec and sources to dir/SPECS and dir/SOURCES, replacing what is there.
//
// An error that the packager can fix is a *rpmflow.Failure; any other is ours or the network's, and worth a retry.
func (s *Store) Prepare(ctx context.Context, req Request, dir string) (*Draft, error) {
	prepare := s.prepare
	req.History = req.History || req.Sources.Version == rpmflow.VersionFromGit
	if req.Layout == rpmflow.LayoutSplit {
		prepare = s.prepareSplit
	}
	if req.SourcePackage != nil {
		prepare = func(ctx context.Context, req Request, dir string) (*Draft, error) {
			return s.prepareUpload(ctx, *req.SourcePackage, dir)
		}
	}
	d, err := prepare(ctx, req, dir)
	// No mirror is locked any more. If Source0 is made, many files are next to the spec that it does not name: Complete
	// decides.
	if err == nil && !d.Layout.Archive() {
		err = d.fetchPending(ctx, func(string) bool { return true })
	}
	if err == nil && d.SRPM == "" {
		err = d.fetchListed(ctx)
		if err == nil && !d.Layout.Archive() {
			err = d.compareKnown()
		}
		if err == nil {
			d.unsure, err = d.mayMiss()
			// Of what is on disk only what rpm names is copied.
			d.unsure = d.unsure || len(d.deferred) > 0 || req.WorkTree != nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("project %q: %w", req.Project, err)
	}
	s.log.Debug("sources prepared", "project", req.Project, "commit", d.Commit, "spec", d.SpecPath, "layout", d.Layout)
	return d, nil
}

func (s *Store) prepare(ctx context.Context, req Request, dir string) (d *Draft, err error) {
	err = s.read(ctx, req, func(tree git.Tree) (err error) {
		d, err = s.write(ctx, tree, req, dir)
		return err
	})
	return d, err
}

func (s *Store) write(ctx context.Context, tree git.Tree, req Request, dir string) (_ *Draft, err error) {
	plan, err := finder{tree, req, s.maxFile}.find(ctx)
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
	name := strings.TrimSuffix(plan.spec.Name(), ".in")
	if strings.ContainsAny(name, " \t\r\n'\"`$&;|<>()*?[]{}\\!#~") { // mock names the spec to a shell as it is
		return nil, rpmflow.Fail(rpmflow.FailureSource, "rename it: git mv",
			"the name of the spec %s has a space or another character that a shell reads", show(plan.spec.Found))
	}
	commit, when := tree.Revision()
	d := &Draft{
		Spec:        filepath.Join(dir, "SPECS", name),
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
		if err := d.takeState(ctx, req.WorkTree, plan); err != nil {
			return nil, err
		}
	}
	if plan.note != "" {
		d.Notes = append(d.Notes, plan.note)
	}
	for _, d := range []string{filepath.Dir(d.Spec), d.Sources} {
		if err := makeEmpty(d); err != nil {
			return nil, err
		}
	}
	out, err := d.checkout(ctx, tree, append([]git.File{plan.spec}, plan.sources...), dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.remove()) }()
	if err := out.writeSpec(ctx, plan.spec, d.Spec); err != nil {
		return nil, err
	}
	if spec.IsTemplate(plan.spec.Name()) {
		known := spec.FactsOf(req.Ref, d.Commit)
		if req.about != nil {
			known = *req.about
		}
		if version != nil {
			known.Version = version.Version
		}
		if err := d.fillTemplate(req.Sources.Substitute, known); err != nil {
			return nil, err
		}
	}
	if err := d.setVersion(version); err != nil {
		return nil, err
	}
	if req.WorkTree != nil {
		return d, d.copyNamed(ctx)
	}
	for _, f := range plan.sources {
		err := out.writeSource(ctx, f, d.Sources, f.Name())
		var mistake *rpmflow.Failure
		if d.Layout.Archive() && errors.As(err, &mistake) {
			d.leftOut[f.Name()] = mistake
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

// makeEmpty makes a directory. A second try in the same one must not find the first one's files.
func makeEmpty(dir string) error {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	return nil
}

// setVersion writes the version of git into the spec, and notes what the spec leaves to rpmautospec.
func (d *Draft) setVersion(v *spec.Version) error {
	text, err := os.ReadFile(d.Spec)
	if err != nil {
		return fmt.Errorf("reading the spec: %w", err)
	}
	if v != nil {
		edited, err := v.Edit(string(text))
		if err != nil {
			return err
		}
		text = []byte(edited)
		if err := d.writeSpec(text); err != nil {
			return err
		}
		d.Version = v.Version
		d.Explanation += "; " + v.String()
	}
	d.automatic = spec.Automatic(string(text))
	return nil
}

// fillTemplate makes the spec out of the template that was written to d.Spec.
func (d *Draft) fillTemplate(list []rpmflow.Substitution, f spec.Facts) error {
	text, err := os.ReadFile(d.Spec)
	if err != nil {
		return fmt.Errorf("reading the template of the spec: %w", err)
	}
	if text, err = spec.Substitute(text, list, f, d.SpecPath); err != nil {
		return err
	}
	d.Explanation += fmt.Sprintf("; %s is made of %s", show(filepath.Base(d.Spec)), show(path.Base(d.SpecPath)))
	return d.writeSpec(text)
}

// writeSpec replaces the text of the spec on disk.
func (d *Draft) writeSpec(text []byte) error {
	if err := os.WriteFile(d.Spec, text, 0o644); err != nil {
		return fmt.Errorf("writing the spec: %w", err)
	}
	return filetime.Set(d.Spec, d.CommitTime)
}

// needsExpansion reports whether Complete needs the spec as rpm expands it: to make Source0, to download a source that
// may be missing, or to check the macros of rpmautospec. That a source is missing is a guess made without rpm.
func (d *Draft) needsExpansion() bool { return d.Layout.Archive() || d.unsure || len(d.automatic) > 0 }
