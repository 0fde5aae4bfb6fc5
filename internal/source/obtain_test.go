package source

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

// remoteSpec is the start of a spec as rpmspec prints it, with these tags.
func remoteSpec(tags ...string) []byte {
	return []byte("Name: hello\nVersion: 1.0\n" + strings.Join(tags, "\n") + "\n%description\nx\n")
}

func TestDownload(t *testing.T) {
	t.Parallel()
	remote, mirror := newServer(t), newServer(t)
	remote.files = map[string]string{"/v1.0.tar.gz": tarball, "/get": "sub", "/fix.patch": "P"}
	mirror.files = map[string]string{"/m/gone.tar.gz": "from the mirror"}
	s, cache := withCache(t)
	w := gittest.New(t)
	text := "Name: hello\nVersion: 1.0\nSource0: " + remote.url + "/v%{version}.tar.gz#/hello-%{version}.tar.gz\n"
	req := request(w, w.Commit(map[string]string{"hello.spec": text, "local.conf": "L"}))
	req.Sources.Mirrors = []string{mirror.url + "/m", mirror.url + "/{hash}/{file}"}
	req.Sources.Checksums = []string{"sha512:" + sha("sub") + " sub.txt"}
	expanded := remoteSpec("Source0: "+remote.url+"/v1.0.tar.gz#/hello-1.0.tar.gz", "Source1: local.conf",
		"Source2: "+strings.Replace(remote.url, "//", "//ann:hunter2@", 1)+"/get?sub#/sub.txt",
		"Source3: "+remote.url+"/gone.tar.gz", "Patch0: "+remote.url+"/fix.patch")

	p := prepare(t, s, req)
	if p.Layout != rpmflow.LayoutStandard || !p.needsExpansion() || len(p.Files) != 0 {
		t.Fatalf("%s, needs expansion %v, %+v", p.Layout, p.needsExpansion(), p.Files)
	}
	testkit.Must(t, finish(t.Context(), p, expanded))
	if got := names(t, p.Sources); got != "fix.patch gone.tar.gz hello-1.0.tar.gz local.conf sub.txt" {
		t.Errorf("got %s", got)
	}
	var origins []string
	for _, f := range p.Files {
		if strings.Contains(f.URL, "hunter2") {
			t.Errorf("a password in the record: %+v", f)
		}
		origins = append(origins, f.Name+" "+string(f.Origin)+" "+strings.NewReplacer(remote.url, "remote", mirror.url,
			"mirror").Replace(f.URL))
	}
	if got, want := strings.Join(origins, "\n"), "hello-1.0.tar.gz download remote/v1.0.tar.gz#/hello-1.0.tar.gz\n"+
		"sub.txt download remote/get?sub#/sub.txt\n"+
		"gone.tar.gz download mirror/m/gone.tar.gz\nfix.patch download remote/fix.patch"; got != want {
		t.Errorf("recorded\n%s\nwant\n%s", got, want)
	}
	if got := remote.requests(); got != "/fix.patch /get /gone.tar.gz /v1.0.tar.gz" {
		t.Errorf("asked for %s", got)
	}

	again := prepare(t, s, req)
	testkit.Must(t, finish(t.Context(), again, expanded))
	if got := remote.requests() + mirror.requests(); got != "/m/gone.tar.gz" || len(again.Files) != 4 ||
		again.Files[2].Origin != rpmflow.OriginCache {
		t.Errorf("asked again for %q; recorded %+v", got, again.Files)
	}

	// Without its content the record says what it must be.
	remote.files["/v1.0.tar.gz"] = "another tarball"
	testkit.Must(t, os.RemoveAll(cache.dir))
	testkit.Must(t, os.Mkdir(cache.dir, 0o700))
	changed := prepare(t, s, req)
	err := finish(t.Context(), changed, expanded)
	failtest.Want(t, err, rpmflow.FailureSource, "Source0", "has changed", sha(tarball), sha("another tarball"),
		"checksums")
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
		testkit.Must(t, finish(t.Context(), prepare(t, s, r), expanded))
	}
}

