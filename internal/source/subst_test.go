package source

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// substTree is a tree with everything in it that git archive can be asked to say of a commit, a placeholder a line: %(describe) is expanded once in an archive.
func substTree() map[string]string {
	files := inTree("Name: hello\n")
	files[".gitattributes"] = "*.subst export-subst\n"
	files[".mailmap"] = "Ann Lee <ann@example.org> <a@b>\n"
	for name, placeholder := range map[string]string{"d": "%d", "upper-d": "%D", "describe": "%(describe)", "names": "%an %aN %aE %cN", "parents": "%P|%p|%h|%t", "signature": "%G?|%GK|%GS",
		"dates": "%ad|%cI|%ct", "unknown": "%S|%N|%(decorate)|%x00|%%", "body": "%B|%(trailers)"} {
		files[name+".subst"] = "$Format:" + placeholder + "$\n"
	}
	files["not.txt"] = "$Format:%d$\n"
	return files
}

// What stands in the place of $Format:…$ is what git writes where the pushed ref is checked out, and nothing of the mirror's own.
func TestSubstitution(t *testing.T) {
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		w.Commit(nil)
		commit := w.Commit(substTree())
		w.Git("tag", "v1.0")
		w.Git("tag", "-a", "-m", "x", "signed/v1")
		check := func(ref string, words ...string) {
			t.Helper()
			s := newStore(t)
			p := prepare(t, s, Request{Project: "hello", URL: url, Ref: ref, Commit: commit})
			testkit.Must(t, finish(t.Context(), p, []byte(archiveSpec)))
			got, want := content(t, filepath.Join(p.Sources, "x.tar")), w.Archive(commit, "hello-1.0/")
			if got != want {
				t.Errorf("%s: got\n%s\nwant\n%s", ref, strings.Join(entriesOf(t, got), "\n"), strings.Join(entriesOf(t, want), "\n"))
			}
			for _, word := range words {
				if !strings.Contains(got, word) {
					t.Errorf("%s: no %q in\n%s", ref, word, strings.Join(entriesOf(t, got), "\n"))
				}
			}
			if left := names(t, filepath.Dir(p.Sources)); left != "SOURCES SPECS" {
				t.Errorf("left behind: %s", left)
			}
		}
		check("refs/heads/main", " (HEAD -> main, tag: v1.0, tag: signed/v1)\n", "a Ann Lee ann@example.org", "signed/v1\n")
		w.Git("checkout", "--quiet", "-b", "feature/x")
		w.Git("branch", "--quiet", "-D", "main")
		check("refs/heads/feature/x", "HEAD -> feature/x, tag: v1.0")
		w.Git("checkout", "--quiet", "--detach")
		w.Git("branch", "--quiet", "-D", "feature/x")
		check("refs/tags/v1.0", " (HEAD, tag: v1.0, tag: signed/v1)\n")
	})
}

// The state of a signature is a matter of whose keys one has.
func TestSubstitutionOfSignatures(t *testing.T) {
	w := gittest.New(t)
	w.Commit(substTree())
	raw := w.Git("cat-file", "commit", "HEAD")
	signed := w.GitIn(strings.Replace(raw, "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n -----END PGP SIGNATURE-----\n\n", 1)+"\n", "hash-object", "-t", "commit", "-w", "--stdin")
	w.Git("reset", "--quiet", "--hard", signed)
	err := finish(t.Context(), prepare(t, newStore(t), request(w, signed)), []byte(archiveSpec))
	wantFailure(t, err, rpmflow.FailureSource, "signature.subst", "signature", "keys")
	unasked := w.Commit(map[string]string{"signature.subst": ""})
	raw = w.Git("cat-file", "commit", unasked)
	signed = w.GitIn(strings.Replace(raw, "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n -----END PGP SIGNATURE-----\n\n", 1)+"\n", "hash-object", "-t", "commit", "-w", "--stdin")
	w.Git("reset", "--quiet", "--hard", signed)
	p := prepare(t, newStore(t), request(w, signed))
	testkit.Must(t, finish(t.Context(), p, []byte(archiveSpec)))
	if content(t, filepath.Join(p.Sources, "x.tar")) != w.Archive(signed, "hello-1.0/") {
		t.Error("the archive of a signed commit is not git's")
	}
}
