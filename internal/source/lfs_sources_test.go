package source

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

// Files next to the spec have their content in every layout; of a tree that is the source only those that the spec
// names.
func TestLFSSources(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	h := newLFSHost(t, filepath.Dir(w.Dir), "tok-en")
	req := func(layout rpmflow.Layout, files map[string]string) Request {
		return Request{Project: "hello", URL: h.url + "/hello/.git", Ref: "refs/heads/main", Commit: w.Commit(files),
			Layout: layout, Sources: rpmflow.Sources{LFS: true}}
	}
	s := lfsStore(t, h)

	standard := req("", map[string]string{"hello.spec": plainSpec, "hello-1.0.tar.gz": h.keep(tarball),
		"run.sh": h.keep("#!/bin/sh\n"), "a.patch": "P"})
	p := prepare(t, s, standard)
	if p.Layout != rpmflow.LayoutStandard || content(t, filepath.Join(p.Sources, "hello-1.0.tar.gz")) != tarball ||
		content(t, filepath.Join(p.Sources, "a.patch")) != "P" {
		t.Errorf("%s, %s", p.Layout, names(t, p.Sources))
	}
	info, err := os.Stat(filepath.Join(p.Sources, "hello-1.0.tar.gz"))
	testkit.Must(t, err)
	if info.Mode() != 0o644 || !info.ModTime().Equal(p.CommitTime) ||
		names(t, filepath.Dir(p.Sources)) != "SOURCES SPECS" {
		t.Errorf("%v %v, left %s", info.Mode(), info.ModTime(), names(t, filepath.Dir(p.Sources)))
	}
	standard.Sources.LFS = false
	_, err = s.Prepare(t.Context(), standard, t.TempDir())
	failtest.Want(t, err, rpmflow.FailureSource, "hello-1.0.tar.gz is a Git LFS pointer", "lfs: true")

	rebuilt := prepare(t, s, req(rpmflow.LayoutSRPM, map[string]string{"x.src.rpm": h.keep("a source package")}))
	if content(t, rebuilt.SRPM) != "a source package" || names(t, filepath.Dir(rebuilt.SRPM)) != "package.src.rpm" {
		t.Errorf("got %s", names(t, filepath.Dir(rebuilt.SRPM)))
	}

	h.took()
	tree := req(rpmflow.LayoutInTree, map[string]string{"x.src.rpm": "", "hello-1.0.tar.gz": "",
		"hello.spec": specText("",
			""), "logo.png": h.keep("logo"), "movie.mp4": h.keep("movie"), "main.c": "m",
		".gitattributes": "*.mp4 export-ignore\n*.png export-ignore\n"})
	p = prepare(t, s, tree)
	testkit.Must(t, finish(t.Context(), p,
		[]byte(archiveSpec[:strings.Index(archiveSpec, "%prep")]+"Source1: logo.png\n"+
			"")))
	if _, asked := h.took(); asked != 1 || content(t, filepath.Join(p.Sources, "logo.png")) != "logo" {
		t.Errorf("%d downloads, %s", asked, names(t, p.Sources))
	}
	if strings.Contains(names(t, p.Sources), "movie") {
		t.Errorf("got %s", names(t, p.Sources))
	}

	// A repository on disk has its files next to it.
	local := standard
	local.URL, local.Sources.LFS = w.Dir, true
	_, err = newStore(t).Prepare(t.Context(), local, t.TempDir())
	failtest.Want(t, err, rpmflow.FailureSource, "hello-1.0.tar.gz", "lfs/objects", "git lfs push --all")
	for _, text := range []string{tarball, "#!/bin/sh\n"} {
		oid := oidOf(text)
		object := filepath.Join(w.Dir, ".git/lfs/objects", oid[:2], oid[2:4], oid)
		testkit.Must(t, os.MkdirAll(filepath.Dir(object), 0o755))
		testkit.Must(t, os.WriteFile(object, []byte(text), 0o600))
	}
	p = prepare(t, newStore(t), local)
	if content(t, filepath.Join(p.Sources, "hello-1.0.tar.gz")) != tarball {
		t.Error("not the repository's own file")
	}
	oid := oidOf(tarball)
	testkit.Must(t, os.WriteFile(filepath.Join(w.Dir, ".git/lfs/objects", oid[:2], oid[2:4], oid), []byte("A tarball"),
		0o600))
	_, err = newStore(t).Prepare(t.Context(), local, t.TempDir())
	failtest.Want(t, err, rpmflow.FailureSource, "hello-1.0.tar.gz", "another file than its pointer says")
}

