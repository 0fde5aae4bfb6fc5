package publisher_test

import (
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// foreign is a package of an architecture that the test's target does not have.
func foreign(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	spec := testkit.Write(t, filepath.Join(dir, "foreign.spec"),
		"Name: foreign\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\n%description\nd\n%files\n")
	out, err := exec.Command("rpmbuild", "-bb", "--target", "aarch64-linux", "--define", "_topdir "+dir,
		spec).CombinedOutput()
	files, _ := filepath.Glob(filepath.Join(dir, "RPMS", "aarch64", "*.rpm"))
	if err != nil || len(files) != 1 {
		t.Fatalf("rpmbuild: %v: %s", err, out)
	}
	return files[0]
}

// TestEditedByHand has a state that somebody has overwritten. The error says which, the repository stays as it is, its
// builds wait, and other repositories are published meanwhile.
func TestEditedByHand(t *testing.T) {
	t.Parallel()
	s := start(t)
	files := many(t, 3)
	var log testkit.Log
	o := s.options(t)
	o.Jobs, o.Log = 1, log.Logger()
	p, _ := run(t, o)
	s.finish(t, "first", files[0])
	s.published(t, 1)

	const key = "repos/demo/fedora-43-x86_64/state.zst"
	repos := s.store.Repositories()
	good, version, err := repos.Read(t.Context(), key, 1<<20)
	testkit.Must(t, err)
	version = testkit.Value(repos.Replace(t.Context(), key, []byte("{}"), version, storage.Headers{}))(t)
	s.finish(t, "second", files[1])
	log.Until(t, "state.zst")
	s.finishAs(t, "elsewhere", func(b *rpmflow.Build) { b.Target = "fedora-44-x86_64" }, files[2])
	testkit.Until(t, func() error {
		_, err := p.State(t.Context(), publisher.Place{Project: "demo", Target: "fedora-44-x86_64"})
		return err
	})
	if _, err := p.Remove(t.Context(), binary, "p00"); err == nil || !strings.Contains(err.Error(), "state.zst") {
		t.Errorf("the error: %v", err)
	}
	_, err = repos.Replace(t.Context(), key, good, version, storage.Headers{})
	testkit.Must(t, err)
	s.published(t, 2)
	valid(t, p, publisher.Binary)
}

// TestStorageGoesAway ends the storage in the middle of a publication, which follows when it is there again.
func TestStorageGoesAway(t *testing.T) {
	t.Parallel()
	s := start(t)
	dir := t.TempDir()
	cfg, g := storagetest.StartIn(t, dir)
	s.store = testkit.Value(storage.Open(cfg))(t)
	t.Cleanup(s.store.Close)
	var log testkit.Log
	o := s.options(t)
	o.Log = log.Logger()
	end := sync.OnceFunc(func() { _ = g.Close() })
	o.Step = func(what string) error {
		if what == "state" {
			end()
		}
		return nil
	}
	p, _ := run(t, o)
	s.finish(t, "build", binaries(rpms(t, "hello", "1"))...)
	log.Until(t, "trying again")
	again := testkit.Value(gateway.Start(t.Context(), gateway.Options{
		Dir: dir, Listen: strings.TrimPrefix(cfg.Endpoint, "http://"),
		AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey,
		Logger: slog.New(slog.DiscardHandler),
	}))(t)
	t.Cleanup(func() { _ = again.Close() })
	s.published(t, 1)
	valid(t, p, publisher.Binary)
}

// TestTwoKeys has a second publisher with a key of its own. It writes nothing, and leaves the build to the first.
func TestTwoKeys(t *testing.T) {
	t.Parallel()
	s := start(t)
	files := many(t, 2)
	p, stop := run(t, s.options(t))
	s.finish(t, "first", files[0])
	s.published(t, 1)
	stop()

	var log testkit.Log
	o := s.options(t)
	o.Signer, o.Log = testkit.Value(newSigner())(t), log.Logger()
	other, stop := run(t, o)
	s.finish(t, "second", files[1])
	log.Until(t, "signed with another key")
	for what, err := range map[string]error{
		"rollback": second(other.Rollback(t.Context(), binary, 1)),
		"removal":  second(other.Remove(t.Context(), binary, "p00")),
	} {
		if err == nil || !strings.Contains(err.Error(), "signed with another key") {
			t.Errorf("%s: %v", what, err)
		}
	}
	stop()
	if n := testkit.Value(p.State(t.Context(), binary))(t).Revision; n != 1 {
		t.Errorf("it has published revision %d", n)
	}
	valid(t, p, publisher.Binary)
	_, _ = run(t, s.options(t))
	s.published(t, 2)
	valid(t, p, publisher.Binary)
}

func second[T any](_ T, err error) error { return err }