func TestDownloadWithABadCache(t *testing.T) {
	t.Parallel()
	remote := newServer(t)
	remote.files["/x.tar.gz"] = tarball
	s, cache := withCache(t)
	w := gittest.New(t)
	req := request(w, w.Commit(map[string]string{"hello.spec": "Name: hello\nSource0: " + remote.url + "/x.tar.gz\n"}))
	complete := func() *Draft {
		t.Helper()
		p := prepare(t, s, req)
		testkit.Must(t, finish(t.Context(), p, remoteSpec("Source0: "+remote.url+"/x.tar.gz")))
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
	testkit.Must(t, os.WriteFile(kept[0], []byte("damaged"), 0o600))
	if p := complete(); p.Files[0].Origin != rpmflow.OriginDownload || !strings.Contains(strings.Join(p.Notes, "\n"),
		"cache could not be used for x.tar.gz") {
		t.Errorf("%+v, %q", p.Files, p.Notes)
	}
	if p := complete(); p.Files[0].Origin != rpmflow.OriginCache || len(p.Notes) != 0 { // repaired
		t.Errorf("%+v, %q", p.Files, p.Notes)
	}
	cache.err = errors.New("no route to host")
	if p := complete(); p.Files[0].Origin != rpmflow.OriginDownload || len(p.Notes) == 0 {
		t.Errorf("%+v, %q", p.Files, p.Notes)
	}
}

func TestDownloadFailures(t *testing.T) {
	t.Parallel()
	remote := newServer(t)
	remote.files["/big"], remote.files["/x"] = strings.Repeat("x", 1<<20+1), "x"
	for i := range 5 {
		remote.files[fmt.Sprint("/part", i)] = strings.Repeat("x", 1<<20)
	}
	var many []string
	for i := range 1000 + 1 {
		many = append(many, fmt.Sprintf("Source%d: %s/%d", i, remote.url, i))
	}
	parts := func() (tags []string) {
		for i := range 5 {
			tags = append(tags, fmt.Sprintf("Source%d: %s/part%d", i, remote.url, i))
		}
		return tags
	}
	s, _ := withCache(t)
	w := gittest.New(t)
	req := request(w, w.Commit(map[string]string{"hello.spec": "Name: hello\n", "data/x": "x"}))
	req.Layout = rpmflow.LayoutStandard
	for _, test := range []struct {
		name  string
		tags  []string
		words []string
	}{
		{"not in git", []string{"Source1: hello.conf"}, []string{"Source1 hello.conf is not in the repository",
			"commit the file"}},
		{"a patch that is not in git", []string{"Patch7: x/fix.patch"},
			[]string{"Patch7 x/fix.patch is not in the repository"}},
		{"a directory", []string{"Source0: data"}, []string{"Source0 data is a directory", "archive"}},
		{"a directory by its path", []string{"Source0: some/where/data"},
			[]string{"Source0 some/where/data is a directory"}},
		{"climbing", []string{"Source0: ../.."}, []string{"Source0 ../.. is not in the repository"}},
		{"another scheme", []string{"Source0: git+ssh://host/x.tar.gz"}, []string{"Source0", "not in the repository"}},
		{"a file of the builder", []string{"Source0: file:///etc/passwd"},
			[]string{"Source0 file:///etc/passwd is not in the repository"}},
		{"no name", []string{"Source0: " + remote.url + "/x#/"}, []string{"Source0", "not a plain file name",
			"#/file.tar.gz"}},
		{"the directory itself", []string{"Source0: " + remote.url + "/x#/.."},
			[]string{"Source0", "not a plain file name"}},
		{"not on the server", []string{"Source0: " + remote.url + "/y"}, []string{"Source0: ", "/y", "404 Not Found"}},
		{"private", []string{"Source0: http://169.254.169.254/latest/meta-data"}, []string{"Source0: ",
			"not a public address"}},
		{"one name for two", []string{"Source0: " + remote.url + "/a/x", "Source1: " + remote.url + "/b/x"},
			[]string{"two URLs for the one file x"}},
		{"too large", []string{"Source0: " + remote.url + "/big"}, []string{"more than 1048576 bytes"}},
		{"too large together", parts(), []string{"more than 4194304 bytes together"}},
		{"too many", many, []string{"1001 sources"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := prepare(t, s, req)
			err := finish(t.Context(), p, remoteSpec(test.tags...))
			failtest.Want(t, err, rpmflow.FailureSource, test.words...)
			if got := names(t, p.Sources); strings.Contains(got, ".part") {
				t.Errorf("left behind: %s", got)
			}
		})
	}
	// A file that rpm does not need may be missing.
	testkit.Must(t, finish(t.Context(), prepare(t, s, req), remoteSpec("Source0: hello.tar.gz", "NoSource: 0")))
}

// Whether to expand is a guess; it must say yes where a source is plainly not there.
func TestMayMiss(t *testing.T) {
	t.Parallel()
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
		p := &Draft{Spec: filepath.Join(dir, "a.spec"), Sources: filepath.Join(dir, "s")}
		testkit.Must(t, os.Mkdir(p.Sources, 0o700))
		testkit.Must(t, os.WriteFile(p.Spec, []byte(text), 0o600))
		for _, name := range []string{"a.tar.gz", "fix.patch"} {
			testkit.Must(t, os.WriteFile(filepath.Join(p.Sources, name), nil, 0o600))
		}
		if got, err := p.mayMiss(); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestChecksumsOfCommittedFiles: they hold for what is in the repository, and for what is made of it, as for what is
// downloaded.
func TestChecksumsOfCommittedFiles(t *testing.T) {
	t.Parallel()
	beside := map[string]string{"hello.spec": "Name: hello\nVersion: 1\nSource0: hello.tar.gz\n%prep\n",
		"hello.tar.gz": "right"}
	inTree := map[string]string{"hello.spec": "Name: hello\nVersion: 1\nSource0: hello.tar\n%prep\n",
		"main.c": "int main;", "src/a.c": "x"}
	for _, tt := range []struct {
		name, file string
		files      map[string]string
		layout     rpmflow.Layout
		content    string // whose checksum the project has; empty: the file's own
		fails      bool
	}{
		{"right", "hello.tar.gz", beside, rpmflow.LayoutStandard, "right", false},
		{"wrong", "hello.tar.gz", beside, rpmflow.LayoutStandard, "wrong", true},
		{"of another file", "other.tar.gz", beside, rpmflow.LayoutStandard, "wrong", false},
		{"of a tree, wrong", "hello.tar", inTree, rpmflow.LayoutInTree, "wrong", true},
		{"of a tree, right", "hello.tar", inTree, rpmflow.LayoutInTree, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := withCache(t)
			w := gittest.New(t)
			req := request(w, w.Commit(tt.files))
			req.Layout = tt.layout
			make := func() (*Draft, error) {
				p, err := s.Prepare(t.Context(), req, t.TempDir())
				if err == nil {
					err = finish(t.Context(), p, []byte(tt.files["hello.spec"]))
				}
				return p, err
			}
			if tt.content == "" {
				p, err := make()
				testkit.Must(t, err)
				tt.content = content(t, filepath.Join(p.Sources, tt.file))
			}
			req.Sources.Checksums = []string{"sha512:" + sha(tt.content) + " " + tt.file}
			_, err := make()
			if tt.fails {
				failtest.Want(t, err, rpmflow.FailureSource, tt.file+" has the sha512 checksum",
					"must have "+sha(tt.content),
					"checksums:")
				return
			}
			testkit.Must(t, err)
		})
	}
}
