package source

import (
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/spec"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	const tarball = "Name: hello\nVersion: 1.0\nSource0: https://example.org/%{name}-%{version}.tar.gz\n" +
		"Source1: %{name}.service\nPatch0: a.patch\n"
	const local = "Name: hello\nVersion: 1.0\nSource: %{name}-%{version}.tar.gz\n"
	for _, tt := range []struct {
		name  string
		clues clues
		text  string
		want  rpmflow.Layout
		words string
	}{
		{"tarball next to it", clues{spec: "hello.spec", files: []string{"hello.spec", "hello-1.0.tar.gz"},
			dirs: []string{"src"}}, tarball, "standard", "the tarball hello-1.0.tar.gz at the top"},
		{"tarball of a macro", clues{spec: "hello.spec", files: []string{"hello-2.tar.xz"}, dirs: []string{"src"}},
			"Source: %{name}-%{ver}.tar.xz\n", "standard", "hello-2.tar.xz"},
		{"nothing but a macro", clues{spec: "hello.spec", files: []string{"README", "hello-2.crate"}},
			"Source: %{crates_source}\n", "standard", "hello-2.crate"},
		{"a script", clues{spec: "hello.spec", files: []string{"hello.sh"}, dirs: []string{"doc"}},
			"Source0: hello.sh\n",
			"standard", "the source hello.sh"},
		{"vendored tarball only", clues{spec: "hello.spec", files: []string{"vendor.tar.zst", "go.mod"},
			dirs: []string{"cmd"}}, local + "Source1: vendor.tar.zst\n", "in-tree", "(go.mod)"},
		{"dist-git", clues{spec: "hello.spec", files: []string{"hello.spec", "sources", "Makefile"},
			dirs: []string{"tests",
				"helpers"}, lists: []string{"sources"}}, tarball, "dist-git", "list of its sources, sources, at the " +
			"top"},
		{"dist-git with a tarball in git", clues{spec: "hello.spec", files: []string{"hello.spec", "sources",
			"hello-1.0.tar.gz"}, lists: []string{"sources"}}, tarball, "dist-git", "sources"},
		{"another file of that name", clues{spec: "hello.spec", files: []string{"hello.spec", "sources"},
			dirs: []string{"src"}}, tarball, "in-tree", "(src)"},
		{"metadata", clues{spec: "SPECS/hello.spec", files: []string{".hello.metadata"},
			dirs:  []string{"SPECS", "SOURCES"},
			lists: []string{".hello.metadata"}}, tarball, "dist-git", ".hello.metadata, in SPECS and SOURCES"},
		{"only a spec", clues{spec: "hello.spec", files: []string{"hello.spec"}, dirs: []string{".github"}}, tarball,
			"standard", "without source directories"},
		{"only a spec, local tarball missing",
			clues{spec: "hello.spec", files: []string{"hello.spec", "README.md", "a.patch",
				"hello-0.9.tar.gz"}}, local, "standard", "without source directories"},
		{"spec and helpers, tarball on a server", clues{spec: "hello.spec", files: []string{"hello.spec", "update.sh"}},
			tarball, "standard", "without source directories"},
		{"rpmbuild's tree", clues{spec: "SPECS/hello.spec", dirs: []string{"SPECS", "SOURCES"},
			beside: []string{"a.patch"}},
			tarball, "standard", "SPECS/hello.spec"},
		{"rpmbuild's tree in a source tree", clues{spec: "SPECS/hello.spec", dirs: []string{"SPECS", "src"}}, tarball,
			"in-tree", "(src)"},
		{"spec at the top of a source tree", clues{spec: "hello.spec", files: []string{"hello.spec", "go.mod"},
			dirs: []string{"a", "b", "c", "d"}}, tarball, "in-tree", "(go.mod)"},
		{"flat source tree", clues{spec: "hello.spec", files: []string{"hello.spec", "Makefile", "main.c"}}, local +
			"%build\n%make_build\n", "in-tree", "(Makefile, main.c)"},
		{"only a Makefile, and make", clues{spec: "hello.spec", files: []string{"hello.spec", "Makefile"}}, local +
			"%build\nmake all\n", "in-tree", "(Makefile)"},
		{"only a Makefile, of the packager", clues{spec: "hello.spec", files: []string{"hello.spec", "Makefile"}},
			tarball +
				"%build\nmake\n", "standard", ""},
		{"a template in a directory for packages, and a Makefile", clues{spec: "rpm/hello.spec.in",
			files: []string{"Makefile"}, dirs: []string{"rpm"}},
			local, "in-tree", "rpm/hello.spec.in lies in a directory of the tree"},
		{"what %install copies", clues{spec: "hello.spec", files: []string{"hello.spec", "LICENSE"},
			dirs: []string{"icons"}},
			local + "%install\ncp -r icons %{buildroot}/usr\n", "in-tree", "(icons)"},
		{"code without build files, local", clues{spec: "hello.spec", files: []string{"hello.spec", "hello.py"}}, local,
			"in-tree", "(hello.py)"},
		{"directories of packagers, tarball missing", clues{spec: "hello.spec", files: []string{"hello.spec"},
			dirs: []string{"patches", "debian", ".github"}}, local, "standard", ""},
		{"code in a directory for packages", clues{spec: "rpm/hello.spec", files: []string{"main.c"},
			dirs: []string{"rpm"}},
			tarball, "in-tree", "rpm/hello.spec lies in a directory"},
		{"a packaging repository with rpm/", clues{spec: "rpm/hello.spec", files: []string{"README"},
			dirs: []string{"rpm",
				"patches"}}, tarball, "standard", ""},
		{"rpmbuild's tree below", clues{spec: "rpmbuild/SPECS/hello.spec", dirs: []string{"rpmbuild", "src"},
			beside: []string{"a.patch"}, hasSOURCES: true}, tarball, "standard", "in rpmbuild/SPECS and SOURCES"},
		{"a macro that is a URL", clues{spec: "hello.spec", files: []string{"hello.spec"}, dirs: []string{"patches"}},
			"Source0: %{forgesource}\n", "standard", ""},
		{"a URL through a macro", clues{spec: "hello.spec", files: []string{"hello.spec"}, dirs: []string{"data"}},
			"%global base https://x\nSource0: %{base}/a.tar.gz\n", "standard", ""},
		{"subdirectory", clues{spec: "rpm/hello.spec", files: []string{"main.c"}, dirs: []string{"rpm"}}, local,
			"in-tree",
			"rpm/hello.spec lies in a directory"},
		{"no sources", clues{spec: "hello.spec", files: []string{"hello.spec", "x"}}, "Name: hello\n", "standard",
			"without source directories"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := tt.clues
			l.read(tt.text)
			if l.beside == nil {
				l.beside = l.files
			}
			layout, why, err := l.decide()
			testkit.Must(t, err)
			if layout != tt.want || !strings.HasPrefix(why, string(tt.want)+": ") || !strings.Contains(why, tt.words) {
				t.Errorf("got %s, %q", layout, why)
			}
		})
	}
}

