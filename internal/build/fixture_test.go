package build_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/source"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) {
	storagetest.Main()
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

const spec = "Name: hello\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\nSource0: hello.c\n\n%description\nx\n" +
	"\n%files\n"

// repository makes a git repository of these files and returns its path and commit.
func repository(t *testing.T, files map[string]string) (dir, commit string) {
	t.Helper()
	r := gittest.New(t)
	return r.Dir, r.Commit(files)
}

// fixture is a runner with all that it needs, and an attempt to run.
type fixture struct {
	t       *testing.T
	runner  *build.Runner
	attempt build.Attempt
	store   *storage.Store
	log     bytes.Buffer
	mu      sync.Mutex
	phases  []rpmflow.Phase // as reported
	refuse  rpmflow.Phase   // the report that fails
}

func newFixture(t *testing.T, step func(ctx context.Context, step string, job build.Job) error) *fixture {
	return newFixtureAt(t, storagetest.Start(t), step)
}

func newFixtureAt(t *testing.T, cfg storage.Config, step func(ctx context.Context, step string,
	job build.Job) error) *fixture {
	t.Helper()
	store, err := storage.Open(cfg)
	testkit.Must(t, err)
	t.Cleanup(store.Close)
	sources, err := source.Open(source.Options{Dir: t.TempDir(), Logger: quiet})
	testkit.Must(t, err)
	dir, commit := repository(t, map[string]string{"hello.spec": spec, "hello.c": "int main() {}\n"})
	b := &fixture{t: t, store: store}
	b.runner = &build.Runner{
		Engine: enginetest.New(t, step), Sources: sources, Store: store,
		URL: func(key string) string { return "http://rpmflow.test/artifacts/" + key }, MaxOutput: 1 << 20,
		Logger: quiet,
	}
	b.attempt = build.Attempt{
		Build: rpmflow.Build{
			BuildRequest: rpmflow.BuildRequest{
				ID: rpmflow.BuildID(t.Name(), "hello", enginetest.Target().Name), Project: "hello", Package: "hello",
				Target: enginetest.Target().Name, Arch: "x86_64",
				Repository: dir, Ref: "refs/heads/main", Commit: commit, Layout: rpmflow.LayoutAuto, TimeoutSeconds: 60,
				QueuedAt: time.Now().UTC(),
			},
			State: rpmflow.Running, Attempt: 1,
		},
		Target: enginetest.Target(), Dir: t.TempDir(), Log: b,
		Report: func(_ context.Context, r rpmflow.Build) error {
			b.phases = append(b.phases, r.Phase)
			if r.Phase == b.refuse {
				return errRefused
			}
			return nil
		},
	}
	return b
}

func (b *fixture) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *fixture) run() (rpmflow.Build, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	return b.runner.Run(ctx, b.attempt)
}

// stored reads an object, unpacked; "" when there is none.
func (b *fixture) stored(name string) string {
	b.t.Helper()
	r, info, err := b.store.Open(b.t.Context(), b.attempt.Build.Prefix()+name)
	if errors.Is(err, storage.ErrNotFound) {
		return ""
	}
	testkit.Must(b.t, err)
	defer r.Close()
	var in io.Reader = r
	if info.ContentEncoding == "gzip" {
		if in, err = gzip.NewReader(r); err != nil {
			b.t.Fatal(err)
		}
	}
	text, err := io.ReadAll(in)
	testkit.Must(b.t, err)
	return string(text)
}
