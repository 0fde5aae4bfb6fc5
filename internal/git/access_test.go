package git

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

func TestTokenOfTheProject(t *testing.T) {
	t.Parallel()
	const token = "tok-en/with:%strange@signs"
	w := gittest.New(t)
	commit := w.Commit(map[string]string{"data": "T"})
	url := gittest.Serve(t, filepath.Dir(w.Dir), token) + "/hello/.git"
	var log bytes.Buffer
	var asked []string
	open := func(token string) *Mirrors {
		s, err := Open(Options{Dir: filepath.Join(t.TempDir(), "mirrors"), FetchTimeout: time.Minute,
			Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Access: func(u giturl.URL) Access {
				asked = append(asked, u.Redacted())
				return Access{Token: token}
			}})
		testkit.Must(t, err)
		return s
	}
	said := []string{}
	req := Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: commit}
	s := open(token)
	mustRead(t, s, req)
	named := req
	named.URL = strings.Replace(url, "://", "://me@", 1) // the user from the URL, the token as its password
	mustRead(t, s, named)
	if !slices.Contains(asked, url) || slices.ContainsFunc(asked, func(u string) bool { return u != url }) {
		t.Errorf("asked for the access of %q", asked)
	}
	resolve := Resolver(func(giturl.URL) Access { return Access{Token: token} })
	if _, got, err := resolve(t.Context(), url, "main"); err != nil || got != commit {
		t.Errorf("got %s, %v", got, err)
	}
	req.Commit = strings.Repeat("b", 40)
	_, err := read(s, req)
	failtest.Want(t, err, rpmflow.FailureSource, "any more")
	said = append(said, err.Error())
	_, err = read(open(token+"x"), req)
	failtest.Want(t, err, rpmflow.FailureSource, "authentication refused by "+url)
	said = append(said, err.Error())
	// Nor is it in what stays on the disk.
	testkit.Must(t, filepath.WalkDir(s.Dir, func(name string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			text, err := os.ReadFile(name)
			said = append(said, name, string(text))
			return err
		}
		return err
	}))
	for _, text := range append(said, log.String()) {
		encoded := base64.StdEncoding.EncodeToString
		for _, secret := range []string{token, encoded([]byte("x-access-token:" + token)),
			encoded([]byte("me:" + token))} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in %.200q", secret, text)
			}
		}
	}
}

func TestUserOfTheProject(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	commit := w.Commit(map[string]string{"data": "T"})
	server := gittest.Serve(t, filepath.Dir(w.Dir), "pass-word")
	for _, a := range []Access{
		{User: url.UserPassword("me", "pass-word")}, {User: url.User("me"), Token: "pass-word"},
		{User: url.UserPassword("me", "pass-word"), Token: "another"},
	} {
		_, got, err := Resolver(func(giturl.URL) Access { return a })(t.Context(), server+"/hello/.git", "main")
		if err != nil || got != commit {
			t.Errorf("%+v: got %s, %v", a, got, err)
		}
	}
	// The URL's own user is stronger, and neither of them is repeated.
	address := strings.Replace(server, "://", "://you:hunter2@", 1) + "/hello/.git"
	me := func(giturl.URL) Access { return Access{User: url.UserPassword("me", "pass-word")} }
	_, _, err := Resolver(me)(t.Context(), address, "main")
	failtest.Want(t, err, rpmflow.FailureSource, "authentication refused by "+server)
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "pass-word") {
		t.Error(err)
	}
}

// The arguments of git can be read by all users of the machine, and its configuration must not send secrets elsewhere.
func TestSecretsAreNotArguments(t *testing.T) {
	t.Parallel()
	for url, address := range map[string]string{
		"https://me:pass-word@example.org:8443/a.git": "https://example.org:8443/a.git",
		"https://example.org/a.git":                   "https://example.org/a.git",
		"https://toktoktok@example.org/a.git":         "https://example.org/a.git",
	} {
		r, err := parseRemote(url)
		testkit.Must(t, err)
		r.with(Access{Token: "tok-en"})
		env, err := r.environment()
		testkit.Must(t, err)
		if got := r.address(); got != address {
			t.Errorf("%s: got %q", url, got)
		}
		scope := strings.TrimSuffix(address, "a.git")
		if !slices.Contains(env, "GIT_CONFIG_KEY_0=http."+scope+".extraHeader") ||
			!slices.Contains(env, "GIT_ALLOW_PROTOCOL=https") {
			t.Errorf("%s: got %q", url, env)
		}
		text := r.scrub(errors.New(strings.Join(env, "\n"))).Error()
		if strings.Contains(text, "Basic ") && !strings.Contains(text, "Basic ***") {
			t.Errorf("%s: not redactedError: %s", url, text)
		}
	}
	for url, address := range map[string]string{
		"ssh://example.org/a":       "ssh://git@example.org/a",
		"ssh://git:pw@example.org/": "ssh://git@example.org/",
		"me@example.org:a/b.git":    "me@example.org:a/b.git",
		"example.org:a/b.git":       "git@example.org:a/b.git",
		"git@[example.org:2222]:a":  "git@[example.org:2222]:a",
		"file:///srv/a.git":         "/srv/a.git",
	} {
		r, err := parseRemote(url)
		testkit.Must(t, err)
		if got := r.address(); got != address {
			t.Errorf("%s: got %q", url, got)
		}
	}
}

// The environment of the program is not that of git: what changes git's behaviour must not come in from there.
func TestGitIsIsolated(t *testing.T) {
	w := gittest.New(t)
	commit := w.Commit(map[string]string{"data": "T"})
	bad := filepath.Join(t.TempDir(), "gitconfig")
	touched := bad + "-touched"
	touch := "touch " + touched + "\n"
	config := "[core]\n\tsshCommand = " + touch + "\tfsmonitor = " + touch + "[credential]\n\thelper = !" + touch +
		"[protocol]\n\tallow = never\n"
	testkit.Must(t, os.WriteFile(bad, []byte(config), 0o600))
	for _, name := range []string{"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"} {
		t.Setenv(name, bad)
	}
	t.Setenv("GIT_DIR", "/nonexistent")
	t.Setenv("GIT_SSH_COMMAND", "touch "+touched)
	t.Setenv("GIT_ASKPASS", bad)
	t.Setenv("GIT_TRACE", touched)
	s := newMirrors(t)
	mustRead(t, s, request(w, commit))
	url := gittest.Serve(t, filepath.Dir(w.Dir), "password")
	_, err := read(s, Request{Project: "hello", URL: url + "/hello/.git", Ref: "refs/heads/main", Commit: commit})
	failtest.Want(t, err, rpmflow.FailureSource, "authentication refused")
	if _, err := os.Stat(touched); err == nil {
		t.Error("git has run what a foreign configuration says")
	}
	// A repository must not make git speak another protocol than the one that its URL has.
	r, err := parseRemote("https://example.org/")
	testkit.Must(t, err)
	env, err := r.environment()
	testkit.Must(t, err)
	cmd := gitcmd.Command(t.Context(), "ls-remote", "ext::touch "+touched)
	cmd.Env = append(cmd.Env, env...)
	if _, _, err := gitcmd.Output(t.Context(), cmd); err == nil || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("got %v", err)
	}
}
