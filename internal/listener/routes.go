package listener

import (
	"fmt"
	"io"
	"net/http"
	"time"

	vm "github.com/VictoriaMetrics/metrics"

	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/httpd"
)

// limits of the listener's server. Uploads and downloads set their own deadlines, part by part.
func limits() httpd.Limits {
	return httpd.Limits{Header: 10 * time.Second, Read: time.Minute, Idle: 2 * time.Minute, HeaderBytes: 64 << 10,
		Grace: 10 * time.Second}
}

// site joins the table of routes with its handlers.
func (l *Listener) site() (*httpd.Site, error) {
	handlers := l.handlers()
	var routes []httpd.Route
	for _, r := range api.Routes() {
		handler, ok := handlers[r.Name]
		if !ok {
			return nil, fmt.Errorf("route %s has no handler", r.Name)
		}
		delete(handlers, r.Name)
		group, err := l.group(r)
		if err != nil {
			return nil, err
		}
		route := httpd.Route{Pattern: r.Pattern(), Group: group, Handler: handler}
		if r.Access != api.Signed { // forges may add parameters of their own
			route.Query = r.Query()
		}
		if r.Body != nil && r.Body.Checked {
			route.Media = r.Body.Media
		}
		routes = append(routes, route)
	}
	for name := range handlers {
		return nil, fmt.Errorf("handler %s has no route", name)
	}
	return httpd.NewSite(l.log, routes), nil
}

// group is what the routes of one kind of access have in common.
func (l *Listener) group(r api.Route) (g httpd.Group, err error) {
	switch r.Access {
	case api.Public, api.Signed: // the handler checks the signature, which covers the body
	case api.Token:
		g.Authorize = l.authorize
	case api.Probe:
		g.Quiet = true
	default:
		return g, fmt.Errorf("route %s: access %q is not known", r.Name, r.Access)
	}
	switch {
	case !r.Transfer:
		g.Timeout = l.o.RequestTimeout
	case r.Body != nil:
		g.Drain = l.o.MaxBody
	}
	return g, nil
}

// authorize lets those in who send the token. Without one it lets this machine in.
func (l *Listener) authorize(r *http.Request) *problem {
	switch {
	case l.o.Token != "" && httpd.HasToken(r, l.o.Token), l.o.Token == "" && l.loopback && httpd.ForLocalName(r):
		return nil
	case l.o.Token == "":
		return problemf(http.StatusForbidden, "set listener.token, and send it as Authorization: Bearer …",
			"submissions, cancelling and retrying are off: this listener has no token, and takes them then only "+
				"at a loopback address such as 127.0.0.1")
	}
	return problemf(http.StatusUnauthorized, "send the listener's token as Authorization: Bearer …",
		"the token is missing or wrong")
}

func (l *Listener) handlers() map[string]httpd.Handler {
	handlers := map[string]httpd.Handler{
		api.SubmitBuild:   l.submit,
		api.SubmitPackage: l.submitSRPM,
		api.ListBuilds:    l.list,
		api.GetBuild:      l.show,
		api.CancelBuild:   l.cancel,
		api.RetryBuild:    l.retry,
		api.GetLog:        l.buildLog,
		api.ListProjects:  l.projects,
		api.ListTargets:   l.targets,
		api.GetOpenAPI:    openAPI,
		api.GetArtifact:   l.artifact,
		api.GetRepository: l.repository,
		api.GetHealth:     l.health,
		api.GetReadiness:  l.ready,
		api.GetMetrics: httpd.Metrics(func(w io.Writer) { l.requests.WriteMetrics(w) }, func(w io.Writer) {
			caughtUp := 0.0
			if l.projection.CaughtUp() {
				caughtUp = 1
			}
			vm.WriteGaugeFloat64(w, "rpmflow_listener_caught_up", caughtUp)
		}),
		api.GetIndex: l.index,
	}
	for _, f := range forge.Forges() {
		handlers[api.HookPrefix+f.Name] = l.hook(f)
	}
	return handlers
}

func (l *Listener) index(http.ResponseWriter, *http.Request) (int, any, *problem) {
	index := api.Index{Service: "rpmflow listener", Version: l.o.Version}
	for _, r := range api.Routes() {
		if r.Name != api.GetIndex {
			index.Endpoints = append(index.Endpoints, r.Method+" "+r.URLPath())
		}
	}
	return http.StatusOK, index, nil
}

func (l *Listener) health(http.ResponseWriter, *http.Request) (int, any, *problem) {
	return http.StatusOK, api.Status{Status: "alive", Version: l.o.Version}, nil
}

func (l *Listener) ready(http.ResponseWriter, *http.Request) (int, any, *problem) {
	if !l.nc.IsConnected() {
		return 0, nil, problemf(http.StatusServiceUnavailable, "check the NATS server and nats.url",
			"NATS is not connected")
	}
	if !l.projection.CaughtUp() {
		return 0, nil, problemf(http.StatusServiceUnavailable,
			"wait: the list of builds is being read from the event stream",
			"the read model has not caught up")
	}
	return http.StatusOK, api.Status{Status: "ready"}, nil
}

func openAPI(w http.ResponseWriter, _ *http.Request) (int, any, *problem) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = io.WriteString(w, api.OpenAPI) // fails when the client is gone
	return 0, nil, nil
}