// read fills in what gatherClues takes from the spec and the tree.
func (l *clues) read(text string) {
	l.text = spec.ParseUnexpanded([]byte(text))
	for _, name := range l.files {
		l.found.file(name)
	}
	for _, name := range l.dirs {
		if !isPackagersDir(name) {
			l.found.dir(name, nil)
		}
	}
}

// If the tree does not decide, both settings that do are named.
func TestDecideInDoubt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, source0 string
		clues         clues
		words         string
	}{
		{"code, but a URL", "https://x/a.tar.gz", clues{spec: "a.spec", files: []string{"a.spec", "fix.py"}},
			"it is a URL, and the repository has fix.py"},
		{"data, and no tarball", "a.tar.gz", clues{spec: "a.spec", files: []string{"a.spec"}, dirs: []string{"data"}},
			"it is not next to the spec, and what the repository has (data)"},
	} {
		tt.clues.read("Source0: " + tt.source0 + "\n")
		_, _, err := tt.clues.decide()
		failtest.Want(t, err, rpmflow.FailureSource, tt.words, "layout: in-tree", "layout: standard")
	}
}

// A URL, and a source tree: the record says what was decided.
func TestURLInASourceTree(t *testing.T) {
	t.Parallel()
	w, s := gittest.New(t), newStore(t)
	spec := specText("Source0: https://example.org/%{name}-%{version}.tar.gz", "%setup -q")
	p := prepare(t, s, request(w, w.Commit(map[string]string{"hello.spec": spec, "sub/pkg/x": "x", "sub/setup.py": "x",
		"patches/a": "x"})))
	if p.Layout != rpmflow.LayoutInTree || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "Source0 is a URL") ||
		!strings.Contains(p.Notes[0], "the repository has sub;") {
		t.Errorf("got %s, notes %q", p.Layout, p.Notes)
	}
}

func TestLayoutAsConfigured(t *testing.T) {
	t.Parallel()
	w, s := gittest.New(t), newStore(t)
	req := request(w, w.Commit(map[string]string{"hello.spec": plainSpec, "a.patch": "x", "src/main.c": "x",
		".gitmodules": "x"}))
	for layout, want := range map[rpmflow.Layout]string{
		rpmflow.LayoutStandard: "standard: hello.spec, as the project's configuration says",
		rpmflow.LayoutInTree: "in-tree: hello.spec, as the project's configuration says; its submodules are not in " +
			"the archive",
		rpmflow.LayoutAuto: "in-tree: hello.spec is in a source tree (src) without a tarball next to it; its " +
			"submodules " +
			"are not in the archive",
	} {
		req.Layout = layout
		p := prepare(t, s, req)
		if p.Explanation != want || !p.needsExpansion() || !strings.Contains(names(t, p.Sources), "a.patch") {
			t.Errorf("%s: got %q, %q", layout, p.Explanation, names(t, p.Sources))
		}
	}
}

func TestEveryLayoutFindsSomething(t *testing.T) {
	t.Parallel()
	known := rpmflow.LayoutNames()
	slices.Sort(known)
	var found []string
	for l := range (finder{}).layouts() {
		found = append(found, string(l))
	}
	slices.Sort(found)
	if !slices.Equal(known, found) {
		t.Errorf("rpmflow.Layouts has %v, package source finds %v", known, found)
	}
}
