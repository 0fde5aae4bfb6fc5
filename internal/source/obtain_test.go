package source

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rpmflow/rpmflow"
)

// server gives files out by their paths and counts who asks for what.
type server struct {
	url   string
	mu    sync.Mutex
	files map[string]string
	asked []string
}

func newServer(t *testing.T) *server {
	s := &server{files: map[string]string{}}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, r.URL.Path)
		text, ok := s.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(h.Close)
	s.url = h.URL
	return s
}

func (s *server) requests() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	slices.Sort(asked)
	return strings.Join(asked, " ")
}

// shelf is a cache on disk, with what a builder could meet: it may be out of reach, or damaged.
type shelf struct {
	dir string
	err error
	mu  sync.Mutex
	by  map[string]rpmflow.SourceFile
}

func (c *shelf) Find(_ context.Context, id string) (rpmflow.SourceFile, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.by[id]
	return f, ok, c.err
}

func (c *shelf) Record(_ context.Context, id string, f rpmflow.SourceFile) (rpmflow.SourceFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.by[id].SHA512 == "" {
		c.by[id] = f
	}
	return c.by[id], c.err
}

func (c *shelf) Open(_ context.Context, sha512, name string) (io.ReadCloser, bool, error) {
	f, err := os.Open(filepath.Join(c.dir, sha512+"-"+name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, c.err
	}
	return f, true, errors.Join(c.err, err)
}

func (c *shelf) Keep(_ context.Context, sha512, name, file string) error {
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(filepath.Join(c.dir, sha512+"-"+name), text, 0o600)
	}
	return errors.Join(c.err, err)
}

// withCache is a store that may download from this machine; its cache is nobody else's.
func withCache(t *testing.T) (*Store, *shelf) {
	t.Helper()
	c := &shelf{dir: t.TempDir(), by: map[string]rpmflow.SourceFile{}}
	s, err := Open(Options{
		Dir: filepath.Join(t.TempDir(), "mirrors"), Logger: slog.New(slog.DiscardHandler), Allow: []string{"127.0.0.1"}, Cache: c, MaxFile: 1 << 20,
	})
	must(t, err)
	t.Cleanup(s.Close)
	return s, c
}

const tarball = "a tarball"

func sha(text string) string { return fmt.Sprintf("%x", sha512.Sum512([]byte(text))) }

func bsd(name, text string) string { return fmt.Sprintf("SHA512 (%s) = %s\n", name, sha(text)) }

