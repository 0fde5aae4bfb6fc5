package publisher_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestRemovedPackagesStayOut delivers the build of a removed package again, makes the repository again, also without
// its state, and has a new build of the same version.
func TestRemovedPackagesStayOut(t *testing.T) {
	t.Parallel()
	s := start(t)
	p, stop := run(t, s.options(t))
	files := many(t, 2)
	bad := s.finish(t, "bad", files[0])
	s.finish(t, "good", files[1])
	has := func(want ...string) {
		t.Helper()
		testkit.Until(t, func() error {
			state, err := p.State(t.Context(), binary)
			if err != nil {
				return err
			}
			var got []string
			for _, e := range state.Entries() {
				got = append(got, e.Name)
			}
			if strings.Join(got, " ") != strings.Join(want, " ") {
				return fmt.Errorf("the repository has %v, not %v", got, want)
			}
			return nil
		})
	}
	has("p00", "p01")
	testkit.Value(p.Remove(t.Context(), binary, "p00"))(t)
	has("p01")
	stop()

	// The consumer is lost, and every event is delivered again.
	testkit.Must(t, s.js.DeleteConsumer(t.Context(), events.StreamEvents, "publisher"))
	_, stop = run(t, s.options(t))
	testkit.Until(t, func() error {
		cons, err := s.js.Consumer(t.Context(), events.StreamEvents, "publisher")
		if err == nil && cons.CachedInfo().AckFloor.Consumer < 2 {
			err = errors.New("they are not acknowledged yet")
		}
		return err
	})
	stop()
	has("p01")

	_, err := p.Rebuild(t.Context(), binary, false)
	testkit.Must(t, err)
	has("p01")
	repos := s.store.Repositories()
	testkit.Must(t, repos.Remove(t.Context(), "repos/demo/fedora-43-x86_64/state.zst"))
	state, err := p.Rebuild(t.Context(), binary, false)
	testkit.Must(t, err)
	has("p01")
	if state.Revision != 5 {
		t.Errorf("revision %d", state.Revision)
	}
	valid(t, p, publisher.Binary)

	_, stop = run(t, s.options(t))
	again := s.finish(t, "the same version again", files[0])
	has("p01", "p00")
	stop()
	if e := testkit.Value(p.State(t.Context(), binary))(t).Entries()[1]; e.Build != again.ID || e.Build == bad.ID {
		t.Errorf("published: %+v", e)
	}
	testkit.Value(p.Remove(t.Context(), binary, "p00"))(t)
	_, err = p.Rebuild(t.Context(), binary, true)
	testkit.Must(t, err)
	has("p00", "p01")

	const key = "repos/demo/fedora-43-x86_64/removed.json"
	_, version, err := repos.Read(t.Context(), key, 1<<20)
	testkit.Must(t, err)
	testkit.Value(repos.Replace(t.Context(), key, []byte("{"), version, storage.Headers{}))(t)
	if _, err := p.Remove(t.Context(), binary, "p01"); err == nil || !strings.Contains(err.Error(), "removed.json") {
		t.Errorf("edited by hand: %v", err)
	}
}

// TestSweepRace promotes a package at the moment at which the object with the same bytes is being removed. It must not
// be published without its file.
func TestSweepRace(t *testing.T) {
	t.Parallel()
	s := start(t)
	var clock sync.Mutex
	now := time.Now()
	after := func(d time.Duration) {
		clock.Lock()
		defer clock.Unlock()
		now = now.Add(d)
	}
	o := s.options(t)
	o.Now = func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		return now
	}
	p, stop := run(t, o)
	files := many(t, 6)
	s.finish(t, "promoted", files[0])
	s.published(t, 1)
	stop()
	stable := publisher.Place{Project: "demo", Target: "stable"}
	testkit.Value(p.Promote(t.Context(), binary, stable, nil))(t)
	testkit.Value(p.Remove(t.Context(), stable, "p00"))(t)
	toStable := func(b *rpmflow.Build) { b.Target = "stable" }

	begun, goOn := make(chan struct{}), make(chan struct{})
	sweeping := o
	sweeping.Dir = t.TempDir()
	begin := sync.OnceFunc(func() { close(begun); <-goOn })
	sweeping.Step = func(what string) error {
		if what == "removal" {
			begin()
		}
		return nil
	}
	after(72 * time.Hour)
	for n, file := range files[1:3] { // so many revisions are kept
		_, stop = run(t, o)
		s.finishAs(t, file, toStable, file)
		testkit.Until(t, func() error {
			return atLeast(testkit.Value(p.State(t.Context(), stable))(t).Revision, int64(3+n))
		})
		stop()
	}
	after(72 * time.Hour)
	_, stop = run(t, sweeping)
	s.finishAs(t, files[3], toStable, files[3])
	<-begun
	_, err := p.Promote(t.Context(), binary, stable, nil)
	if err == nil || !strings.Contains(err.Error(), "is being removed") {
		t.Errorf("promoted while its file is removed: %v", err)
	}
	close(goOn)
	testkit.Until(t, func() error {
		if n := len(testkit.Value(p.State(t.Context(), stable))(t).Leaving); n > 0 {
			return fmt.Errorf("%d objects are leaving", n)
		}
		return nil
	})
	stop()
	testkit.Value(p.Promote(t.Context(), binary, stable, nil))(t)
	for _, f := range testkit.Value(p.Verify(t.Context(), stable))(t).Findings {
		if !f.Unused { // a publication was interrupted
			t.Errorf("%s: %s", f.Key, f.Wrong)
		}
	}
}

