package source

import (
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
)

func TestDecide(t *testing.T) {
	const tarball = "Name: hello\nVersion: 1.0\nSource0: https://example.org/%{name}-%{version}.tar.gz\nSource1: %{name}.service\nPatch0: a.patch\n"
	const local = "Name: hello\nVersion: 1.0\nSource: %{name}-%{version}.tar.gz\n"
	for _, tt := range []struct {
		name  string
		look  look
		text  string
		want  rpmflow.Layout
		words string
	}{
		{"tarball beside", look{spec: "hello.spec", files: []string{"hello.spec", "hello-1.0.tar.gz"}, dirs: []string{"src"}}, tarball, "standard", "the tarball hello-1.0.tar.gz at the top"},
		{"tarball of a macro", look{spec: "hello.spec", files: []string{"hello-2.tar.xz"}, dirs: []string{"src"}}, "Source: %{name}-%{ver}.tar.xz\n", "standard", "hello-2.tar.xz"},
		{"nothing but a macro", look{spec: "hello.spec", files: []string{"README", "hello-2.crate"}}, "Source: %{crates_source}\n", "standard", "hello-2.crate"},
		{"a script", look{spec: "hello.spec", files: []string{"hello.sh"}, dirs: []string{"doc"}}, "Source0: hello.sh\n", "standard", "the source hello.sh"},
		{"vendored tarball only", look{spec: "hello.spec", files: []string{"vendor.tar.zst"}, dirs: []string{"cmd"}}, local + "Source1: vendor.tar.zst\n", "in-tree", "(cmd)"},
		{"dist-git", look{spec: "hello.spec", files: []string{"hello.spec", "sources", "Makefile"}, dirs: []string{"tests", "helpers"}, lists: []string{"sources"}}, tarball, "dist-git", "list of its sources, sources, at the top"},
		{"dist-git with a tarball in git", look{spec: "hello.spec", files: []string{"hello.spec", "sources", "hello-1.0.tar.gz"}, lists: []string{"sources"}}, tarball, "dist-git", "sources"},
		{"another file of that name", look{spec: "hello.spec", files: []string{"hello.spec", "sources"}, dirs: []string{"src"}}, tarball, "in-tree", "(src)"},
		{"metadata", look{spec: "SPECS/hello.spec", files: []string{".hello.metadata"}, dirs: []string{"SPECS", "SOURCES"}, lists: []string{".hello.metadata"}}, tarball, "dist-git", ".hello.metadata, in SPECS and SOURCES"},
		{"only a spec", look{spec: "hello.spec", files: []string{"hello.spec"}, dirs: []string{".github"}}, tarball, "standard", "without source directories"},
		{"only a spec, local tarball missing", look{spec: "hello.spec", files: []string{"hello.spec", "README.md", "a.patch", "hello-0.9.tar.gz"}}, local, "standard", "without source directories"},
		{"spec and helpers, tarball on a server", look{spec: "hello.spec", files: []string{"hello.spec", "update.sh"}}, tarball, "standard", "without source directories"},
		{"rpmbuild's tree", look{spec: "SPECS/hello.spec", dirs: []string{"SPECS", "SOURCES"}, beside: []string{"a.patch"}}, tarball, "standard", "SPECS/hello.spec"},
		{"rpmbuild's tree in a source tree", look{spec: "SPECS/hello.spec", dirs: []string{"SPECS", "src"}}, tarball, "in-tree", "(src)"},
		{"spec at the top of a source tree", look{spec: "hello.spec", files: []string{"hello.spec", "go.mod"}, dirs: []string{"a", "b", "c", "d"}}, tarball, "in-tree", "(a, b, c, …)"},
		{"flat source tree", look{spec: "hello.spec", files: []string{"hello.spec", "Makefile", "main.c"}}, local, "in-tree", "(Makefile, main.c)"},
		{"subdirectory", look{spec: "rpm/hello.spec", files: []string{"main.c"}, dirs: []string{"rpm"}}, local, "in-tree", "rpm/hello.spec lies in a directory"},
		{"no sources", look{spec: "hello.spec", files: []string{"hello.spec", "x"}}, "Name: hello\n", "standard", "without source directories"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := tt.look
			l.named = glance([]byte(tt.text))
			if l.beside == nil {
				l.beside = l.files
			}
			layout, why := l.decide()
			if layout != tt.want || !strings.HasPrefix(why, string(tt.want)+": ") || !strings.Contains(why, tt.words) {
				t.Errorf("got %s, %q", layout, why)
			}
		})
	}
}

func TestLayoutAsConfigured(t *testing.T) {
	w, s := newWork(t), newStore(t)
	req := w.request(w.commit(map[string]string{"hello.spec": plainSpec, "a.patch": "x", "src/main.c": "x", ".gitmodules": "x"}))
	for layout, want := range map[rpmflow.Layout]string{
		rpmflow.LayoutStandard: "standard: hello.spec, as the project's configuration says",
		rpmflow.LayoutInTree:   "in-tree: hello.spec, as the project's configuration says; its submodules are not in the archive",
		rpmflow.LayoutAuto:     "in-tree: hello.spec is in a source tree (src) without a tarball beside it; its submodules are not in the archive",
	} {
		req.Layout = layout
		p := prepare(t, s, req)
		if p.Explanation != want || !p.NeedsExpansion() || !strings.Contains(names(t, p.Sources), "a.patch") {
			t.Errorf("%s: got %q, %q", layout, p.Explanation, names(t, p.Sources))
		}
	}
}

func FuzzGlance(f *testing.F) {
	f.Add("Name: a\nVersion: 1\nSource0: %{name}-%{version}.tar.gz\n", "a-1.tar.gz")
	f.Add("Source: %{crates_source}\nPatch: [x\\\n", "x")
	f.Fuzz(func(t *testing.T, text, file string) {
		g := glance([]byte(text))
		if got := g.source0In([]string{file}); got != "" && got != file {
			t.Errorf("got %q", got)
		}
		g.names(file)
	})
}
