package mock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocktest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestQuery asks the root's rpm, with words that mean something to shells, and about a spec with a name that does.
func TestQuery(t *testing.T) {
	t.Parallel()
	s := newSession(t, Settings{Network: "bridge"})
	t.Cleanup(func() { forgetRoot(t, s) })
	testkit.Must(t, s.Root(t.Context()))
	dir := t.TempDir()
	spec := filepath.Join(dir, "a $(id);'b.spec")
	testkit.Write(t, spec, "%include %{SOURCE0}\nName: hello\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\n"+
		"Source0: more.inc\nRequires: %{asked}\n%description\nx\n%files\n")
	testkit.Must(t, os.Mkdir(filepath.Join(dir, "SOURCES"), 0o700))
	testkit.Write(t, filepath.Join(dir, "SOURCES", "more.inc"), "%global asked %{lua:print('included')}\n")
	testkit.Write(t, spec, strings.Replace(readFile(t, spec), "%{SOURCE0}", "%{_sourcedir}/more.inc", 1))
	word := "$(touch /tmp/x) 'a' \"b\"; `id` | &"
	for _, q := range []struct {
		args []string
		want string
	}{
		{[]string{"-q", "--qf", "%{NAME}[ %{REQUIRENAME}]\\n"}, "hello included\n"},
		{[]string{"--define", "word " + word, "--eval", "<%{word}>", "-q", "--qf", "a\n'b' $IFS\\n"}, "<" + word +
			">\na\n'b' $IFS\n"},
		{[]string{"-q", "--qf", "no end"}, "no end"}, // of the line, which Docker loses
	} {
		got, err := s.Query(t.Context(), spec, filepath.Join(dir, "SOURCES"), q.args...)
		testkit.Must(t, err)
		if string(got) != q.want {
			t.Errorf("rpmspec %q: %q, want %q", q.args, got, q.want)
		}
	}
	testkit.Write(t, spec, "Name: hello\n%if 1\n")
	_, err := s.Query(t.Context(), spec, filepath.Join(dir, "SOURCES"), "-P")
	var f *rpmflow.Failure
	if !errors.As(err, &f) || f.Kind != rpmflow.FailureSpec || !strings.Contains(f.Message, "%if") {
		t.Errorf("a spec that does not end: %v", err)
	}
}

// forgetRoot removes the images that the session's installation has made.
func forgetRoot(t *testing.T, s *session) {
	t.Helper()
	for _, name := range mocktest.Images(t, s.e.s.Installation) {
		mocktest.Docker(t, "rmi", "-f", name)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	testkit.Must(t, err)
	return string(text)
}