// TestInterruptedSweep ends a publisher in a sweep: a later one removes what it has left, and what publications have
// left that were overtaken. It does not touch what somebody has put beside them.
func TestInterruptedSweep(t *testing.T) {
	t.Parallel()
	s := start(t)
	var clock sync.Mutex
	now := time.Now()
	o := s.options(t)
	o.Now = func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		return now
	}
	after := func(d time.Duration) {
		clock.Lock()
		defer clock.Unlock()
		now = now.Add(d)
	}
	files := many(t, 6)
	p, stop := run(t, o)
	for n, file := range files[:4] {
		s.finish(t, file, file)
		s.published(t, int64(n)+1)
	}
	stop()
	const foreign = "repos/demo/fedora-43-x86_64/notes"
	for _, key := range []string{
		"repos/demo/fedora-43-x86_64/r/3-00000000/repodata/repomd.xml",
		"repos/demo/fedora-43-x86_64/Packages/00000000/lost.rpm",
		"repos/demo/fedora-43-x86_64/repodata/00-primary.xml.zst", foreign,
	} {
		content := testkit.Value(os.ReadFile(files[0]))(t)
		testkit.Must(t, s.store.Repositories().Keep(
			t.Context(), key, files[0], rpmflow.Digest(content), int64(len(content)), "text/plain"))
	}
	after(72 * time.Hour)
	killed := make(chan struct{})
	kill := sync.OnceFunc(func() { close(killed) })
	dying := o
	dying.Dir = t.TempDir()
	dying.Step = func(what string) error {
		if what == "removal" {
			kill()
			return errors.New("killed")
		}
		return nil
	}
	_, stop = run(t, dying)
	s.finish(t, files[4], files[4])
	<-killed
	stop()
	if n := len(testkit.Value(p.State(t.Context(), binary))(t).Leaving); n == 0 {
		t.Error("nothing is noted")
	}
	after(72 * time.Hour)
	_, stop = run(t, o)
	s.finish(t, files[5], files[5])
	testkit.Until(t, func() error {
		if n := len(testkit.Value(p.State(t.Context(), binary))(t).Leaving); n > 0 {
			return fmt.Errorf("%d objects are leaving", n)
		}
		return atLeast(testkit.Value(p.State(t.Context(), binary))(t).Revision, 6)
	})
	stop()
	for _, f := range testkit.Value(p.Verify(t.Context(), binary))(t).Findings {
		if f.Key != foreign {
			t.Errorf("%s: %s", f.Key, f.Wrong)
		}
	}
}

func atLeast(got, want int64) error {
	if got < want {
		return fmt.Errorf("revision %d of %d", got, want)
	}
	return nil
}

// TestStorageWithoutConditions has two publishers and a command on a storage that ignores If-Match: none of 30 builds
// is lost.
func TestStorageWithoutConditions(t *testing.T) {
	t.Parallel()
	s := start(t)
	cfg := storagetest.Unconditional(t, storagetest.Start(t))
	var stores []*storage.Store // a publisher has its own
	for range 3 {
		store := testkit.Value(storage.Open(cfg))(t)
		t.Cleanup(store.Close)
		stores = append(stores, store)
	}
	s.store = stores[0]
	files := many(t, 30)
	var p *publisher.Publisher
	for _, store := range stores[1:] {
		o := s.options(t)
		o.Store = store
		p, _ = run(t, o)
	}
	for n, file := range files {
		s.finish(t, file, file)
		if n == 15 {
			testkit.Until(t, func() error {
				_, err := p.Pin(t.Context(), binary, 1, true)
				return err
			})
		}
	}
	testkit.Until(t, func() error {
		state, err := p.State(t.Context(), binary)
		if err != nil {
			return err
		}
		return atLeast(int64(len(state.Entries())), int64(len(files)))
	})
	status(t, p, nothing)
	state := testkit.Value(p.State(t.Context(), binary))(t)
	if n := len(state.Entries()); n != len(files) || !state.Revisions[0].Pinned {
		t.Errorf("%d of %d packages, pinned: %v", n, len(files), state.Revisions[0].Pinned)
	}
	valid(t, p, publisher.Binary)

	o := s.options(t)
	o.JS = nil
	alone := testkit.Value(publisher.New(o))(t)
	if _, err := alone.Rollback(t.Context(), binary, 1); err == nil || !strings.Contains(err.Error(), "without NATS") {
		t.Errorf("a command without NATS: %v", err)
	}
}
