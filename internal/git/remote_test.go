package git

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

func TestParseRemote(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"https://example.org/a", "http://u:p@example.org/a", "ssh://git@example.org:22/a",
		"git@example.org:a.git",
		"example.org:a", "git@[::1]:a", "/srv/a", "file:///srv/a", "file://localhost/srv/a"} {
		if _, err := parseRemote(in); err != nil {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, in := range []string{"", "a", "a/b", "./a", "git://example.org/a", "ftp://example.org/a", "ext::sh -c true",
		"-oProxyCommand=x:a",
		"file://example.org/a", "file:a", "https:///a", "https://example.org/a\nb",
		"https://me:secret%zz@example.org/a",
		"https://me:sec/ret@example.org/a"} {
		_, err := parseRemote(in)
		failtest.Want(t, err, rpmflow.FailureSource, "url setting")
		if err != nil && strings.Contains(err.Error(), "sec") {
			t.Errorf("%q: credentials in %q", in, err)
		}
	}
}

func TestMirrorName(t *testing.T) {
	t.Parallel()
	name := func(url string) string {
		r, err := parseRemote(url)
		testkit.Must(t, err)
		return r.mirrorName()
	}
	same := name("https://example.org/a/hello.git")
	if !strings.HasPrefix(same, "hello-") || name("https://new:token@example.org/a/hello.git") != same ||
		name("https://example.org/b/hello.git") == same {
		t.Errorf("got %q", same)
	}
	if got := name("file:///srv/hello"); got != name("/srv/hello/") || filepath.Base(got) != got {
		t.Errorf("got %q", got)
	}
	if got := name("/" + strings.Repeat("ä", 300)); len(got) > 100 || filepath.Base(got) != got {
		t.Errorf("got %q", got)
	}
}

func TestErrorsHaveNoCredentials(t *testing.T) {
	t.Parallel()
	r, err := parseRemote("https://tokentoken:p%40ss@example.org/a")
	testkit.Must(t, err)
	cause := errors.Join(
		context.DeadlineExceeded,
		errors.New(
			`Get "https://tokentoken:***@example.org/a/info/refs": tokentoken:p@ss p%40ss `+
				"https://tokentoken:p%40ss@example.org/a",
		),
	)
	got := r.scrub(cause)
	if text := got.Error(); strings.Contains(text, "tokentoken") || strings.Contains(text, "p@ss") ||
		strings.Contains(text, "p%40ss") {
		t.Errorf("credentials in %q", text)
	}
	if !errors.Is(got, context.DeadlineExceeded) {
		t.Error("the kind of error is lost")
	}
	r, err = parseRemote("https://a:b@example.org/a")
	testkit.Must(t, err)
	if got := r.scrub(errors.New("bad https://a:b@example.org/x, a banana")).Error(); strings.Contains(got, "a:b@") ||
		strings.Contains(got, ":b@") ||
		!strings.Contains(got, "a banana") {
		t.Errorf("got %q", got)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		first := w.Commit(map[string]string{"a": "1"})
		w.Git("tag", "light")
		w.Git("tag", "-a", "-m", "x", "heavy")
		w.Git("tag", "-a", "-m", "x", "heavier", "heavy")
		w.Git("branch", "both")
		w.Git("tag", "both")
		second := w.Commit(map[string]string{"a": "2"})
		for _, tt := range []struct{ ref, full, commit string }{
			{"main", "refs/heads/main", second},
			{"", "refs/heads/main", second},
			{"HEAD", "refs/heads/main", second},
			{"refs/heads/main", "refs/heads/main", second},
			{"light", "refs/tags/light", first},
			{"heavy", "refs/tags/heavy", first},
			{"refs/tags/heavy", "refs/tags/heavy", first},
			{"heavier", "refs/tags/heavier", first},
			{"refs/tags/both", "refs/tags/both", first},
			{first, "", first},
		} {
			full, commit, err := Resolver(nil)(t.Context(), url, tt.ref)
			if err != nil || full != tt.full || commit != tt.commit {
				t.Errorf("%q: got %q, %q, %v", tt.ref, full, commit, err)
			}
		}
		_, _, err := Resolver(nil)(t.Context(), url, "nothing")
		failtest.Want(t, err, rpmflow.FailureSource, `no branch or tag "nothing"`, giturl.Redact(url))
		_, _, err = Resolver(nil)(t.Context(), url, "both")
		failtest.Want(t, err, rpmflow.FailureSource, "both a branch and a tag", "refs/heads/both")
		w.Git("checkout", "--quiet", "--detach", first)
		// Git says HEAD, go-git a branch that is at the same commit.
		if full, commit, err := Resolver(nil)(t.Context(), url, "HEAD"); err != nil ||
			(full != "HEAD" && full != "refs/heads/both") ||
			commit != first {
			t.Errorf("detached: got %q, %q, %v", full, commit, err)
		}
	})
}

func TestCredentialsRefused(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	commit := w.Commit(map[string]string{"data": "T"})
	url := gittest.Serve(t, filepath.Dir(w.Dir), "right")
	for _, user := range []string{"", "sometoken@", "me:wrongwrong@"} {
		full := strings.Replace(url, "://", "://"+user, 1) + "/hello/.git"
		_, err := read(newMirrors(t), Request{Project: "hello", URL: full, Ref: "refs/heads/main", Commit: commit})
		failtest.Want(t, err, rpmflow.FailureSource, "authentication refused by "+url, "url setting")
		if strings.Contains(err.Error(), "sometoken") || strings.Contains(err.Error(), "wrongwrong") {
			t.Errorf("credentials in %q", err)
		}
	}
	_, _, err := Resolver(nil)(t.Context(), strings.Replace(url, "://", "://me:right@", 1)+"/other.git", "main")
	failtest.Want(t, err, rpmflow.FailureSource, "not found", "url setting")
}

// An error that may pass by itself is not a failure of the packager.
func TestRemoteUnreachable(t *testing.T) {
	broken := httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "tokentoken",
				http.StatusBadGateway)
		}))
	defer broken.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	closed.Close()
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("HOME", sshHome(t, nil))
	for name, url := range map[string]string{
		"502":        strings.Replace(broken.URL, "://", "://me:tokentoken@", 1) + "/a",
		"silent":     "http://me:tokentoken@" + silent.Addr().String() + "/a",
		"silent ssh": "ssh://git@" + silent.Addr().String() + "/a",
		"closed":     "http://me:tokentoken@" + closed.Addr().String() + "/a",
		"closed ssh": "ssh://git@" + closed.Addr().String() + "/a",
	} {
		s := newMirrors(t)
		s.FetchTimeout = 300 * time.Millisecond
		started := time.Now()
		_, err := read(s, Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: strings.Repeat("b", 40)})
		failtest.WantOther(t, err)
		if strings.Contains(err.Error(), "tokentoken") {
			t.Errorf("%s: credentials in %q", name, err)
		}
		if strings.HasPrefix(name, "silent") && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", name, err)
		}
		if time.Since(started) > 10*time.Second {
			t.Errorf("%s took %s", name, time.Since(started))
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestExplain(t *testing.T) {
	t.Parallel()
	r, err := parseRemote("https://me:secret@example.org/a")
	testkit.Must(t, err)
	for _, cause := range []error{errRefused, errNoRepository, errNoKey} {
		failtest.Want(t, r.explain("fetching", cause), rpmflow.FailureSource, "https://example.org/a")
	}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded, errors.New("secret")} {
		if err := r.explain("fetching", cause); strings.Contains(err.Error(), "secret") {
			t.Errorf("credentials in %q", err)
		} else {
			failtest.WantOther(t, err)
		}
	}
}
