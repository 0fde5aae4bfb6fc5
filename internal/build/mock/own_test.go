package mock

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestProxyHasOneRepository: nothing else of the machine can be reached through the proxy, and a request keeps nothing
// but what says which part of a file it is for.
func TestProxyHasOneRepository(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %q %q %q", r.Method, r.URL.RequestURI(), r.Header.Get("Range"),
			r.Header.Get("Authorization"), r.Header.Get("X-Forwarded-For"))
	}))
	defer server.Close()
	other := httptest.NewServer(server.Config.Handler)
	defer other.Close()
	address, end, err := serveProxy("127.0.0.1", server.URL+"/repos/p/t/", quiet)
	testkit.Must(t, err)
	defer end()
	proxy, err := url.Parse(address)
	testkit.Must(t, err)
	// ask sends a request as it is, without cleaning its path.
	ask := func(method, of string) (int, string) {
		t.Helper()
		u, err := url.Parse(of)
		testkit.Must(t, err)
		req, err := http.NewRequestWithContext(t.Context(), method, of, nil)
		testkit.Must(t, err)
		req.URL = &url.URL{Scheme: "http", Host: proxy.Host, Opaque: of}
		if method == http.MethodConnect {
			req.URL = &url.URL{Scheme: "http", Host: proxy.Host, Path: u.Host}
		}
		req.Host = u.Host
		req.Header = http.Header{"Range": {"bytes=0-1"}, "Authorization": {"Bearer x"}}
		answer, err := http.DefaultTransport.RoundTrip(req)
		testkit.Must(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		testkit.Must(t, err)
		return answer.StatusCode, string(body)
	}
	for _, path := range []string{"/repos/p/t/r/1-01234567/repodata/repomd.xml", "/repos/p/t/Packages/1/a%2Bb.rpm"} {
		code, body := ask(http.MethodGet, server.URL+path)
		if want := `GET ` + path + ` "bytes=0-1" "" ""`; code != http.StatusOK || body != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	for _, of := range []string{
		server.URL + "/", server.URL + "/repos/p/other/x", server.URL + "/repos/p/t", server.URL + "/repos/p/t/../u/x",
		server.URL + "/repos/p/t/%2e%2e/u/x", server.URL + "/repos/p/t//x", other.URL + "/repos/p/t/x",
		strings.Replace(server.URL, "http:", "https:", 1) + "/repos/p/t/x",
	} {
		if code, body := ask(http.MethodGet, of); code != http.StatusForbidden {
			t.Errorf("%s: %d %s", of, code, body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodConnect} {
		if code, body := ask(method, server.URL+"/repos/p/t/x"); code != http.StatusForbidden {
			t.Errorf("%s: %d %s", method, code, body)
		}
	}
}

// TestProxyIsForThisMachine: only a URL that means another machine in a container needs a proxy, and if there can be
// none it is said what to set, also by doctor.
func TestProxyIsForThisMachine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ host, network, url, fails string }{
		{"unix:///nosuch.sock", "bridge", "https://packages.example.com/repos", ""},
		{"unix:///nosuch.sock", "host", "http://127.0.0.1:8080/repos", ""},
		{"tcp://192.0.2.1:2375", "bridge", "http://localhost:8080/repos", "another machine"},
		{"unix:///nosuch.sock", "bridge", "http://[::1]:8080/repos", "network bridge"},
		{"unix:///nosuch.sock", "bridge", "https://127.0.0.2/repos", "https://127.0.0.2/repos"},
	} {
		e := open(t, Settings{Host: c.host})
		e.s.Network = c.network
		address, err := e.proxyFor(context.Background(), c.url)
		if c.fails == "" {
			if err != nil || address != "" {
				t.Errorf("%+v: %q %v", c, address, err)
			}
			continue
		}
		wantHint(t, err, c.fails, "publisher.url")
		r := doctor.Examine(t.Context(), "builder", func() ([]doctor.Check, error) {
			return []doctor.Check{func(ctx context.Context, f *doctor.Findings) {
				e.checkOwn(ctx, f, []rpmflow.Project{
					{Name: "other"}, {Name: "own", Options: rpmflow.Options{UseOwnRepository: true}}}, c.url)
			}}, nil
		})
		if len(r.Checks) != 1 || r.OK || !strings.Contains(r.Checks[0].Do, "publisher.url") {
			t.Errorf("%+v: %+v", c, r)
		}
	}
}
