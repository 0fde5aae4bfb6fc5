package listener

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/listener/plan"
	"github.com/rpmflow/rpmflow/internal/readmodel"
)

func (l *Listener) submit(_ http.ResponseWriter, r *http.Request) (int, any, *problem) {
	body, p := l.body(r)
	if p != nil {
		return 0, nil, p
	}
	var s api.Submission
	const form = `send {"project": …, "ref": …, "commit": …, "packages": […], "targets": […]}; only project is required`
	if p := httpd.Decode(body, &s, false, form); p != nil {
		return 0, nil, p
	}
	push, refusal := l.planner.Submit(r.Context(), plan.Submission(s), idempotencyKey(r))
	if refusal != nil {
		return 0, nil, refused(refusal)
	}
	return l.receive(r.Context(), push)
}

func (l *Listener) list(_ http.ResponseWriter, r *http.Request) (int, any, *problem) {
	v := r.URL.Query()
	q := readmodel.Query{
		Project: v.Get("project"), Package: v.Get("package"), Target: v.Get("target"), Ref: v.Get("ref"),
		Commit: v.Get("commit"), Push: v.Get("push"),
		State: rpmflow.State(v.Get("state")), Result: rpmflow.Result(v.Get("result")),
		Kind:  rpmflow.FailureKind(v.Get("kind")),
		Limit: api.DefaultPage, Cursor: v.Get("cursor"),
	}
	if s := v.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > api.MaxPage {
			return 0, nil, problemf(http.StatusBadRequest, fmt.Sprintf("use 1 to %d; next pages through more",
				api.MaxPage),
				"limit %q is out of range", s)
		}
		q.Limit = n
	}
	if p := l.checkFilters(r.Context(), q); p != nil {
		return 0, nil, p
	}
	builds, next, err := l.projection.Model.List(r.Context(), q)
	if errors.Is(err, readmodel.ErrCursor) {
		return 0, nil, problemf(http.StatusBadRequest,
			"take it from next of the page before, or leave it out to begin with the newest", "%v", err)
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
