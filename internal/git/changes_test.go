package git

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

func TestChanged(t *testing.T) {
	t.Parallel()
	w, s := gittest.New(t), newMirrors(t)
	first := w.Commit(
		map[string]string{
			"README":     "1",
			"a/a.spec":   "1",
			"a/src/x.c":  "1",
			"b/b.spec":   "1",
			"b/src/y.c":  "1",
			"dir/f":      "1",
			"file":       "1",
			"link":       "-> file",
			"same/1/2/3": "1",
			"caf\xe9":    "1",
		},
	)
	w.Git("mv", "a/src/x.c", "a/src/z.c")
	second := w.Commit(
		map[string]string{
			"a/a.spec":    "2",
			"dir/f":       "",
			"dir":         "now a file",
			"file":        "",
			"file/now/a":  "dir",
			"link":        "-> README",
			"new/deep/er": "1",
			"caf\xe9":     "2",
		},
	)
	want := []string{
		"a/a.spec", "a/src/x.c", "a/src/z.c", "caf\xe9", "dir", "dir/f", "file", "file/now/a", "link", "new/deep/er",
	}

	got, err := s.Changed(t.Context(), request(w, second), first)
	testkit.Must(t, err)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// git itself says the same.
	out, err := exec.Command("git", "-C", w.Dir, "diff-tree", "-r", "-z", "--name-only", "--no-renames", first, second).
		Output()
	testkit.Must(t, err)
	if git := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); !slices.Equal(got, git) {
		t.Errorf("got %q, git says %q", got, git)
	}
	back, err := s.Changed(t.Context(), request(w, first), second)
	testkit.Must(t, err)
	slices.Sort(back)
	if !slices.Equal(back, want) {
		t.Errorf("backwards: %q", back)
	}
	if none, err := s.Changed(t.Context(), request(w, second), second); err != nil || len(none) > 0 {
		t.Errorf("nothing: %q, %v", none, err)
	}
}

// After a forced push the difference counts; an old commit that is nowhere any more is an error.
func TestChangedAfterAForcedPush(t *testing.T) {
	t.Parallel()
	w, s := gittest.New(t), newMirrors(t)
	w.Commit(map[string]string{"a/x": "1", "b/x": "1"})
	old := w.Commit(map[string]string{"a/x": "2"})
	_, err := s.Changed(t.Context(), request(w, old), old) // the mirror has seen it
	testkit.Must(t, err)
	w.Git("reset", "--quiet", "--hard", "HEAD^")
	now := w.Commit(map[string]string{"b/x": "3"})
	got, err := s.Changed(t.Context(), request(w, now), old)
	if slices.Sort(got); err != nil || fmt.Sprint(got) != "[a/x b/x]" {
		t.Errorf("got %q, %v", got, err)
	}
	_, err = s.Changed(t.Context(), request(w, now), strings.Repeat("ab", 20))
	failtest.Want(t, err, rpmflow.FailureSource, "abababababab", "force-pushed or deleted?")
}
