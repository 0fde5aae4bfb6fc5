package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, change func(*Options)) *Client {
	t.Helper()
	o := Options{Allow: []string{"127.0.0.1"}, Pause: time.Millisecond, Stall: 5 * time.Second, Timeout: time.Minute}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	testkit.Must(t, err)
	t.Cleanup(c.Close)
	return c
}

// fetch downloads and returns the content.
func fetch(t *testing.T, c *Client, known []checksum.Checksum, places ...string) (string, Got, error) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	testkit.Must(t, err)
	defer out.Close()
	got, err := c.Fetch(t.Context(), places, known, out)
	text, readErr := os.ReadFile(out.Name())
	if readErr != nil {
		t.Fatal(readErr)
	}
	if err == nil && got.Size != int64(len(text)) {
		t.Errorf("got %d bytes and says %d", len(text), got.Size)
	}
	return string(text), got, err
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func sha(text string) checksum.Checksum {
	sum := sha256.Sum256([]byte(text))
	c, err := checksum.New("SHA256", hex.EncodeToString(sum[:]))
	if err != nil {
		panic(err)
	}
	return c
}

var payload = strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB

// wantFailure checks that err is the packager's, says the words and has a hint; wantOurs that it is not.
func wantFailure(t *testing.T, err error, words ...string) {
	t.Helper()
	var f *rpmflow.Failure
	if !errors.As(err, &f) || f.Kind != rpmflow.FailureSource || f.Hint == "" {
		t.Fatalf("got %v, want a failure of the source with a hint", err)
	}
	says(t, err.Error()+"\n"+f.Hint, words...)
}

func wantOurs(t *testing.T, err error, words ...string) {
	t.Helper()
	var f *rpmflow.Failure
	if err == nil || errors.As(err, &f) {
		t.Fatalf("got %v, want an error that is worth a retry", err)
	}
	says(t, err.Error(), words...)
}

func says(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
	if strings.Contains(text, "hunter2") || strings.Contains(text, "signed=") {
		t.Errorf("%q repeats a secret", text)
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	var agent atomic.Value
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		agent.Store(r.UserAgent())
		http.ServeContent(w, r, "x", time.Unix(1e9, 0), strings.NewReader(payload))
	})
	text, got, err := fetch(t, newClient(t, nil), []checksum.Checksum{sha(payload)}, url+"/x.tar.gz#/y.tar.gz")
	if err != nil || text != payload || len(got.SHA512) != 128 || got.URL != url+"/x.tar.gz#/y.tar.gz" ||
		agent.Load() != "rpmflow" {
		t.Fatalf("%v, %+v", err, got)
	}
	_, _, err = fetch(t, newClient(t, nil), []checksum.Checksum{sha("another")}, url)
	wantFailure(t, err, sha("another").Hex, sha(payload).Hex, "which of the two is right")
}

// A connection that breaks is taken up where it broke, if the server's file is still the same, else from the beginning.
func TestResume(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		etags, texts []string // of each request
		weak         bool
		ranges       string
	}{
		"same file": {etags: []string{`"a"`, `"a"`}, texts: []string{payload, payload}, ranges: ",bytes=N-"},
		"changed meanwhile": {etags: []string{`"a"`, `"b"`}, texts: []string{strings.ToUpper(payload), payload},
			ranges: ",bytes=N-"},
		"weak validator": {etags: []string{`W/"a"`, `W/"a"`}, texts: []string{payload, payload}, ranges: ","},
		"no validator":   {etags: []string{"", ""}, texts: []string{payload, payload}, ranges: ","},
		"shorter than before": {etags: []string{`"a"`, `"a"`, `"a"`}, texts: []string{payload, "short", "short"},
			ranges: ",bytes=N-,"},
	} {
		t.Run(name, func(t *testing.T) {
			var ranges []string
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				i := len(ranges)
				asked := r.Header.Get("Range")
				if asked != "" {
					asked = "bytes=N-"
				}
				ranges = append(ranges, asked)
				if test.etags[i] != "" {
					w.Header().Set("ETag", test.etags[i])
				}
				if i > 0 {
					http.ServeContent(w, r, "x", time.Time{}, strings.NewReader(test.texts[i]))
					return
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(payload)))
				_, _ = w.Write([]byte(test.texts[0][:len(payload)/2]))
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			})
			want := test.texts[len(test.texts)-1]
			text, _, err := fetch(t, newClient(t, nil), []checksum.Checksum{sha(want)}, url)
			if err != nil || text != want {
				t.Fatalf("%v, %d bytes", err, len(text))
			}
			if got := strings.Join(ranges, ","); got != test.ranges {
				t.Errorf("asked for %q, want %q", got, test.ranges)
			}
		})
	}
}

