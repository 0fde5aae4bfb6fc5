package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/spec"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// prep runs %prep as rpm does.
func prep(t *testing.T, p *Draft) {
	t.Helper()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skip("needs rpmbuild: whether archives suit rpm goes untested; install rpm")
	}
	cmd := exec.Command("rpmbuild", "-bp", "--nodeps", "--define", "_topdir "+t.TempDir(), "--define",
		"_sourcedir "+p.Sources, p.Spec)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("rpmbuild -bp: %v\n%s", err, out)
	}
}

func newStore(t *testing.T) *Store { t.Helper(); return newStoreIn(t, t.TempDir()) }

func newStoreIn(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler), FetchTimeout: time.Minute})
	testkit.Must(t, err)
	return s
}

func request(w *gittest.Repository, commit string) Request {
	return Request{Project: "hello", URL: w.Dir, Ref: "refs/heads/main", Commit: commit}
}

func prepare(t *testing.T, s *Store, req Request) *Draft {
	t.Helper()
	p, err := s.Prepare(t.Context(), req, t.TempDir())
	testkit.Must(t, err)
	return p
}

// fakeRPM expands every spec to the same text, and misses a file until it was asked to.
type fakeRPM struct {
	text  []byte
	err   error // of the first Expand
	calls []string
}

func (r *fakeRPM) Expand(context.Context, string, string) ([]byte, error) {
	r.calls = append(r.calls, "expand")
	err := r.err
	r.err = nil
	return r.text, err
}

func (r *fakeRPM) SRPM(context.Context, string, string) (string, error) {
	r.calls = append(r.calls, "srpm")
	if !slices.Contains(r.calls, "expand") {
		return "", rpmflow.Fail(rpmflow.FailureSource, "commit the file", "Bad file: x")
	}
	return "", nil
}

func (r *fakeRPM) Restart(context.Context, string) error {
	r.calls = append(r.calls, "restart")
	return nil
}

// finish completes a draft whose spec rpm expands to this text, and writes down in the draft what was found.
func finish(ctx context.Context, d *Draft, text []byte) error {
	done, err := d.Complete(ctx, &fakeRPM{text: text})
	d.Layout, d.Files, d.Notes = done.Layout, done.Files, done.Notes
	return err
}

// names lists the files of a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	testkit.Must(t, err)
	var all []string
	for _, e := range list {
		all = append(all, e.Name())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func content(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	testkit.Must(t, err)
	return string(text)
}

// expand runs the machine's own rpmspec.
func expand(t *testing.T, spec, sources string) []byte {
	t.Helper()
	if _, err := exec.LookPath("rpmspec"); err != nil {
		t.Skip("needs rpmspec: what rpm makes of specs goes untested; install rpm")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "rpmspec", "-P", "--define", "_topdir /builddir/build", "--define",
		"_sourcedir "+sources, spec)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("rpmspec: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	return out
}

// missingSources lists the files of an expanded spec that are not in dir.
func missingSources(text []byte, dir string) (missing []string) {
	for _, f := range spec.ParseExpanded(text).Files {
		if info, err := os.Stat(filepath.Join(dir, f.Name())); err != nil || !info.Mode().IsRegular() {
			missing = append(missing, f.Name())
		}
	}
	return missing
}

// specText is a spec with tags and %prep of the test's choice.
func specText(tags, prep string) string {
	return fmt.Sprintf("Name: hello\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\n%s\n\n%%description\nx\n"+
		"Source0: not-this.tar.gz\n\n%%prep\n%s\n%%build\ntrue\n%%files\n", tags, prep)
}
