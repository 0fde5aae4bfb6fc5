package listener

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/readmodel"
)

func (l *Listener) submit(_ http.ResponseWriter, r *http.Request) (int, any, *problem) {
	body, p := l.body(r)
	if p != nil {
		return 0, nil, p
	}
	var s api.Submission
	if p := httpd.Decode(body, &s, false, `send {"project": …, "ref": …, "commit": …, "packages": […], "targets": […]}; only project is required`); p != nil {
		return 0, nil, p
	}
	project, p := l.project(s.Project)
	if p != nil {
		return 0, nil, p
	}
	targets, p := l.forTargets(project, s.Targets)
	if p != nil {
		return 0, nil, p
	}
	ref, commit, p := l.resolveRef(r.Context(), project, s)
	if p != nil {
		return 0, nil, p
	}
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		key = uuid.NewString()
	}
	change := forge.Change{Ref: ref, Commit: commit}
	chosen, p := l.named(r.Context(), project, change, s.Packages)
	if p != nil {
		return 0, nil, p
	}
	push := newPush(project, forge.SubmissionKey(key), change, forge.API, time.Now())
	if project.Layout == rpmflow.LayoutSplit {
		push.Half = rpmflow.HalfSource
	}
	push.Builds = l.builds(project, push, chosen, targets)
	return l.receive(r.Context(), push)
}

func (l *Listener) resolveRef(ctx context.Context, project rpmflow.Project, s api.Submission) (ref, commit string, _ *problem) {
	if s.Commit != "" && !rpmflow.IsCommit(s.Commit) {
		return "", "", problemf(http.StatusBadRequest, "give the full commit id, or leave it out to build the ref's present one", "commit %q is not a full commit id", s.Commit)
	}
	if s.Commit != "" && strings.HasPrefix(s.Ref, "refs/") {
		return s.Ref, s.Commit, nil
	}
	wanted := s.Ref
	if wanted == "" {
		wanted = "HEAD"
	}
	ref, commit, err := l.resolve(ctx, project.URL, wanted)
	var f *rpmflow.Failure
	if s.Ref == "" && errors.As(err, &f) { // HEAD names no branch that is there
		for _, branch := range project.Branches {
			if strings.ContainsAny(branch, `*?[{\!`) {
				continue // a pattern
			}
			if r, c, err := l.resolve(ctx, project.URL, "refs/heads/"+branch); err == nil {
				ref, commit, f = r, c, nil
				break
			}
		}
		if f == nil {
			err = nil
		}
	}
	if errors.As(err, &f) {
		return "", "", problemf(http.StatusBadRequest, f.Hint, "project %q: %v", project.Name, f)
	}
	if err != nil {
		l.log.Warn("ref not resolved", "project", project.Name, "ref", wanted, "error", err)
		return "", "", problemf(http.StatusBadGateway, "check the repository's server, or give commit and the full ref (refs/heads/…)", "project %q: %s cannot be asked which commit %s is", project.Name, giturl.Redact(project.URL), wanted)
	}
	if s.Commit != "" {
		commit = s.Commit
	}
	return ref, commit, nil
}

func (l *Listener) list(_ http.ResponseWriter, r *http.Request) (int, any, *problem) {
	v := r.URL.Query()
	q := readmodel.Query{
		Project: v.Get("project"), Package: v.Get("package"), Target: v.Get("target"), Ref: v.Get("ref"), Commit: v.Get("commit"), Push: v.Get("push"),
		State: rpmflow.State(v.Get("state")), Result: rpmflow.Result(v.Get("result")), Kind: rpmflow.FailureKind(v.Get("kind")),
		Limit: api.DefaultPage, Cursor: v.Get("cursor"),
	}
	if s := v.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > api.MaxPage {
			return 0, nil, problemf(http.StatusBadRequest, fmt.Sprintf("use 1 to %d; next pages through more", api.MaxPage), "limit %q is out of range", s)
		}
		q.Limit = n
	}
	if p := l.checkFilters(r.Context(), q); p != nil {
		return 0, nil, p
	}
	builds, next, err := l.projection.model.List(r.Context(), q)
	if errors.Is(err, readmodel.ErrCursor) {
		return 0, nil, problemf(http.StatusBadRequest, "leave cursor out to begin with the newest", "%v", err)
	}
	if err != nil {
		return 0, nil, l.unavailable("listing builds", err)
	}
	if builds == nil {
		builds = []rpmflow.Build{}
	}
	return http.StatusOK, api.BuildList{Builds: builds, Next: next}, nil
}

func (l *Listener) show(_ http.ResponseWriter, r *http.Request) (int, any, *problem) {
	b, p := l.build(r.Context(), r.PathValue("id"))
	if p != nil {
		return 0, nil, p
	}
	return http.StatusOK, b, nil
}

// build reads a record.
func (l *Listener) build(ctx context.Context, id string) (rpmflow.Build, *problem) {
	last, p := l.last(ctx, id)
	return last.Build, p
}
