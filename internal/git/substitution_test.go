package git

import (
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

// substTree is a tree with every placeholder that git archive fills in, one a file: %(describe) is expanded once in an
// archive.
func substTree() map[string]string {
	files := map[string]string{"main.c": "int main;\n"}
	files[".gitattributes"] = "*.subst export-subst\n"
	files[".mailmap"] = "Ann Lee <ann@example.org> <a@b>\n"
	for name, placeholder := range map[string]string{
		"d": "%d", "upper-d": "%D", "describe": "%(describe)", "names": "%an %aN %aE %cN", "parents": "%P|%p|%h|%t",
		"signature": "%G?|%GK|%GS", "dates": "%ad|%cI|%ct", "unknown": "%S|%N|%(decorate)|%x00|%%",
		"body": "%B|%(trailers)",
	} {
		files[name+".subst"] = "$Format:" + placeholder + "$\n"
	}
	files["not.txt"] = "$Format:%d$\n"
	return files
}

// $Format:…$ is replaced by what git writes where the pushed ref is checked out, and by nothing of the mirror's own.
func TestSubstitution(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		w.Commit(nil)
		commit := w.Commit(substTree())
		w.Git("tag", "v1.0")
		w.Git("tag", "-a", "-m", "x", "signed/v1")
		check := func(ref string, words ...string) {
			t.Helper()
			req := Request{Project: "hello", URL: url, Ref: ref, Commit: commit}
			got, left, err := archiveOf(t, newMirrors(t), req, plainTar())
			testkit.Must(t, err)
			want := w.Archive(commit, "hello-1.0/")
			if got != want {
				t.Errorf("%s: got\n%q\nwant\n%q", ref, got, want)
			}
			for _, word := range words {
				if !strings.Contains(got, word) {
					t.Errorf("%s: no %q in\n%q", ref, word, got)
				}
			}
			if left != 0 {
				t.Errorf("%d files were left behind", left)
			}
		}
		check("refs/heads/main", " (HEAD -> main, tag: v1.0, tag: signed/v1)\n", "a Ann Lee ann@example.org",
			"signed/v1\n")
		w.Git("checkout", "--quiet", "-b", "feature/x")
		w.Git("branch", "--quiet", "-D", "main")
		check("refs/heads/feature/x", "HEAD -> feature/x, tag: v1.0")
		w.Git("checkout", "--quiet", "--detach")
		w.Git("branch", "--quiet", "-D", "feature/x")
		check("refs/tags/v1.0", " (HEAD, tag: v1.0, tag: signed/v1)\n")
	})
}

// sign makes a commit that has a signature.
func sign(r *gittest.Repository, commit string) string {
	const signature = "\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ==\n -----END PGP SIGNATURE-----\n\n"
	text := strings.Replace(r.Git("cat-file", "commit", commit), "\n\n", signature, 1) + "\n"
	return r.GitIn(text, "hash-object", "-t", "commit", "-w", "--stdin")
}

// The state of a signature is a matter of whose keys one has.
func TestSubstitutionOfSignatures(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	w.Commit(substTree())
	signed := sign(w, "HEAD")
	w.Git("reset", "--quiet", "--hard", signed)
	_, _, err := archiveOf(t, newMirrors(t), request(w, signed), plainTar())
	failtest.Want(t, err, rpmflow.FailureSource, "signature.subst", "signature", "keys")
	unasked := w.Commit(map[string]string{"signature.subst": ""})
	signed = sign(w, unasked)
	w.Git("reset", "--quiet", "--hard", signed)
	got, _, err := archiveOf(t, newMirrors(t), request(w, signed), plainTar())
	testkit.Must(t, err)
	if got != w.Archive(signed, "hello-1.0/") {
		t.Error("the archive of a signed commit is not git's")
	}
}
