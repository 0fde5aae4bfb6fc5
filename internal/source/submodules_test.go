package source

import (
	"archive/tar"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

func gitmodules(entries ...string) string {
	var b strings.Builder
	for i := 0; i < len(entries); i += 2 {
		fmt.Fprintf(&b, "[submodule %q]\n\tpath = %s\n\turl = %s\n", entries[i], entries[i], entries[i+1])
	}
	return b.String()
}

// entriesOf is what a tar archive has in it, in its order; the global headers are left out.
func entriesOf(t *testing.T, archive string) (list []string) {
	t.Helper()
	in := tar.NewReader(strings.NewReader(archive))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		testkit.Must(t, err)
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		text, err := io.ReadAll(in)
		testkit.Must(t, err)
		list = append(list, fmt.Sprintf("%s %c %o %d %s %q %q", h.Name, h.Typeflag, h.Mode, h.ModTime.Unix(), h.Uname,
			h.Linkname, text))
	}
}

// splice puts the entries of a submodule in the place of its directory.
func splice(t *testing.T, list []string, dir string, sub []string) []string {
	t.Helper()
	i := slices.IndexFunc(list, func(e string) bool { return strings.HasPrefix(e, dir+"/ ") })
	if i < 0 {
		t.Fatalf("no directory %s in %q", dir, list)
	}
	return slices.Concat(list[:i], sub, list[i+1:])
}

const archiveSpec = "Name: hello\nVersion: 1.0\nSource0: x.tar\n%prep\n%setup -q\n"

// Each submodule is in the archive as git archive makes it with its path as the prefix.
func TestSubmodules(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		inner, lib := w.Sibling("inner"), w.Sibling("lib")
		long := strings.Repeat("d", 90)
		deep := inner.Commit(map[string]string{"i.c": "i\n", "secret": "s", ".gitattributes": "secret export-ignore\n" +
			"v export-subst\n", "v": "$Format:%H %(describe:tags)$\n",
			long + "/" + long + "/" + long: "long", "link": "-> i.c"})
		inner.Git("tag", "v3")
		inner.Commit(map[string]string{"i.c": "later\n"})
		libCommit := lib.CommitSubmodules(map[string]string{"lib.c": "l\n", ".gitmodules": gitmodules("in/ner",
			"../../inner/.git")}, map[string]string{"in/ner": deep})
		lib.Git("commit", "--quiet", "--allow-empty", "-m", "later")
		relative := "../lib/.git"
		if strings.HasPrefix(url, "http") { // the URL ends in /hello/.git
			relative = "../../lib/.git"
		}
		files := inTree("Name: hello\n")
		files[".gitmodules"] = gitmodules("vendor/lib", relative, "docs/unused", "../nowhere", "none", "../nowhere") +
			"\tupdate = none\n"
		files[".gitattributes"] += "docs/unused export-ignore\n"
		commit := w.CommitSubmodules(files, map[string]string{"vendor/lib": libCommit, "docs/unused": libCommit,
			"none": libCommit})

		req := Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: commit}
		empty := prepare(t, newStore(t), req)
		testkit.Must(t, finish(t.Context(), empty, []byte(archiveSpec)))
		if got := content(t, filepath.Join(empty.Sources, "x.tar")); got != w.Archive(commit, "hello-1.0/") {
			t.Error("without the setting the archive is not git's")
		}

		req.Sources.Submodules = true
		want := entriesOf(t, w.Archive(commit, "hello-1.0/"))
		sub := splice(t, entriesOf(t, lib.Archive(libCommit, "hello-1.0/vendor/lib/")), "hello-1.0/vendor/lib/in/ner",
			entriesOf(t, inner.Archive(deep, "hello-1.0/vendor/lib/in/ner/")))
		want = splice(t, want, "hello-1.0/vendor/lib", sub)
		var made []string
		for range 2 {
			p := prepare(t, newStore(t), req)
			if !strings.Contains(p.Explanation, "its submodules are in the archive") {
				t.Errorf("explanation %q", p.Explanation)
			}
			testkit.Must(t, finish(t.Context(), p, []byte(archiveSpec)))
			made = append(made, content(t, filepath.Join(p.Sources, "x.tar")))
			if left := names(t, filepath.Dir(p.Sources)); left != "SOURCES SPECS" {
				t.Errorf("left behind: %s", left)
			}
		}
		got := entriesOf(t, made[0])
		if made[0] != made[1] || len(made[0])%10240 != 0 {
			t.Errorf("the archive differs from time to time, or ends in the middle of a record: %d and %d bytes",
				len(made[0]),
				len(made[1]))
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if all := strings.Join(got, "\n"); !strings.Contains(all, deep+" v3") || strings.Contains(all, "ner/secret") ||
			strings.Contains(all, "later") {
			t.Errorf("the nested one is not what git makes of it:\n%s", all)
		}
		file := filepath.Join(t.TempDir(), "x.tar")
		testkit.Must(t, os.WriteFile(file, []byte(made[0]), 0o600))
		if out, err := exec.Command("tar", "tf", file).CombinedOutput(); err != nil || !strings.Contains(string(out),
			"hello-1.0/vendor/lib/in/ner/i.c\n") || strings.Count(string(out), "vendor/lib/\n") != 1 {
			t.Errorf("tar: %v\n%s", err, out)
		}
		if id := w.GitIn(made[0], "get-tar-commit-id"); id != commit {
			t.Errorf("the archive is of commit %s, want %s", id, commit)
		}
	})
}

