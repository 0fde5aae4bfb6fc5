package source

import (
	"cmp"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
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

// TestLookaside prepares repositories as the distributions have them, from a lookaside with their URLs.
func TestLookaside(t *testing.T) {
	t.Parallel()
	remote := newServer(t)
	sum1, sum256, sumMD5 := fmt.Sprintf("%x", sha1.Sum([]byte(tarball))), fmt.Sprintf("%x",
		sha256.Sum256([]byte(tarball))), fmt.Sprintf("%x", md5.Sum([]byte(tarball)))
	for _, test := range []struct {
		name     string
		files    map[string]string
		template string
		path     string
		why      string
	}{
		{"fedora", map[string]string{"hello.spec": plainSpec, "sources": bsd("hello-1.0.tar.gz", tarball),
			"a.patch": "P",
			"tests/x": "x"},
			"/repo/pkgs/rpms/{name}/{file}/{hashtype}/{hash}/{file}", "/repo/pkgs/rpms/hello/hello-1.0.tar.gz/sha512/" +
				sha(tarball) + "/hello-1.0.tar.gz",
			"dist-git: hello.spec and the list of its sources, sources, at the top of the repository"},
		{"fedora, long ago", map[string]string{"hello.spec": plainSpec, "sources": sumMD5 + "  hello-1.0.tar.gz\n",
			"a.patch": "P"},
			"/{name}/{file}/{hashtype}/{hash}/{file}", "/hello/hello-1.0.tar.gz/md5/" + sumMD5 + "/hello-1.0.tar.gz",
			"dist-git"},
		{"centos", map[string]string{"SPECS/hello.spec": plainSpec, ".hello-pkg.metadata": sum1 +
			" SOURCES/hello-1.0.tar.gz\n", "SOURCES/a.patch": "P", ".gitignore": "x"},
			"/sources/{name}/{branch}/{hash}", "/sources/hello-pkg/main/" + sum1,
			"dist-git: hello.spec and the list of its sources, .hello-pkg.metadata, in SPECS and SOURCES"},
		{"rocky", map[string]string{"SPECS/hello.spec": plainSpec, ".hello.metadata": sum256 +
			" SOURCES/hello-1.0.tar.gz\n",
			".other.metadata": "x", "SOURCES/a.patch": "P"},
			"/{hash}", "/" + sum256, "dist-git"},
		{"both lists", map[string]string{"SPECS/hello.spec": plainSpec, ".hello.metadata": sum256 +
			" SOURCES/hello-1.0.tar.gz\n", "sources": bsd("hello-1.0.tar.gz", tarball), "SOURCES/a.patch": "P"},
			"/{hash}", "/" + sha(tarball), "sources, .hello.metadata"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := withCache(t)
			w := gittest.New(t)
			req := request(w, w.Commit(test.files))
			req.Sources.Lookaside = remote.url + test.template
			remote.files = map[string]string{test.path: tarball}
			p := prepare(t, s, req)
			if p.Layout != rpmflow.LayoutDistGit || !strings.Contains(p.Explanation, test.why) || p.needsExpansion() {
				t.Errorf("got %s, %q, needs expansion %v", p.Layout, p.Explanation, p.needsExpansion())
			}
			if content(t, filepath.Join(p.Sources, "hello-1.0.tar.gz")) != tarball ||
				!strings.HasPrefix(names(t, p.Sources),
					"a.patch hello-1.0.tar.gz") {
				t.Errorf("got %s", names(t, p.Sources))
			}
			info, err := os.Stat(filepath.Join(p.Sources, "hello-1.0.tar.gz"))
			testkit.Must(t, err)
			if info.Mode() != 0o644 || !info.ModTime().Equal(p.CommitTime) {
				t.Errorf("the tarball is not like the other sources: %v", info)
			}
			want := rpmflow.SourceFile{Name: "hello-1.0.tar.gz", URL: remote.url + test.path, SHA512: sha(tarball),
				Size: int64(len(tarball)), Origin: rpmflow.OriginLookaside}
			if len(p.Files) != 1 || p.Files[0] != want {
				t.Errorf("recorded %+v", p.Files)
			}
			if got := remote.requests(); got != test.path {
				t.Errorf("asked for %s", got)
			}
			p = prepare(t, s, req) // from the cache now
			want.Origin = rpmflow.OriginCache
			if got := remote.requests(); got != "" || len(p.Files) != 1 || p.Files[0] != want ||
				content(t, filepath.Join(p.Sources, "hello-1.0.tar.gz")) != tarball {
				t.Errorf("asked again for %s; recorded %+v", got, p.Files)
			}
		})
	}
}

