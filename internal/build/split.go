package build

import (
	"context"
	"fmt"

	"github.com/rpmflow/rpmflow/internal/source"
)

// request is what to fetch. Of layout split, the commit of the repository that was not pushed to is decided here,
// unless an earlier attempt has done so: every event from here on carries it, also that of a failure.
func (r *run) request(ctx context.Context) (source.Request, error) {
	req := source.Request{
		Project: r.b.Project, URL: r.b.Repository, Ref: r.b.Ref, Commit: r.b.Commit,
		Layout: r.b.Layout, Spec: r.b.Spec, Sources: r.b.Sources,
	}
	req.SourcePackage = r.b.SourcePackage
	if r.b.Split == nil {
		return req, nil
	}
	s := *r.b.Split
	pushed, other := s.Halves()
	if other.Commit == "" {
		found, explanation, err := r.Sources.Match(ctx, other.Repository, pushed.Ref, r.b.Sources.Fallback)
		if err != nil {
			return req, fmt.Errorf("project %q: %w", r.b.Project, err)
		}
		other.Ref, other.Commit = found.Ref, found.Commit
		r.b.Split = &s
		r.note(fmt.Sprintf("the push to the %s repository is built with %s", s.Pushed, explanation))
	}
	req.URL, req.Ref, req.Commit = s.Source.Repository, s.Source.Ref, s.Source.Commit
	req.Packaging = &source.Packaging{URL: s.Packaging.Repository, Ref: s.Packaging.Ref, Commit: s.Packaging.Commit}
	return req, nil
}

// prepared records what the sources turned out to be: commits instead of tags, the layout, the spec, what was
// downloaded.
func (r *run) prepared(d *source.Draft) {
	r.note(d.Explanation)
	r.fetched(d.Layout, d.Files, d.Notes)
	r.b.Commit, r.b.Spec, r.b.Sources.SRPM = d.Commit, d.SpecPath, d.SRPMPath
	if r.b.Split == nil {
		return
	}
	s := *r.b.Split
	s.Source.Commit, s.Packaging.Commit = d.Commit, d.Packaging
	pushed, _ := s.Halves()
	r.b.Split, r.b.Commit = &s, pushed.Commit
}