// Whether to try again is decided by what the server says, once for all.
func TestWhoseFailure(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status, calls int
		ours          bool
	}{
		{404, 1, false}, {410, 1, false}, {403, 1, false}, {401, 1, false}, {400, 1, false}, {304, 1, false},
		{500, 3, true}, {502, 3, true}, {503, 3, true}, {429, 3, true}, {408, 3, true},
	} {
		t.Run(fmt.Sprint(test.status), func(t *testing.T) {
			calls := 0
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				calls++
				w.WriteHeader(test.status)
			})
			_, _, err := fetch(t, newClient(t, func(o *Options) { o.Tries = 3 }), nil,
				strings.Replace(url, "//", "//user:hunter2@", 1)+"/f.tar.gz")
			words := []string{"/f.tar.gz", "127.0.0.1:", fmt.Sprint(test.status)}
			if test.ours {
				wantOurs(t, err, words...)
			} else {
				wantFailure(t, err, words...)
			}
			if calls != test.calls {
				t.Errorf("asked %d times, want %d", calls, test.calls)
			}
		})
	}
}

func TestRetryAfterHasEffect(t *testing.T) {
	t.Parallel()
	var at []time.Time
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if at = append(at, time.Now()); len(at) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	if _, _, err := fetch(t, newClient(t, nil), nil, url); err != nil || len(at) != 2 ||
		at[1].Sub(at[0]) < 900*time.Millisecond {
		t.Errorf("%v, asked at %v", err, at)
	}
}

func TestMirrors(t *testing.T) {
	t.Parallel()
	gone := serve(t, http.NotFound)
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	other := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("other")) })
	good := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("good")) })
	known := []checksum.Checksum{sha("good")}
	c := newClient(t, func(o *Options) { o.Tries = 2 })
	text, got, err := fetch(t, c, known, gone+"/f", broken+"/f", other+"/f", good+"/f")
	if err != nil || text != "good" || got.URL != good+"/f" {
		t.Fatalf("%v, %q, %+v", err, text, got)
	}
	_, _, err = fetch(t, c, known, gone+"/f", other+"/f")
	wantFailure(t, err, gone+"/f: ", "404", other+"/f", sha("other").Hex)
	_, _, err = fetch(t, c, known, gone+"/f", broken+"/f")
	wantOurs(t, err, "404", "502", "after 2 tries")
}

func TestBounds(t *testing.T) {
	t.Parallel()
	said := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "x", time.Time{}, strings.NewReader(payload))
	})
	unsaid := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 64 {
			_, _ = w.Write(bytes.Repeat([]byte("x"), 64<<10))
			_ = http.NewResponseController(w).Flush()
		}
	})
	c := newClient(t, func(o *Options) { o.MaxFile = 1 << 19 })
	for _, url := range []string{said, unsaid} {
		text, _, err := fetch(t, c, nil, url)
		wantFailure(t, err, "more than 524288 bytes", "builder.max_source")
		if len(text) > 1<<19 {
			t.Errorf("%d bytes were written", len(text))
		}
	}

	release := make(chan struct{})
	hanging := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("x"))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	_, _, err := fetch(t, newClient(t, func(o *Options) {
		o.Stall, o.Timeout, o.Tries = 20*time.Millisecond,
			300*time.Millisecond, 1<<20
	}), nil, hanging)
	wantOurs(t, err, "longer than 300ms")
	_, _, err = fetch(t, newClient(t, func(o *Options) { o.Stall, o.Tries = 20*time.Millisecond, 1 }), nil,
		serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	wantOurs(t, err, "timeout")

	ctx, cancel := context.WithCancelCause(t.Context())
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	testkit.Must(t, err)
	defer out.Close()
	why := errors.New("canceled by ann")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	if _, err := newClient(t, nil).Fetch(ctx, []string{hanging}, nil, out); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	var seen http.Header
	end := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		_, _ = w.Write([]byte("content"))
	})
	to := func(target string) string {
		return serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", target)
			w.WriteHeader(http.StatusFound)
		})
	}
	begin := strings.Replace(to(strings.Replace(end, "//", "//foo:bar@", 1)+"/?signed=1"), "//", "//ann:hunter2@", 1)
	text, got, err := fetch(t, newClient(t, nil), nil, begin)
	if err != nil || text != "content" || strings.Contains(got.URL, "hunter2") {
		t.Fatalf("%v, %+v", err, got)
	}
	if seen.Get("Authorization") != "" || seen.Get("Referer") != "" {
		t.Errorf("handed on: %v", seen)
	}

	private := strings.Replace(end, "127.0.0.1", "127.0.0.2", 1)
	_, _, err = fetch(t, newClient(t, nil), nil, to(private+"/?signed=1"))
	wantFailure(t, err, "127.0.0.2", "not a public address", "builder.allow_addresses")
	_, _, err = fetch(t, newClient(t, nil), nil, to("file:///etc/passwd"))
	wantFailure(t, err, "to file:")
	loop := ""
	loop = serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, loop, http.StatusFound) })
	_, _, err = fetch(t, newClient(t, nil), nil, loop)
	wantFailure(t, err, "more than 10 redirects")

	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r,
			end, http.StatusFound)
	}))
	defer secure.Close()
	_, _, err = fetch(t, newClient(t, nil), nil, secure.URL)
	wantFailure(t, err, "certificate is not trusted")
	trusting := newClient(t, nil)
	trust := secure.Client().Transport.(*http.Transport).TLSClientConfig
	trusting.http.Transport.(*http.Transport).TLSClientConfig = trust.Clone()
	_, _, err = fetch(t, trusting, nil, secure.URL)
	wantFailure(t, err, "redirected from https", "to http at")
}