// asked is what a server saw of those who fetch.
type askedOf struct {
	mu    sync.Mutex
	auths []string
}

func (a *askedOf) passwords() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(a.auths)))
}

// serveWatched serves repositories to those with the password ("": to all) and notes which passwords it is shown.
func serveWatched(t *testing.T, dir, password string) (string, *askedOf) {
	t.Helper()
	backend := gittest.Backend(t, dir)
	seen := &askedOf{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, got, _ := r.BasicAuth()
		seen.mu.Lock()
		seen.auths = append(seen.auths, got)
		seen.mu.Unlock()
		if password != "" && got != password {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, seen
}

// A token is shown to the project's own server only, and other servers must be public ones or allowed.
func TestSubmodulesOfOtherServers(t *testing.T) {
	w := gittest.New(t)
	other := gittest.New(t)
	theirs := other.Commit(map[string]string{"o.c": "o"})
	own := w.Sibling("own")
	ours := own.Commit(map[string]string{"own.c": "o"})
	home, homeSaw := serveWatched(t, filepath.Dir(w.Dir), "tok-en")
	away, awaySaw := serveWatched(t, filepath.Dir(other.Dir), "")
	files := inTree("Name: hello\n")
	files[".gitmodules"] = gitmodules("own", home+"/own/.git", "other", away+"/hello/.git")
	commit := w.CommitSubmodules(files, map[string]string{"own": ours, "other": theirs})
	req := Request{Project: "hello", URL: home + "/hello/.git", Ref: "refs/heads/main", Commit: commit,
		Sources: rpmflow.Sources{Submodules: true}}
	open := func(allow ...string) *Store {
		s, err := Open(Options{Dir: filepath.Join(t.TempDir(), "mirrors"), Logger: slog.New(slog.DiscardHandler),
			Allow: allow, Access: func(u giturl.URL) git.Access {
				return map[string]git.Access{home + "/hello/.git": {Token: "tok-en"}, home +
					"/own/.git": {Token: "another"}, away +
					"/hello/.git": {Token: "another"}}[u.String()]
			}})
		testkit.Must(t, err)
		t.Cleanup(s.Close)
		return s
	}
	t.Setenv("http_proxy", "http://127.0.0.1:1") // not the way to other servers
	t.Setenv("no_proxy", "127.0.0.1")
	err := finish(t.Context(), prepare(t, open(), req), []byte(archiveSpec))
	failtest.Want(t, err, rpmflow.FailureSource, "submodule other", "not a public address", "builder.allow_addresses")
	if got := awaySaw.passwords(); len(got) != 0 {
		t.Errorf("a server that is not allowed was asked with %q", got)
	}
	s := open("127.0.0.1")
	p := prepare(t, s, req)
	testkit.Must(t, finish(t.Context(), p, []byte(archiveSpec)))
	if got := strings.Join(entriesOf(t, content(t, filepath.Join(p.Sources, "x.tar"))), "\n"); !strings.Contains(got,
		"hello-1.0/own/own.c ") || !strings.Contains(got, "hello-1.0/other/o.c ") {
		t.Errorf("got\n%s", got)
	}
	if got := awaySaw.passwords(); !slices.Equal(got, []string{""}) {
		t.Errorf("the other server was shown %q", got)
	}
	if got := homeSaw.passwords(); !slices.Equal(got, []string{"tok-en"}) {
		t.Errorf("the project's own server was shown %q", got)
	}
	// Mirrors of submodules are not shared between projects.
	stranger := gittest.New(t)
	public, _ := serveWatched(t, filepath.Dir(stranger.Dir), "")
	files[".gitmodules"] = gitmodules("own", home+"/own/.git")
	req.URL, req.Commit = public+"/hello/.git", stranger.CommitSubmodules(files, map[string]string{"own": ours})
	err = finish(t.Context(), prepare(t, s, req), []byte(archiveSpec))
	failtest.Want(t, err, rpmflow.FailureSource, "submodule own", "authentication refused", ".gitmodules")
	if got := homeSaw.passwords(); !slices.Equal(got, []string{"", "tok-en"}) {
		t.Errorf("the project's server was shown %q for another server's submodule", got)
	}
}

func TestSubmoduleFailures(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	lib := w.Sibling("lib")
	there := lib.Commit(map[string]string{"lib.c": "l\n"})
	gone := strings.Repeat("12", 20)
	remote, _ := serveWatched(t, filepath.Dir(w.Dir), "")
	for _, tt := range []struct {
		name, modules, commit, url string
		words                      []string
	}{
		{"no entry", gitmodules("other", "../lib"), there, w.Dir, []string{"submodule lib has no entry",
			".gitmodules"}},
		{"no .gitmodules", "", there, w.Dir, []string{"submodule lib has no entry", "git submodule add"}},
		{"no URL", "[submodule \"lib\"]\n\tpath = lib\n", there, w.Dir, []string{"submodule lib has no entry"}},
		{"a path outside", gitmodules("../lib", "../lib"), there, w.Dir, []string{"../lib", "outside"}},
		{"one path twice", gitmodules("lib", "../lib") + "[submodule \"b\"]\n\tpath = lib/\n\turl = x\n", there, w.Dir,
			[]string{"submodules b and lib", "same path lib"}},
		{"no such commit", gitmodules("lib", "../lib"), gone, w.Dir, []string{"submodule lib", short(gone),
			"push the commit"}},
		{"no such repository", gitmodules("lib", "../nowhere"), there, w.Dir,
			[]string{"submodule lib", "nowhere not found",
				".gitmodules"}},
		{"malformed", "[submodule \"lib\"\n", there, w.Dir, []string{"git cannot read .gitmodules"}},
		{"a path of the builder", gitmodules("lib", lib.Dir), there, remote + "/hello/.git", []string{"submodule lib",
			lib.Dir, "builder's own disk"}},
		{"a file URL", gitmodules("lib", "file://"+lib.Dir), there, remote + "/hello/.git", []string{"submodule lib",
			"builder's own disk"}},
		{"another scheme", gitmodules("lib", "ext::sh -c id"), there, w.Dir, []string{"submodule lib",
			"neither a URL nor user@host:path"}},
		{"a scheme of git's", gitmodules("lib", "git://127.0.0.1/lib"), there, w.Dir, []string{"submodule lib",
			`scheme "git" is not allowed`}},
		{"an option", gitmodules("lib", "--upload-pack=id"), there, w.Dir, []string{"submodule lib",
			"begins with a hyphen"}},
		{"keys elsewhere", gitmodules("lib", "git@example.org:lib.git"), there, remote + "/hello/.git",
			[]string{"submodule lib", "keys are for the server", "https"}},
		{"above the server", gitmodules("lib", "../../../../example.org/lib"), there, remote + "/hello/.git",
			[]string{"submodule lib", "leads out of the server"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := inTree("Name: hello\n")
			files[".gitmodules"] = tt.modules
			commit := w.CommitSubmodules(files, map[string]string{"lib": tt.commit})
			p := prepare(t, newStore(t), Request{Project: "hello", URL: tt.url, Ref: "refs/heads/main", Commit: commit,
				Sources: rpmflow.Sources{Submodules: true}})
			err := finish(t.Context(), p, []byte(archiveSpec))
			failtest.Want(t, err, rpmflow.FailureSource, tt.words...)
			if names(t, p.Sources) != "a.patch" || names(t, filepath.Dir(p.Sources)) != "SOURCES SPECS" {
				t.Errorf("left %q, %q", names(t, p.Sources), names(t, filepath.Dir(p.Sources)))
			}
		})
	}
	t.Run("too deep", func(t *testing.T) {
		commit := lib.Git("rev-parse", "HEAD")
		for range 11 {
			commit = lib.CommitSubmodules(map[string]string{".gitmodules": gitmodules("again", "../lib")},
				map[string]string{"again": commit})
		}
		files := inTree("Name: hello\n")
		files[".gitmodules"] = gitmodules("lib", "../lib")
		p := prepare(t, newStore(t), Request{Project: "hello", URL: w.Dir, Ref: "refs/heads/main",
			Commit:  w.CommitSubmodules(files, map[string]string{"lib": commit}),
			Sources: rpmflow.Sources{Submodules: true}})
		err := finish(t.Context(), p, []byte(archiveSpec))
		failtest.Want(t, err, rpmflow.FailureSource, "lib/again/again", "in more than 10 others")
	})
	t.Run("zip", func(t *testing.T) {
		p := prepare(t, newStore(t), Request{Project: "hello", URL: w.Dir, Ref: "refs/heads/main",
			Commit: w.Git("rev-parse",
				"HEAD"), Sources: rpmflow.Sources{Submodules: true}})
		err := finish(t.Context(), p, []byte(strings.ReplaceAll(archiveSpec, "x.tar", "x.zip")))
		failtest.Want(t, err, rpmflow.FailureSpec, "x.zip", "zip archive", ".tar.gz")
	})
}

// Git goes through the builder's own proxy to other servers: with TLS from end to end, and not where a redirect leads
// into the builder's network.
func TestSubmodulesThroughTheProxy(t *testing.T) {
	w := gittest.New(t)
	other := gittest.New(t)
	theirs := other.Commit(map[string]string{"o.c": "o"})
	home, _ := serveWatched(t, filepath.Dir(w.Dir), "")
	plain, _ := serveWatched(t, filepath.Dir(other.Dir), "")
	backend, err := url.Parse(plain)
	testkit.Must(t, err)
	tls := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(backend) }})
	t.Cleanup(tls.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	testkit.Must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw}),
		0o600))
	t.Setenv("SSL_CERT_FILE", ca)
	away := httptest.NewServer(http.RedirectHandler("http://169.254.169.254/latest", http.StatusFound))
	t.Cleanup(away.Close)
	s, _ := withCache(t) // which allows 127.0.0.1
	complete := func(url string) (*Draft, error) {
		files := inTree("Name: hello\n")
		files[".gitmodules"] = gitmodules("other", url)
		commit := w.CommitSubmodules(files, map[string]string{"other": theirs})
		p := prepare(t, s, Request{Project: "hello", URL: home + "/hello/.git", Ref: "refs/heads/main", Commit: commit,
			Sources: rpmflow.Sources{Submodules: true}})
		return p, finish(t.Context(), p, []byte(archiveSpec))
	}
	_, err = complete(away.URL + "/hello/.git")
	failtest.Want(t, err, rpmflow.FailureSource, "submodule other", "169.254.169.254", "not a public address")
	p, err := complete(tls.URL + "/hello/.git")
	testkit.Must(t, err)
	if got := strings.Join(entriesOf(t, content(t, filepath.Join(p.Sources, "x.tar"))), "\n"); !strings.Contains(got,
		"hello-1.0/other/o.c ") {
		t.Errorf("got\n%s", got)
	}
}
