package source

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
)

// attributed are files that git writes otherwise than it keeps them.
func attributed(dir string) map[string]string {
	files := map[string]string{}
	for name, text := range map[string]string{
		".gitattributes": "*.bat text eol=crlf\n*.u16 text working-tree-encoding=UTF-16LE-BOM\n*.id ident\n" +
			"v.txt export-subst\nhidden.bat export-ignore\nx.y text eol=crlf\n",
		"run.bat": "a\nb\n", "hidden.bat": "c\n", "b.u16": "", "v.id": "$Id$\n", "v.txt": "$Format:%H %D$\n",
		"x.y": "d\n", "plain": "e\n",
		"a[1]*.bat": "f\n",
	} {
		if text != "" {
			files[filepath.Join(dir, name)] = text
		}
	}
	return files
}

func wantAttributed(t *testing.T, p *Draft, commit string) {
	t.Helper()
	id := "$Id: 055c8729cdcc372500a08db659c045e16c4409fb $\n" // the blob's: git hash-object of "$Id$\n"
	for name, want := range map[string]string{
		"run.bat": "a\r\nb\r\n", "hidden.bat": "c\r\n", "v.id": id, "x.y": "d\r\n", "plain": "e\n",
		"a[1]*.bat": "f\r\n",
		"v.txt":     commit + " HEAD -> main\n", "b.u16": "\xff\xfeh\x00i\x00\n\x00",
	} {
		if got := content(t, filepath.Join(p.Sources, name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Spec and sources are what git archive writes of them, not what git keeps.
func TestSourcesAreAsArchived(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		files := attributed("")
		files["hello.spec"], files["b.u16"] = plainSpec, "\xff\xfeh\x00i\x00\n\x00"
		files["hello-1.0.tar.gz"] = "T"
		files[".gitattributes"] += "*.spec eol=crlf\n"
		commit := w.Commit(files)
		p := prepare(t, newStore(t), Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: commit})
		wantAttributed(t, p, commit)
		if got, want := content(t, p.Spec), strings.ReplaceAll(plainSpec, "\n", "\r\n"); got != want {
			t.Errorf("the spec: got %q", got)
		}
		if names := names(t, filepath.Dir(p.Sources)); names != "SOURCES SPECS" {
			t.Errorf("left: %s", names)
		}
	})
}

// So is the packaging half of layout split, and what is next to a spec in a source tree.
func TestSourcesAreAsArchivedElsewhere(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	packaging := w.Sibling("packaging")
	files := attributed("rpm/SPECS")
	files["rpm/SPECS/hello.spec"], files["rpm/SPECS/b.u16"] = plainSpec, "\xff\xfeh\x00i\x00\n\x00"
	theirs := packaging.Commit(files)
	req := request(w, w.Commit(map[string]string{"main.c": "m"}))
	req.Layout, req.Packaging = rpmflow.LayoutSplit, &Packaging{URL: packaging.Dir, Ref: "refs/heads/main",
		Commit: theirs}
	s := newStore(t)
	wantAttributed(t, prepare(t, s, req), theirs)

	files["main.c"] = "m"
	req = request(w, w.Commit(files))
	p := prepare(t, s, req)
	if p.Layout != rpmflow.LayoutInTree {
		t.Fatalf("got %s", p.Explanation)
	}
	wantAttributed(t, p, req.Commit)
}