// TestLookaside prepares repositories as the distributions have them, from a lookaside with their URLs.
func TestLookaside(t *testing.T) {
	remote := newServer(t)
	sum1, sum256, sumMD5 := fmt.Sprintf("%x", sha1.Sum([]byte(tarball))), fmt.Sprintf("%x", sha256.Sum256([]byte(tarball))), fmt.Sprintf("%x", md5.Sum([]byte(tarball)))
	for _, test := range []struct {
		name     string
		files    map[string]string
		template string
		path     string
		why      string
	}{
		{"fedora", map[string]string{"hello.spec": plainSpec, "sources": bsd("hello-1.0.tar.gz", tarball), "a.patch": "P", "tests/x": "x"},
			"/repo/pkgs/rpms/{name}/{file}/{hashtype}/{hash}/{file}", "/repo/pkgs/rpms/hello/hello-1.0.tar.gz/sha512/" + sha(tarball) + "/hello-1.0.tar.gz",
			"dist-git: hello.spec and the list of its sources, sources, at the top of the repository"},
		{"fedora, long ago", map[string]string{"hello.spec": plainSpec, "sources": sumMD5 + "  hello-1.0.tar.gz\n", "a.patch": "P"},
			"/{name}/{file}/{hashtype}/{hash}/{file}", "/hello/hello-1.0.tar.gz/md5/" + sumMD5 + "/hello-1.0.tar.gz", "dist-git"},
		{"centos", map[string]string{"SPECS/hello.spec": plainSpec, ".hello-pkg.metadata": sum1 + " SOURCES/hello-1.0.tar.gz\n", "SOURCES/a.patch": "P", ".gitignore": "x"},
			"/sources/{name}/{branch}/{hash}", "/sources/hello-pkg/main/" + sum1, "dist-git: hello.spec and the list of its sources, .hello-pkg.metadata, in SPECS and SOURCES"},
		{"rocky", map[string]string{"SPECS/hello.spec": plainSpec, ".hello.metadata": sum256 + " SOURCES/hello-1.0.tar.gz\n", ".other.metadata": "x", "SOURCES/a.patch": "P"},
			"/{hash}", "/" + sum256, "dist-git"},
		{"both lists", map[string]string{"SPECS/hello.spec": plainSpec, ".hello.metadata": sum256 + " SOURCES/hello-1.0.tar.gz\n", "sources": bsd("hello-1.0.tar.gz", tarball), "SOURCES/a.patch": "P"},
			"/{hash}", "/" + sha(tarball), "sources, .hello.metadata"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := withCache(t)
			w := newWork(t)
			req := w.request(w.commit(test.files))
			req.Sources.Lookaside = rpmflow.Lookaside(remote.url + test.template)
			remote.files = map[string]string{test.path: tarball}
			p := prepare(t, s, req)
			if p.Layout != rpmflow.LayoutDistGit || !strings.Contains(p.Explanation, test.why) || p.NeedsExpansion() {
				t.Errorf("got %s, %q, needs expansion %v", p.Layout, p.Explanation, p.NeedsExpansion())
			}
			if content(t, filepath.Join(p.Sources, "hello-1.0.tar.gz")) != tarball || !strings.HasPrefix(names(t, p.Sources), "a.patch hello-1.0.tar.gz") {
				t.Errorf("got %s", names(t, p.Sources))
			}
			info, err := os.Stat(filepath.Join(p.Sources, "hello-1.0.tar.gz"))
			must(t, err)
			if info.Mode() != 0o644 || !info.ModTime().Equal(p.CommitTime) {
				t.Errorf("the tarball is not like the other sources: %v", info)
			}
			want := rpmflow.SourceFile{Name: "hello-1.0.tar.gz", URL: remote.url + test.path, SHA512: sha(tarball), Size: int64(len(tarball)), Origin: rpmflow.OriginLookaside}
			if len(p.Files) != 1 || p.Files[0] != want {
				t.Errorf("recorded %+v", p.Files)
			}
			if got := remote.requests(); got != test.path {
				t.Errorf("asked for %s", got)
			}
			p = prepare(t, s, req) // from the cache now
			want.Origin = rpmflow.OriginCache
			if got := remote.requests(); got != "" || len(p.Files) != 1 || p.Files[0] != want || content(t, filepath.Join(p.Sources, "hello-1.0.tar.gz")) != tarball {
				t.Errorf("asked again for %s; recorded %+v", got, p.Files)
			}
		})
	}
}

func TestPresets(t *testing.T) {
	f := rpmflow.LookasideFields{Name: "gcc-c++", Branch: "c8s", File: "a b#1.tar.gz", Checksum: rpmflow.Checksum{Algorithm: "sha1", Hex: "ab"}}
	for name, want := range map[rpmflow.Lookaside]string{
		"fedora":        "https://src.fedoraproject.org/repo/pkgs/rpms/gcc-c++/a%20b%231.tar.gz/sha1/ab/a%20b%231.tar.gz",
		"centos-stream": "https://sources.stream.centos.org/sources/rpms/gcc-c++/a%20b%231.tar.gz/sha1/ab/a%20b%231.tar.gz",
		"centos":        "https://git.centos.org/sources/gcc-c++/c8s/ab",
		"rocky":         "https://sources.build.resf.org/ab",
		"rocky-8":       "https://rocky-linux-sources-staging.a1.rockylinux.org/ab",
		"almalinux":     "https://sources.almalinux.org/ab",
	} {
		if got, err := name.URL(f); got != want || err != nil || name.Check() != nil {
			t.Errorf("%s: %s, %v, want %s", name, got, err, want)
		}
	}
	if got := len(rpmflow.LookasidePresets()); got != 6 {
		t.Errorf("%d presets, and not all of them are tested", got)
	}
}

