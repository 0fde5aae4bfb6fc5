package httpd_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func ok(http.ResponseWriter, *http.Request) (int, any, *httpd.Problem) {
	return http.StatusOK, map[string]string{"text": "a <b>"}, nil
}

func TestSite(t *testing.T) {
	t.Parallel()
	locked := httpd.Group{Authorize: func(r *http.Request) *httpd.Problem {
		if httpd.HasToken(r, "secret") {
			return nil
		}
		return httpd.Problemf(http.StatusUnauthorized, "send it", "no token")
	}}
	site := httpd.NewSite(quiet, []httpd.Route{
		{Pattern: "GET /open", Query: []string{"name"}, Handler: ok},
		{Pattern: "POST /locked", Group: locked, Media: "application/json", Handler: ok},
		{Pattern: "GET /broken", Handler: func(http.ResponseWriter, *http.Request) (int, any, *httpd.Problem) {
			return http.StatusOK, func() {}, nil
		}},
	})
	for _, test := range []struct {
		method, path, token, media string
		status                     int
		says                       string
	}{
		{"GET", "/open?name=x", "", "", 200, `"a <b>"`},
		{"GET", "/open?nam=x", "", "", 400, `"known are: name"`},
		{"POST", "/open", "", "", 405, "use GET"},
		{"GET", "/nothing", "", "", 404, "check the path"},
		{"POST", "/locked", "", "application/json", 401, "no token"},
		{"POST", "/locked", "secret ", "application/json", 401, "no token"},
		{"POST", "/locked", "secret", "text/plain", 415, "not declared as JSON"},
		{"POST", "/locked", "secret", "application/json; charset=utf-8", 200, "a <b>"},
		{"GET", "/broken", "", "", 500, "cannot be encoded"},
	} {
		r := httptest.NewRequest(test.method, test.path, nil)
		r.Header.Set("Authorization", "Bearer "+test.token)
		r.Header.Set("Content-Type", test.media)
		w := httptest.NewRecorder()
		site.ServeHTTP(w, r)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.says) ||
			!strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
			t.Errorf("%s %s: %d %s", test.method, test.path, w.Code, w.Body)
		}
		if p := httpd.ReadProblem(w.Result()); (p != nil) != (test.status >= 400) {
			t.Errorf("%s %s: problem %v", test.method, test.path, p)
		}
	}
	var metrics strings.Builder
	site.WriteMetrics(&metrics)
	if want := `rpmflow_http_requests_total{route="POST /locked",code="401"} 2`; !strings.Contains(metrics.String(),
		want) {
		t.Errorf("no %s in %s", want, metrics.String())
	}
}

func TestLocalNames(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost:80": true, "127.0.0.1:80": true, "[::1]:80": true, "rebound.example:80": false, "10.0.0.1:80": false,
		"localhost": false,
	} {
		if got := httpd.ForLocalName(&http.Request{Host: host}); got != want {
			t.Errorf("%s: %t", host, got)
		}
	}
}

// A request in progress is answered after the end was asked for; one that takes longer than the grace is cut off.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		grace  time.Duration
		finish bool
	}{{"in time", time.Minute, true}, {"too slow", time.Millisecond, false}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			socket, err := net.Listen("tcp", "127.0.0.1:0")
			testkit.Must(t, err)
			entered, leave := make(chan struct{}), make(chan struct{})
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(entered)
				select {
				case <-leave:
				case <-r.Context().Done():
				}
				_, _ = io.WriteString(w, "whole")
			})
			limits := httpd.StatusLimits()
			limits.Grace = test.grace
			ctx, cancel := context.WithCancel(t.Context())
			served, answered := make(chan error, 1), make(chan error, 1)
			go func() { served <- httpd.Serve(ctx, socket, h, limits, quiet) }()
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			go func() {
				res, err := client.Get("http://" + socket.Addr().String())
				if err == nil {
					var text []byte
					if text, err = io.ReadAll(res.Body); string(text) != "whole" {
						err = errors.New("not whole")
					}
					_ = res.Body.Close()
				}
				answered <- err
			}()
			<-entered
			cancel()
			if test.finish {
				close(leave)
			}
			if err := <-served; err != nil {
				t.Errorf("serve: %v", err)
			}
			if err := <-answered; (err == nil) != test.finish {
				t.Errorf("the client: %v", err)
			}
		})
	}
}