// The mistakes of a packager in a list, and the errors about them.
func TestLookasideFailures(t *testing.T) {
	t.Parallel()
	remote := newServer(t)
	remote.files["/"+sha("other")] = tarball
	files := func(list string) map[string]string {
		return map[string]string{"hello.spec": plainSpec, "sources": list, "a.patch": "P"}
	}
	for _, test := range []struct {
		name      string
		files     map[string]string
		lookaside string
		layout    rpmflow.Layout
		words     []string
	}{
		{"not there", files(bsd("x.tar.gz", "x")), "/{hash}", "", []string{"x.tar.gz", "404", "127.0.0.1"}},
		{"another file", files(bsd("x.tar.gz", "other")), "/{hash}", "", []string{"x.tar.gz", sha("other"),
			sha(tarball)}},
		{"in git, but another file", map[string]string{"hello.spec": plainSpec, "sources": bsd("x.tar.gz", "other"),
			"x.tar.gz": tarball}, "/{hash}", "", []string{"x.tar.gz in the repository", sha("other"), sha(tarball)}},
		{"climbing", files(bsd("../x.tar.gz", "x")), "/{hash}", "",
			[]string{"sources, line 1", "not a plain file name"}},
		{"a line that is none", files(bsd("x", "x") + "what?\n"), "/{hash}", "", []string{"sources, line 2"}},
		{"no list", map[string]string{"hello.spec": plainSpec}, "/{hash}", rpmflow.LayoutDistGit,
			[]string{"neither sources nor .hello.metadata"}},
		{"foreign lists", map[string]string{"hello.spec": plainSpec, ".a.metadata": "x", ".b.metadata": "x"}, "/{hash}",
			"",
			[]string{".a.metadata, .b.metadata", "none of which is .hello.metadata"}},
		{"lists that disagree", map[string]string{"SPECS/hello.spec": plainSpec, "sources": bsd("x", "x"),
			".hello.metadata": sha("y") + " SOURCES/x\n"}, "/{hash}", "", []string{"two lists", sha("x"), sha("y")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := withCache(t)
			w := gittest.New(t)
			req := request(w, w.Commit(test.files))
			req.Layout = test.layout
			if test.lookaside != "" {
				req.Sources.Lookaside = remote.url + test.lookaside
			}
			_, err := s.Prepare(t.Context(), req, t.TempDir())
			failtest.Want(t, err, rpmflow.FailureSource, test.words...)
		})
	}
	t.Run("a tag has no branch", func(t *testing.T) {
		s, _ := withCache(t)
		w := gittest.New(t)
		req := request(w, w.Commit(files(bsd("x.tar.gz", "x"))))
		w.Git("tag", "v1")
		req.Ref, req.Sources.Lookaside = "refs/tags/v1", "centos"
		_, err := s.Prepare(t.Context(), req, t.TempDir())
		failtest.Want(t, err, rpmflow.FailureSource, "x.tar.gz", "{branch}", "push a branch")
	})
}

// TestListWithoutLookaside: what the spec has a URL of is downloaded from there, and must be what the list says.
func TestListWithoutLookaside(t *testing.T) {
	t.Parallel()
	remote := newServer(t)
	remote.files["/up/x.tar.gz"] = tarball
	spec := func(sources string) string { return "Name: hello\nVersion: 1\n" + sources + "\n%prep\n" }
	for _, tt := range []struct {
		name, spec, expanded, list string
		notes, words               []string // of a record; of a failure
	}{
		{"a URL", spec("Source0: " + remote.url + "/up/x.tar.gz"), "", bsd("x.tar.gz", tarball), nil, nil},
		{"a URL that rpm knows", spec("Source0: %{url}/x.tar.gz"), spec("Source0: " + remote.url + "/up/x.tar.gz"),
			bsd("x.tar.gz", tarball), nil, nil},
		{"another file", spec("Source0: " + remote.url + "/up/x.tar.gz"), "", bsd("x.tar.gz", "other"), nil,
			[]string{"x.tar.gz has the sha512 checksum " + sha(tarball), sha("other")}},
		{"no URL after all", spec("Source0: %{?where}hello.tar.gz"), spec("Source0: hello.tar.gz"),
			bsd("hello.tar.gz", "x"),
			nil, []string{"hello.tar.gz is in the list of sources only", "set lookaside:"}},
		{"no URL, as one can see", spec("Source0: hello.tar.gz"), "", bsd("hello.tar.gz", "x"), nil,
			[]string{"hello.tar.gz is in the list of sources only", "no lookaside", "set lookaside:", "fedora"}},
		{"a nested macro", spec("Source0: %{?a:%{b}x}"), spec("Source0: " + remote.url + "/up/x.tar.gz"),
			bsd("x.tar.gz",
				tarball), nil, nil},
		{"a line that a macro makes", spec("%{!?x:Source0: y}"), spec("Source0: " + remote.url + "/up/x.tar.gz"),
			bsd("x.tar.gz", tarball), nil, nil},
		{"%sourcelist", spec("%sourcelist\n" + remote.url + "/up/x.tar.gz"), "", bsd("x.tar.gz", tarball), nil, nil},
		{"a name behind =", spec("Source0: " + remote.url + "/up/x.tar.gz?f=x.tar.gz"), "", bsd("x.tar.gz", tarball),
			nil,
			nil},
		{"not named after all", spec("Source0: %{?hidden}"), spec(""), bsd("x.tar.gz", tarball),
			[]string{"x.tar.gz is in the list of sources, but is not a source of the spec"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := withCache(t)
			w := gittest.New(t)
			p, err := s.Prepare(t.Context(),
				request(w, w.Commit(map[string]string{"hello.spec": tt.spec, "sources": tt.list})),
				t.TempDir())
			testkit.Must(t, err)
			if !p.needsExpansion() {
				t.Error("rpm is not asked where the sources are")
			}
			err = finish(t.Context(), p, []byte(cmp.Or(tt.expanded, tt.spec)))
			if tt.words != nil {
				failtest.Want(t, err, rpmflow.FailureSource, tt.words...)
				return
			}
			testkit.Must(t, err)
			for _, n := range tt.notes {
				if !strings.Contains(strings.Join(p.Notes, "\n"), n) {
					t.Errorf("notes %q lack %q", p.Notes, n)
				}
			}
			if tt.notes == nil && content(t, filepath.Join(p.Sources, "x.tar.gz")) != tarball {
				t.Error("another file")
			}
		})
	}
}