// What a packager can have wrong in a list, and what is said of it.
func TestLookasideFailures(t *testing.T) {
	remote := newServer(t)
	remote.files["/"+sha("other")] = tarball
	files := func(list string) map[string]string {
		return map[string]string{"hello.spec": plainSpec, "sources": list, "a.patch": "P"}
	}
	for _, test := range []struct {
		name      string
		files     map[string]string
		lookaside rpmflow.Lookaside
		layout    rpmflow.Layout
		words     []string
	}{
		{"none configured", files(bsd("x.tar.gz", "x")), "", "", []string{"x.tar.gz", "no lookaside", "set lookaside:", "fedora"}},
		{"not there", files(bsd("x.tar.gz", "x")), "/{hash}", "", []string{"x.tar.gz", "404", "127.0.0.1"}},
		{"another file", files(bsd("x.tar.gz", "other")), "/{hash}", "", []string{"x.tar.gz", sha("other"), sha(tarball)}},
		{"in git, but another file", map[string]string{"hello.spec": plainSpec, "sources": bsd("x.tar.gz", "other"), "x.tar.gz": tarball}, "/{hash}", "", []string{"x.tar.gz in the repository", sha("other"), sha(tarball)}},
		{"climbing", files(bsd("../x.tar.gz", "x")), "/{hash}", "", []string{"sources, line 1", "no plain file name"}},
		{"a line that is none", files(bsd("x", "x") + "what?\n"), "/{hash}", "", []string{"sources, line 2"}},
		{"no list", map[string]string{"hello.spec": plainSpec}, "/{hash}", rpmflow.LayoutDistGit, []string{"neither sources nor .hello.metadata"}},
		{"foreign lists", map[string]string{"hello.spec": plainSpec, ".a.metadata": "x", ".b.metadata": "x"}, "/{hash}", "", []string{".a.metadata, .b.metadata", "none of which is .hello.metadata"}},
		{"lists that disagree", map[string]string{"SPECS/hello.spec": plainSpec, "sources": bsd("x", "x"), ".hello.metadata": sha("y") + " SOURCES/x\n"}, "/{hash}", "", []string{"two lists", sha("x"), sha("y")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := withCache(t)
			w := newWork(t)
			req := w.request(w.commit(test.files))
			req.Layout = test.layout
			if test.lookaside != "" {
				req.Sources.Lookaside = rpmflow.Lookaside(remote.url) + test.lookaside
			}
			_, err := s.Prepare(t.Context(), req, t.TempDir())
			wantFailure(t, err, rpmflow.FailureSource, test.words...)
		})
	}
	t.Run("a tag has no branch", func(t *testing.T) {
		s, _ := withCache(t)
		w := newWork(t)
		req := w.request(w.commit(files(bsd("x.tar.gz", "x"))))
		w.git("tag", "v1")
		req.Ref, req.Sources.Lookaside = "refs/tags/v1", "centos"
		_, err := s.Prepare(t.Context(), req, t.TempDir())
		wantFailure(t, err, rpmflow.FailureSource, "x.tar.gz", "{branch}", "push a branch")
	})
}

// remoteSpec is the start of a spec as rpmspec prints it, with these tags.
func remoteSpec(tags ...string) []byte {
	return []byte("Name: hello\nVersion: 1.0\n" + strings.Join(tags, "\n") + "\n%description\nx\n")
}

