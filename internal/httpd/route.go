package httpd

import (
	"context"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
)

// Handler answers a request with a status and a body that becomes JSON, or with a problem. A handler that has written
// the answer itself returns the status 0.
type Handler func(w http.ResponseWriter, r *http.Request) (status int, body any, p *Problem)

// Route is one method and path with its handler.
type Route struct {
	Pattern string // of http.ServeMux, with a method
	Group   Group
	Media   string   // that the body must be declared as; empty: any
	Query   []string // known parameters, others are refused; nil: any are taken
	Handler Handler
}

// Group is what routes have in common: who may use them, and their limits.
type Group struct {
	Authorize func(*http.Request) *Problem // nil: everybody may
	// until the request's context ends; 0: none, for what takes as long as its transfer
	Timeout time.Duration
	// bytes of a refused body that are read, so that a client that sends first sees the answer
	Drain int64
	Quiet bool // refusals are expected, and logged on level debug
}

// Site answers requests by a table of routes.
type Site struct {
	mux    *http.ServeMux
	log    *slog.Logger
	series *vm.Set
	index  bool // GET / has a route
}

// NewSite makes a site of routes; every other path and method is refused.
func NewSite(log *slog.Logger, routes []Route) *Site {
	s := &Site{mux: http.NewServeMux(), log: log, series: vm.NewSet()}
	for _, r := range routes {
		s.mux.Handle(r.Pattern, s.handle(r))
		s.index = s.index || r.Pattern == "GET /{$}"
	}
	s.mux.Handle("/", s.handle(Route{Pattern: "other", Handler: s.other}))
	return s
}

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// WriteMetrics writes how many requests there were, and how long they took.
func (s *Site) WriteMetrics(w io.Writer) { s.series.WritePrometheus(w) }

func (s *Site) handle(route Route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begun, rec := time.Now(), &recorder{ResponseWriter: w, status: http.StatusOK}
		defer func() { // also when the handler cuts the answer off
			s.series.GetOrCreateCounter(Series("rpmflow_http_requests_total", "route", route.Pattern,
				"code", strconv.Itoa(rec.status))).Inc()
			if route.Group.Timeout > 0 {
				s.series.GetOrCreatePrometheusHistogramExt(Series("rpmflow_http_request_duration_seconds",
					"route", route.Pattern), durations()).UpdateDuration(begun)
			}
		}()
		if route.Group.Timeout > 0 {
			ctx, cancel := context.WithTimeout(r.Context(), route.Group.Timeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		p := route.check(r)
		if p == nil {
			var status int
			var body any
			if status, body, p = route.Handler(rec, r); p == nil {
				if status != 0 {
					WriteJSON(rec, status, body)
				}
				return
			}
		}
		s.refuse(rec, r, route.Group, p)
	}
}

// check is what holds for a route before its handler is asked.
func (route Route) check(r *http.Request) *Problem {
	if route.Group.Authorize != nil {
		if p := route.Group.Authorize(r); p != nil {
			return p
		}
	}
	if route.Media != "" {
		// A web page of another site cannot make a browser send such a type.
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != route.Media {
			return Problemf(http.StatusUnsupportedMediaType, "send it with Content-Type: "+route.Media,
				"the body is not declared as %s", mediaNames(route.Media))
		}
	}
	if route.Query != nil {
		for name := range r.URL.Query() {
			if !slices.Contains(route.Query, name) {
				return Problemf(http.StatusBadRequest, "known are: "+strings.Join(route.Query, ", "),
					"parameter %q is not known", name)
			}
		}
	}
	return nil
}

func mediaNames(media string) string {
	if media == "application/json" {
		return "JSON"
	}
	return media
}

func (s *Site) refuse(w http.ResponseWriter, r *http.Request, g Group, p *Problem) {
	level := slog.LevelInfo
	if g.Quiet {
		level = slog.LevelDebug
	}
	s.log.Log(r.Context(), level, "request refused", "method", r.Method, "path", r.URL.Path, "status", p.Status,
		"error", p.Message, "remote", r.RemoteAddr)
	if g.Drain > 0 {
		if r.Header.Get("Expect") == "" {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainWait))
			_, _ = io.CopyN(io.Discard, r.Body, g.Drain)
		}
		w.Header().Set("Connection", "close")
	}
	p.Write(w)
}

// other refuses what has no route, and names the methods that the path has.
func (s *Site) other(w http.ResponseWriter, r *http.Request) (int, any, *Problem) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		hint := "check the path"
		if s.index {
			hint = "GET / lists what there is"
		}
		return 0, nil, Problemf(http.StatusNotFound, hint, "there is nothing at %s", r.URL.Path)
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return 0, nil, Problemf(http.StatusMethodNotAllowed, "use "+strings.Join(allowed, " or "),
		"%s does not take %s", r.URL.Path, r.Method)
}

// recorder keeps the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	wrote  bool
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if !r.wrote {
		r.status, r.wrote = status, status >= http.StatusOK
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