func TestProxiesOfTheEnvironmentAreNotAsked(t *testing.T) {
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") })
	t.Setenv("http_proxy", proxy)
	t.Setenv("HTTP_PROXY", proxy)
	_, _, err := fetch(t, newClient(t, nil), nil, "http://127.0.0.2:1/x")
	wantFailure(t, err, "127.0.0.2")
}

func TestAllow(t *testing.T) {
	t.Parallel()
	url := serve(t, func(http.ResponseWriter, *http.Request) {})
	named := strings.Replace(url, "127.0.0.1", "localhost", 1)
	for _, test := range []struct {
		rules []string
		url   string
		ok    bool
	}{
		{nil, url, false}, {nil, named, false},
		{[]string{"127.0.0.0/8"}, url, true}, {[]string{"127.0.0.0/8", "::1"}, named, true},
		{[]string{"::ffff:127.0.0.1"},
			url, true},
		{[]string{"localhost"}, named, true}, {[]string{"LOCALHOST."}, named, true},
		{[]string{"localhost"}, url, false},
		{[]string{"10.0.0.0/8"}, url, false},
	} {
		_, _, err := fetch(t, newClient(t, func(o *Options) { o.Allow = test.rules }), nil, test.url)
		if (err == nil) != test.ok {
			t.Errorf("%v, %s: %v", test.rules, test.url, err)
		}
		if err != nil {
			wantFailure(t, err, "not a public address")
		}
	}
	for _, bad := range []string{"", "10.0.0.0/33", "http://x", "a b", "*.example.com", "host:80", "[::1]",
		"fe80::1%eth0"} {
		if _, err := New(Options{Allow: []string{bad}}); err == nil {
			t.Errorf("%q is allowed", bad)
		}
	}
}

func TestBadURLs(t *testing.T) {
	t.Parallel()
	c := newClient(t, nil)
	for _, url := range []string{"", "x", "file:///etc/passwd", "gopher://example.org/x", "http://", "http:///x",
		"http:opaque", "https://user:hunter2@", "http://user:hunter2@[::1", "ftp://127.0.0.1",
		"ftp://127.0.0.1/a%0d%0aDELE%20b"} {
		_, _, err := fetch(t, c, nil, url)
		wantFailure(t, err)
	}
	_, _, err := fetch(t, c, nil, "http://nowhere.invalid/x")
	if err == nil {
		t.Error("a host that does not exist was found")
	}
	for url, want := range map[string]string{
		"https://user:hunter2@host/x?a=b#/c":   "https://host/x?a=b#/c",
		"http://u:p@host:8081/pkg@1.2.3/x.tgz": "http://host:8081/pkg@1.2.3/x.tgz",
		"https://user:hunter2%zz@host/x":       "(a malformed URL)",
	} {
		if got := Clean(url); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}