func TestDownload(t *testing.T) {
	remote, mirror := newServer(t), newServer(t)
	remote.files = map[string]string{"/v1.0.tar.gz": tarball, "/get": "sub", "/fix.patch": "P"}
	mirror.files = map[string]string{"/m/gone.tar.gz": "from the mirror"}
	s, cache := withCache(t)
	w := newWork(t)
	text := "Name: hello\nVersion: 1.0\nSource0: " + remote.url + "/v%{version}.tar.gz#/hello-%{version}.tar.gz\n"
	req := w.request(w.commit(map[string]string{"hello.spec": text, "local.conf": "L"}))
	req.Sources.Mirrors = []string{mirror.url + "/m", mirror.url + "/{hash}/{file}"}
	req.Sources.Checksums = []string{"sha512:" + sha("sub") + " sub.txt"}
	expanded := remoteSpec("Source0: "+remote.url+"/v1.0.tar.gz#/hello-1.0.tar.gz", "Source1: local.conf", "Source2: "+strings.Replace(remote.url, "//", "//ann:hunter2@", 1)+"/get?sub#/sub.txt",
		"Source3: "+remote.url+"/gone.tar.gz", "Patch0: "+remote.url+"/fix.patch")

	p := prepare(t, s, req)
	if p.Layout != rpmflow.LayoutStandard || !p.NeedsExpansion() || len(p.Files) != 0 {
		t.Fatalf("%s, needs expansion %v, %+v", p.Layout, p.NeedsExpansion(), p.Files)
	}
	must(t, p.Complete(t.Context(), expanded))
	if got := names(t, p.Sources); got != "fix.patch gone.tar.gz hello-1.0.tar.gz local.conf sub.txt" {
		t.Errorf("got %s", got)
	}
	var origins []string
	for _, f := range p.Files {
		if strings.Contains(f.URL, "hunter2") {
			t.Errorf("a password in the record: %+v", f)
		}
		origins = append(origins, f.Name+" "+string(f.Origin)+" "+strings.NewReplacer(remote.url, "remote", mirror.url, "mirror").Replace(f.URL))
	}
	if got, want := strings.Join(origins, "\n"), "hello-1.0.tar.gz download remote/v1.0.tar.gz#/hello-1.0.tar.gz\nsub.txt download remote/get?sub#/sub.txt\n"+
		"gone.tar.gz download mirror/m/gone.tar.gz\nfix.patch download remote/fix.patch"; got != want {
		t.Errorf("recorded\n%s\nwant\n%s", got, want)
	}
	if got := remote.requests(); got != "/fix.patch /get /gone.tar.gz /v1.0.tar.gz" {
		t.Errorf("asked for %s", got)
	}

	again := prepare(t, s, req)
	must(t, again.Complete(t.Context(), expanded))
	if got := remote.requests() + mirror.requests(); got != "/m/gone.tar.gz" || len(again.Files) != 4 || again.Files[2].Origin != rpmflow.OriginCache {
		t.Errorf("asked again for %q; recorded %+v", got, again.Files)
	}

	// Without its content the record says what it must be.
	remote.files["/v1.0.tar.gz"] = "another tarball"
	must(t, os.RemoveAll(cache.dir))
	must(t, os.Mkdir(cache.dir, 0o700))
	changed := prepare(t, s, req)
	err := changed.Complete(t.Context(), expanded)
	wantFailure(t, err, rpmflow.FailureSource, "Source0", "has changed", sha(tarball), sha("another tarball"), "checksums")
	if strings.Contains(names(t, changed.Sources), "part") || strings.Contains(names(t, changed.Sources), "hello") {
		t.Errorf("left behind: %s", names(t, changed.Sources))
	}
	// Another project has never seen it; and the project's word counts more than the record.
	for _, accept := range []func(*Request){
		func(r *Request) { r.Project = "other" },
		func(r *Request) {
			r.Sources.Checksums = append(r.Sources.Checksums, "sha512:"+sha("another tarball")+" hello-1.0.tar.gz")
		},
	} {
		r := req
		accept(&r)
		must(t, prepare(t, s, r).Complete(t.Context(), expanded))
	}
}

func TestDownloadWithABadCache(t *testing.T) {
	remote := newServer(t)
	remote.files["/x.tar.gz"] = tarball
	s, cache := withCache(t)
	w := newWork(t)
	req := w.request(w.commit(map[string]string{"hello.spec": "Name: hello\nSource0: " + remote.url + "/x.tar.gz\n"}))
	complete := func() *Prepared {
		t.Helper()
		p := prepare(t, s, req)
		must(t, p.Complete(t.Context(), remoteSpec("Source0: "+remote.url+"/x.tar.gz")))
		if content(t, filepath.Join(p.Sources, "x.tar.gz")) != tarball || len(p.Files) != 1 {
			t.Errorf("got %s, %+v", names(t, p.Sources), p.Files)
		}
		return p
	}
	complete()
	kept, err := filepath.Glob(cache.dir + "/*")
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	must(t, os.WriteFile(kept[0], []byte("damaged"), 0o600))
	if p := complete(); p.Files[0].Origin != rpmflow.OriginDownload || !strings.Contains(strings.Join(p.Notes, "\n"), "cache could not be used for x.tar.gz") {
		t.Errorf("%+v, %q", p.Files, p.Notes)
	}
	if p := complete(); p.Files[0].Origin != rpmflow.OriginCache || len(p.Notes) != 0 { // mended
		t.Errorf("%+v, %q", p.Files, p.Notes)
	}
	cache.err = errors.New("no route to host")
	if p := complete(); p.Files[0].Origin != rpmflow.OriginDownload || len(p.Notes) == 0 {
		t.Errorf("%+v, %q", p.Files, p.Notes)
	}
}