func TestLFSOfSubmodules(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	h := newLFSHost(t, filepath.Dir(w.Dir), "tok-en")
	lib := w.Sibling("lib")
	theirs := lib.Commit(map[string]string{".gitattributes": lfsAttributes, "l.bin": h.keep("of the library")})
	files := inTree("Name: hello\n")
	files[".gitmodules"], files["own.bin"], files[".gitattributes"] = gitmodules("lib",
		"../../lib/.git"), h.keep("own"), lfsAttributes
	req := Request{Project: "hello", URL: h.url + "/hello/.git", Ref: "refs/heads/main",
		Commit: w.CommitSubmodules(files,
			map[string]string{"lib": theirs}), Sources: rpmflow.Sources{LFS: true, Submodules: true}}
	p := prepare(t, lfsStore(t, h), req)
	testkit.Must(t, finish(t.Context(), p, []byte(archiveSpec)))
	got := strings.Join(entriesOf(t, content(t, filepath.Join(p.Sources, "x.tar"))), "\n")
	if !strings.Contains(got, `"of the library"`) || !strings.Contains(got, `"own"`) ||
		strings.Contains(got, "git-lfs") {
		t.Errorf("got\n%s", got)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if got := strings.Join(h.batches,
		" "); got != "/hello/.git/info/lfs/objects/batch /lib/.git/info/lfs/objects/batch" {
		t.Errorf("asked %s", got)
	}
}

func TestLFSFailures(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	h := newLFSHost(t, filepath.Dir(w.Dir), "tok-en")
	download := func(o map[string]any, change func(d map[string]any)) {
		change(o["actions"].(map[string]any)["download"].(map[string]any))
	}
	for _, tt := range []struct {
		name   string
		text   string // of the pointer
		spoil  func()
		config string // .lfsconfig
		ours   bool   // to be tried again
		words  []string
	}{
		{name: "not on the server", text: pointerTo("nowhere"), words: []string{"a.bin", "404", "Object does not exist",
			"git lfs push --all"}},
		{name: "another file", text: h.keep("right"), spoil: func() { h.objects[oidOf("right")] = "WRONG" },
			words: []string{"a.bin", oidOf("right"), oidOf("WRONG")}},
		{name: "another size", text: strings.Replace(h.keep("12345"), "size 5", "size 4", 1),
			spoil: func() { h.change = func(map[string]any) {} }, words: []string{"5 bytes, and 4 by its pointer"}},
		{name: "too large", text: strings.Replace(h.keep("large"), "size 5", "size 1048577", 1),
			words: []string{"a.bin has 1048577 bytes by its Git LFS pointer", "builder.max_source"}},
		{name: "a longer file than it says", text: strings.Replace(h.keep(strings.Repeat("x", 1<<20+1)), "size 1048577",
			"size 5", 1), spoil: func() { h.change = func(map[string]any) {} },
			words: []string{"more than 1048576 bytes"}},
		{name: "no download", text: h.keep("x1"), spoil: func() {
			h.change = func(o map[string]any) {
				delete(o,
					"actions")
			}
		}, words: []string{"does not have it"}},
		{name: "nothing of it", text: h.keep("x2"),
			spoil: func() { h.change = func(o map[string]any) { o["oid"] = oidOf("other") } },
			words: []string{"does not mention it"}},
		{name: "a private place", text: h.keep("x3"), spoil: func() {
			h.change = func(o map[string]any) {
				download(o, func(d map[string]any) { d["href"] = "http://169.254.169.254/latest/meta-data" })
			}
		}, words: []string{"not a public address"}},
		{name: "a file of the builder", text: h.keep("x4"), spoil: func() {
			h.change = func(o map[string]any) {
				download(o,
					func(d map[string]any) { d["href"] = "file:///etc/passwd" })
			}
		}, words: []string{"no URL of http or https"}},
		{name: "always denied", text: h.keep("x5"), spoil: func() { h.stale = 10 }, words: []string{"403", "token"}},
		{name: "a malformed pointer", text: "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 1\n",
			words: []string{"a.bin is a malformed pointer"}},
		{name: "an extension", text: "version https://git-lfs.github.com/spec/v1\next-0-foo sha256:" + oidOf("x") +
			"\n" +
			strings.SplitN(h.keep("x6"), "\n", 2)[1], words: []string{"extension", "ext-0-foo"}},
		{name: "an endpoint on disk", text: h.keep("x7"), config: "[lfs]\n\turl = file:///srv/lfs\n",
			words: []string{".lfsconfig", "file:///srv/lfs"}},
		{name: "a private endpoint", text: h.keep("x8"), config: "[lfs]\n\turl = http://127.0.0.1:1/lfs\n",
			words: []string{"not a public address"}},
		{name: "always busy", text: h.keep("x9"), spoil: func() { h.busy = 100 }, ours: true, words: []string{"503"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := inTree("Name: hello\n")
			files[".gitattributes"], files["a.bin"], files[".lfsconfig"] = "*.bin filter=lfs\n", tt.text, tt.config
			req := Request{Project: "hello", URL: h.url + "/hello/.git", Ref: "refs/heads/main",
				Commit:  w.Commit(files),
				Sources: rpmflow.Sources{LFS: true}}
			if tt.spoil != nil {
				tt.spoil()
			}
			s := lfsStore(t, h)
			p := prepare(t, s, req)
			err := finish(t.Context(), p, []byte(archiveSpec))
			if tt.ours {
				failtest.WantOther(t, err)
			} else {
				failtest.Want(t, err, rpmflow.FailureSource, tt.words...)
			}
			if strings.Contains(fmt.Sprint(err), "s3cret") || names(t, p.Sources) != "a.patch" ||
				names(t, filepath.Dir(p.Sources)) != "SOURCES SPECS" {
				t.Errorf("%v; left %s, %s", err, names(t, p.Sources), names(t, filepath.Dir(p.Sources)))
			}
			h.busy, h.stale, h.change = 0, 0, nil
		})
	}
	// A server that fails for a while is asked again.
	files := inTree("Name: hello\n")
	files[".gitattributes"], files["a.bin"], files[".lfsconfig"] = "*.bin filter=lfs\n", h.keep("patience"), ""
	req := Request{Project: "hello", URL: h.url + "/hello/.git", Ref: "refs/heads/main", Commit: w.Commit(files),
		Sources: rpmflow.Sources{LFS: true}}
	h.busy, h.stale = 2, 1
	testkit.Must(t, finish(t.Context(), prepare(t, lfsStore(t, h), req), []byte(archiveSpec)))
	h.busy, h.stale = 0, 0
}

// The token goes only to the project's own server, also if .lfsconfig names another one.
func TestLFSConfig(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	h := newLFSHost(t, filepath.Dir(w.Dir), "tok-en")
	other := newLFSHost(t, t.TempDir(), "")
	var shown []string
	watch := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("Authorization"))
		other.batch(w, r)
	}))
	t.Cleanup(watch.Close)
	files := inTree("Name: hello\n")
	files[".gitattributes"], files["a.bin"] = "*.bin filter=lfs\n", other.keep("elsewhere")
	files[".lfsconfig"] = "[lfs]\n\turl = http://ann:hunter2@" + strings.TrimPrefix(watch.URL, "http://") +
		"/some/where/\n"
	req := Request{Project: "hello", URL: h.url + "/hello/.git", Ref: "refs/heads/main", Commit: w.Commit(files),
		Sources: rpmflow.Sources{LFS: true}}
	err := finish(t.Context(), prepare(t, lfsStore(t, h), req), []byte(archiveSpec))
	failtest.Want(t, err, rpmflow.FailureSource, "not a public address")
	if len(shown) != 0 || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v, shown %q", err, shown)
	}
	p := prepare(t, lfsStore(t, h, "127.0.0.1"), req)
	testkit.Must(t, finish(t.Context(), p, []byte(archiveSpec)))
	if got := strings.Join(entriesOf(t, content(t, filepath.Join(p.Sources, "x.tar"))), "\n"); !strings.Contains(got,
		`"elsewhere"`) {
		t.Errorf("got\n%s", got)
	}
	if len(shown) != 1 || shown[0] != "" {
		t.Errorf("shown %q", shown)
	}
}
