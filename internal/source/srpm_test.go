package source

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

func TestPrepareSRPM(t *testing.T) {
	t.Parallel()
	two := map[string]string{"a-1-1.src.rpm": "A", "b-1-1.srpm": "B", "old/c-1-1.src.rpm": "C", "README": "x",
		"link.src.rpm": "-> a-1-1.src.rpm"}
	for _, tt := range []struct {
		name  string
		files map[string]string
		set   func(*Request)
		want  string // its path; empty: a failure that says words
		why   string
		words []string
	}{
		{"found", map[string]string{"a-1-1.src.rpm": "A", "README": "x"}, nil, "a-1-1.src.rpm",
			"srpm: the source package a-1-1.src.rpm and no spec at the top of the repository", nil},
		{"found in the directory", two, func(r *Request) { r.Sources.Directory = "old" }, "old/c-1-1.src.rpm",
			"srpm: the source package old/c-1-1.src.rpm and no spec in old", nil},
		{"asked for", two, func(r *Request) { r.Layout, r.Sources.SRPM = "srpm", "b-1-1.srpm" }, "b-1-1.srpm",
			"srpm: b-1-1.srpm is rebuilt", nil},
		{"asked for by a link", two, func(r *Request) { r.Layout, r.Sources.SRPM = "srpm", "link.src.rpm" },
			"a-1-1.src.rpm",
			"srpm: a-1-1.src.rpm is rebuilt", nil},
		{"by a pattern", two, func(r *Request) { r.Layout, r.Sources.SRPMs = "srpm", []string{"**/c-*.src.rpm"} },
			"old/c-1-1.src.rpm", "srpm: old/c-1-1.src.rpm, as the project's configuration says", nil},
		{"next to a spec", map[string]string{"a-1-1.src.rpm": "A", "hello.spec": plainSpec},
			func(r *Request) { r.Layout = "srpm" }, "a-1-1.src.rpm", "srpm: a-1-1.src.rpm, as", nil},
		{"two", two, nil, "", "", []string{"2 source packages at ", "(a-1-1.src.rpm, b-1-1.srpm)", "layout: srpm"}},
		{"none", map[string]string{"README": "x", ".src.rpm": "x", "a.rpm": "x", "deep/a.src.rpm": "x"},
			func(r *Request) { r.Layout = "srpm" }, "", "", []string{"no source package (*.src.rpm, *.srpm) at "}},
		{"none of a pattern", two, func(r *Request) {
			r.Layout, r.Sources.SRPMs, r.Sources.Directory = "srpm",
				[]string{"x/*"}, "old"
		}, "", "", []string{"no source package (x/*) in old at "}},
		{"gone", two, func(r *Request) { r.Layout, r.Sources.SRPM = "srpm", "c.src.rpm" }, "", "",
			[]string{"no source package c.src.rpm at "}},
		{"a directory", two, func(r *Request) { r.Layout, r.Sources.SRPM = "srpm", "old" }, "", "",
			[]string{"no source package old at "}},
		{"a link out", map[string]string{"a.src.rpm": "-> ../../etc/passwd"}, func(r *Request) {
			r.Layout,
				r.Sources.SRPM = "srpm", "a.src.rpm"
		}, "", "", []string{"no source package a.src.rpm at "}},
		{"outside", two, func(r *Request) { r.Layout, r.Sources.SRPM = "srpm", "old/../../a.src.rpm" }, "", "",
			[]string{"outside"}},
		{"absolute", two, func(r *Request) { r.Layout, r.Sources.SRPM = "srpm", "/etc/a.src.rpm" }, "", "",
			[]string{"outside"}},
		{"not UTF-8, as a record has it", map[string]string{"caf\xe9.src.rpm": "x"}, func(r *Request) {
			r.Layout,
				r.Sources.SRPM = "srpm", "caf\uFFFD.src.rpm"
		}, "", "", []string{"valid UTF-8"}},
		{"not UTF-8, found", map[string]string{"caf\xe9.src.rpm": "x"}, nil, "caf\xe9.src.rpm",
			`srpm: the source package "caf\xe9.src.rpm"`, nil},
		{"in LFS", map[string]string{"a.src.rpm": "version https://git-lfs.github.com/spec/v1\noid sha256:x\n"}, nil,
			"", "",
			[]string{"Git LFS pointer"}},
		{"of a directory that is not there", two, func(r *Request) { r.Sources.Directory = "new" }, "", "",
			[]string{"no directory new at "}},
		{"of a directory that is a file", two, func(r *Request) { r.Sources.Directory = "README" }, "", "",
			[]string{"no directory README at "}},
		{"of a directory outside", two, func(r *Request) { r.Sources.Directory = "old/../.." }, "", "",
			[]string{"outside"}},
		{"of an absolute directory", two, func(r *Request) { r.Sources.Directory = "/etc" }, "", "",
			[]string{"outside"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := gittest.New(t)
			req := request(w, w.Commit(tt.files))
			if tt.set != nil {
				tt.set(&req)
			}
			p, err := newStore(t).Prepare(t.Context(), req, t.TempDir())
			if tt.want == "" {
				failtest.Want(t, err, rpmflow.FailureSource, tt.words...)
				return
			}
			testkit.Must(t, err)
			if p.Layout != rpmflow.LayoutSRPM || p.SRPMPath != tt.want || p.Explanation[:min(len(tt.why),
				len(p.Explanation))] != tt.why || p.needsExpansion() || p.Spec+p.Sources+p.SpecPath != "" {
				t.Errorf("got %+v", p)
			}
			if got := content(t, p.SRPM); len(got) != 1 || filepath.Base(p.SRPM) != "package.src.rpm" ||
				p.CommitTime.IsZero() {
				t.Errorf("got %q in %s", got, p.SRPM)
			}
		})
	}
}

// TestSRPMIgnoresNothingSilently: what a project without a layout says of the sources of specs is not an error, but has
// no effect.
func TestSRPMIgnoresNothingSilently(t *testing.T) {
	t.Parallel()
	for _, set := range []func(*rpmflow.Sources){
		func(*rpmflow.Sources) {},
		func(s *rpmflow.Sources) { s.Version = rpmflow.VersionFromGit },
		func(s *rpmflow.Sources) { s.Checksums = []string{"sha512:" + sha("x") + " x.tar.gz"} },
	} {
		w := gittest.New(t)
		req := request(w, w.Commit(map[string]string{"a-1-1.src.rpm": "A"}))
		set(&req.Sources)
		p, err := newStore(t).Prepare(t.Context(), req, t.TempDir())
		testkit.Must(t, err)
		if said := slices.ContainsFunc(p.Notes, func(n string) bool {
			return strings.Contains(n,
				"mean nothing for it")
		}); said != (req.Sources.Version != "" || req.Sources.Checksums != nil) {
			t.Errorf("%+v: notes %q", req.Sources, p.Notes)
		}
	}
}
