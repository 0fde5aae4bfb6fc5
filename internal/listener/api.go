package listener

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/readmodel"
	"github.com/rpmflow/rpmflow/internal/source"
)

func (l *Listener) handler() http.Handler {
	mux := http.NewServeMux()
	for _, f := range forge.Forges() {
		mux.HandleFunc("POST /hooks/"+f.Name+"/{project}", l.hook(f))
	}
	mux.HandleFunc("POST /api/v1/builds", l.handle(l.submit))
	mux.HandleFunc("GET /api/v1/builds", l.handle(l.list))
	mux.HandleFunc("GET /api/v1/builds/{id}", l.handle(l.show))
	mux.HandleFunc("POST /api/v1/builds/{id}/cancel", l.handle(l.cancel))
	mux.HandleFunc("POST /api/v1/builds/{id}/retry", l.handle(l.retry))
	mux.HandleFunc("GET /api/v1/builds/{id}/log", l.buildLog)
	mux.HandleFunc("POST /api/v1/builds/srpm", l.submitSRPM)
	mux.HandleFunc("GET /api/v1/projects", l.handle(l.projects))
	mux.HandleFunc("GET /api/v1/targets", l.handle(l.targets))
	mux.HandleFunc("GET /artifacts/{key...}", l.artifact)
	mux.HandleFunc("GET /healthz", l.handle(func(*http.Request) (int, any, *problem) {
		return http.StatusOK, map[string]string{"status": "alive", "version": l.o.Version}, nil
	}))
	mux.HandleFunc("GET /readyz", l.handle(l.ready))
	mux.HandleFunc("GET /{$}", l.handle(func(*http.Request) (int, any, *problem) {
		return http.StatusOK, map[string]any{"service": "rpmflow listener", "version": l.o.Version, "endpoints": []string{
			"POST /hooks/github/{project}", "POST /hooks/generic/{project}", "POST /api/v1/builds", "POST /api/v1/builds/srpm", "GET /api/v1/builds",
			"GET /api/v1/builds/{id}", "POST /api/v1/builds/{id}/cancel", "POST /api/v1/builds/{id}/retry", "GET /api/v1/builds/{id}/log", "GET /api/v1/projects", "GET /api/v1/targets",
			"GET /artifacts/{key}", "GET /healthz", "GET /readyz"}}, nil
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); pattern != "/" {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			l.refuse(w, r, problemf(http.StatusNotFound, "GET / lists what there is", "there is nothing at %s", r.URL.Path))
			return
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		l.refuse(w, r, problemf(http.StatusMethodNotAllowed, "use "+strings.Join(allowed, " or "), "%s does not take %s", r.URL.Path, r.Method))
	})
	return mux
}

// submission is a build that a user asks for.
type submission struct {
	Project  string   `json:"project"`
	Ref      string   `json:"ref"`      // branch, tag or full ref; HEAD when empty
	Commit   string   `json:"commit"`   // the ref's present commit when empty
	Packages []string `json:"packages"` // all when empty
	Targets  []string `json:"targets"`  // the project's when empty
}

func (l *Listener) submit(r *http.Request) (int, any, *problem) {
	if p := l.authorized(r); p != nil {
		return 0, nil, p
	}
	if !isJSON(r) {
		return 0, nil, problemf(http.StatusUnsupportedMediaType, "send JSON with Content-Type: application/json", "the submission is not declared as JSON")
	}
	body, p := l.body(r)
	if p != nil {
		return 0, nil, p
	}
	var s submission
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return 0, nil, problemf(http.StatusBadRequest, `send {"project": …, "ref": …, "commit": …, "packages": […], "targets": […]}; only project is required`, "the submission cannot be read: %v", err)
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

func (l *Listener) resolveRef(ctx context.Context, project rpmflow.Project, s submission) (ref, commit string, _ *problem) {
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
		return "", "", problemf(http.StatusBadGateway, "check the repository's server, or give commit and the full ref (refs/heads/…)", "project %q: %s cannot be asked which commit %s is", project.Name, source.CleanURL(project.URL), wanted)
	}
	if s.Commit != "" {
		commit = s.Commit
	}
	return ref, commit, nil
}

func (l *Listener) authorized(r *http.Request) *problem {
	if l.o.Token == "" {
		// The name that the client used counts as well: a web page whose name somebody lets point to this machine is not local.
		if host, _, err := net.SplitHostPort(r.Host); l.loopback && err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback()) {
			return nil
		}
		return problemf(http.StatusForbidden, "set listener.token, and send it as Authorization: Bearer …", "submissions, cancelling and retrying are off: this listener has no token, and was not asked by this machine under a name of its own")
	}
	given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(given), []byte(l.o.Token)) != 1 {
		return problemf(http.StatusUnauthorized, "send the listener's token as Authorization: Bearer …", "the token is missing or wrong")
	}
	return nil
}

// listing is a page of builds, newest first.
type listing struct {
	Builds []rpmflow.Build `json:"builds"`
	Next   string          `json:"next,omitempty"` // cursor of the next page
}

func (l *Listener) list(r *http.Request) (int, any, *problem) {
	const defaultLimit, maxLimit = 50, 200
	v := r.URL.Query()
	q := readmodel.Query{
		Project: v.Get("project"), Package: v.Get("package"), Target: v.Get("target"), Ref: v.Get("ref"), Commit: v.Get("commit"), Push: v.Get("push"),
		State: rpmflow.State(v.Get("state")), Result: rpmflow.Result(v.Get("result")), Kind: rpmflow.FailureKind(v.Get("kind")),
		Limit: defaultLimit, Cursor: v.Get("cursor"),
	}
	known := []string{"project", "package", "target", "ref", "commit", "push", "state", "result", "kind", "limit", "cursor"}
	for name := range v {
		if !slices.Contains(known, name) {
			return 0, nil, problemf(http.StatusBadRequest, "known are: "+strings.Join(known, ", "), "parameter %q is not known", name)
		}
	}
	if s := v.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxLimit {
			return 0, nil, problemf(http.StatusBadRequest, fmt.Sprintf("use 1 to %d; next pages through more", maxLimit), "limit %q is out of range", s)
		}
		q.Limit = n
	}
	if p := l.checkFilters(r.Context(), q); p != nil {
		return 0, nil, p
	}
	builds, next, err := l.model.List(r.Context(), q)
	if errors.Is(err, readmodel.ErrCursor) {
		return 0, nil, problemf(http.StatusBadRequest, "leave cursor out to begin anew", "%v", err)
	}
	if err != nil {
		return 0, nil, l.unavailable("listing builds", err)
	}
	if builds == nil {
		builds = []rpmflow.Build{}
	}
	return http.StatusOK, listing{builds, next}, nil
}

func (l *Listener) show(r *http.Request) (int, any, *problem) {
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

func (l *Listener) ready(*http.Request) (int, any, *problem) {
	if !l.nc.IsConnected() {
		return 0, nil, problemf(http.StatusServiceUnavailable, "check the NATS server and nats.url", "NATS is not connected")
	}
	if !l.caughtUp.Load() {
		return 0, nil, problemf(http.StatusServiceUnavailable, "wait: the list of builds is being read from the event stream", "the read model has not caught up")
	}
	return http.StatusOK, map[string]string{"status": "ready"}, nil
}