func TestDownloadFailures(t *testing.T) {
	remote := newServer(t)
	remote.files["/big"], remote.files["/x"] = strings.Repeat("x", 1<<20+1), "x"
	for i := range 5 {
		remote.files[fmt.Sprint("/part", i)] = strings.Repeat("x", 1<<20)
	}
	var many []string
	for i := range maxURLs + 1 {
		many = append(many, fmt.Sprintf("Source%d: %s/%d", i, remote.url, i))
	}
	parts := func() (tags []string) {
		for i := range 5 {
			tags = append(tags, fmt.Sprintf("Source%d: %s/part%d", i, remote.url, i))
		}
		return tags
	}
	s, _ := withCache(t)
	w := newWork(t)
	req := w.request(w.commit(map[string]string{"hello.spec": "Name: hello\n", "data/x": "x"}))
	req.Layout = rpmflow.LayoutStandard
	for _, test := range []struct {
		name  string
		tags  []string
		words []string
	}{
		{"not in git", []string{"Source1: hello.conf"}, []string{"Source1 hello.conf is not in the repository", "commit the file"}},
		{"a patch that is not in git", []string{"Patch7: x/fix.patch"}, []string{"Patch7 x/fix.patch is not in the repository"}},
		{"a directory", []string{"Source0: data"}, []string{"Source0 data is a directory", "archive"}},
		{"a directory by its path", []string{"Source0: some/where/data"}, []string{"Source0 some/where/data is a directory"}},
		{"climbing", []string{"Source0: ../.."}, []string{"Source0 ../.. is not in the repository"}},
		{"another scheme", []string{"Source0: git+ssh://host/x.tar.gz"}, []string{"Source0", "not in the repository"}},
		{"a file of the builder", []string{"Source0: file:///etc/passwd"}, []string{"Source0 file:///etc/passwd is not in the repository"}},
		{"no name", []string{"Source0: " + remote.url + "/x#/"}, []string{"Source0", "no plain file name", "#/file.tar.gz"}},
		{"the directory itself", []string{"Source0: " + remote.url + "/x#/.."}, []string{"Source0", "no plain file name"}},
		{"not on the server", []string{"Source0: " + remote.url + "/y"}, []string{"Source0: ", "/y", "404 Not Found"}},
		{"private", []string{"Source0: http://169.254.169.254/latest/meta-data"}, []string{"Source0: ", "not a public address"}},
		{"one name for two", []string{"Source0: " + remote.url + "/a/x", "Source1: " + remote.url + "/b/x"}, []string{"two URLs for the one file x"}},
		{"too large", []string{"Source0: " + remote.url + "/big"}, []string{"more than 1048576 bytes"}},
		{"too large together", parts(), []string{"more than 4194304 bytes together"}},
		{"too many", many, []string{"1001 sources"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := prepare(t, s, req)
			err := p.Complete(t.Context(), remoteSpec(test.tags...))
			wantFailure(t, err, rpmflow.FailureSource, test.words...)
			if got := names(t, p.Sources); strings.Contains(got, ".part") {
				t.Errorf("left behind: %s", got)
			}
		})
	}
	// What rpm does without need not be there.
	must(t, prepare(t, s, req).Complete(t.Context(), remoteSpec("Source0: hello.tar.gz", "NoSource: 0")))
}

// Whether to expand is a guess; it must say yes where a source is plainly not there.
func TestMayMiss(t *testing.T) {
	for text, want := range map[string]bool{
		"Name: a\n": false,
		"Name: a\nSource0: a.tar.gz\nPatch: fix.patch\n":              false,
		"Name: a\nSource0: https://example.org/%{name}.tar.gz\n":      false,
		"Name: a\nSource0: b.tar.gz\n":                                true,
		"Name: a\nSource0: a.tar.gz\nPatch1: https://x/other.patch\n": true,
		"Name: a\n%package b\nSource7: c\n%description\nx\n":          true,
		"Name: a\n%description\nSource0: none.tar.gz\n":               false,
	} {
		dir := t.TempDir()
		p := &Prepared{Spec: filepath.Join(dir, "a.spec"), Sources: filepath.Join(dir, "s")}
		must(t, os.Mkdir(p.Sources, 0o700))
		must(t, os.WriteFile(p.Spec, []byte(text), 0o600))
		for _, name := range []string{"a.tar.gz", "fix.patch"} {
			must(t, os.WriteFile(filepath.Join(p.Sources, name), nil, 0o600))
		}
		if got, err := p.mayMiss(); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
