package publisher_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	eventschema "github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// both are the targets of the pushes of these tests.
var both = []string{"fedora-43-x86_64", "fedora-44-x86_64"}

func together(s *system, t *testing.T) publisher.Options {
	t.Helper()
	o := s.options(t)
	o.Rules = func(string) rpmflow.Publish { return rpmflow.Publish{On: true, Together: true} }
	return o
}

// push stores a push with a build of each package for each target, and returns these.
func (s *system) push(t *testing.T, id string, packages ...string) (builds []rpmflow.Build) {
	t.Helper()
	p := rpmflow.Push{ID: rpmflow.PushID("demo", id), Project: "demo", Delivery: id, Received: time.Now().UTC()}
	for _, target := range both {
		for _, pkg := range packages {
			b := rpmflow.Build{State: rpmflow.Queued}
			b.ID, b.Push, b.Project = rpmflow.BuildID(p.ID, pkg, target), p.ID, "demo"
			b.Package, b.Target, b.Arch = pkg, target, "x86_64"
			p.Builds = append(p.Builds, b)
		}
	}
	pushes := testkit.Value(events.NewPushes(t.Context(), s.js))(t)
	_, _, err := pushes.Receive(t.Context(), p)
	testkit.Must(t, err)
	return p.Builds
}

// again stores the push of a retry, and returns its build.
func (s *system) again(t *testing.T, old rpmflow.Build, key string) rpmflow.Build {
	t.Helper()
	p := rpmflow.Push{ID: rpmflow.PushID("demo", old.ID+key), Project: "demo", Delivery: key}
	p.Received = time.Now().UTC()
	b := old
	b.ID, b.Push, b.RetryOf = rpmflow.BuildID(p.ID, old.Package, old.Target), p.ID, old.ID
	p.Builds = []rpmflow.Build{b}
	pushes := testkit.Value(events.NewPushes(t.Context(), s.js))(t)
	_, _, err := pushes.Receive(t.Context(), p)
	testkit.Must(t, err)
	return b
}

// succeed ends a build with these files.
func (s *system) succeed(t *testing.T, b rpmflow.Build, files ...string) {
	t.Helper()
	s.end(t, b, rpmflow.Outcome{Result: rpmflow.Succeeded}, files...)
}

func (s *system) fail(t *testing.T, b rpmflow.Build, message string) {
	t.Helper()
	s.end(t, b, rpmflow.Outcome{Result: rpmflow.Failed, Kind: rpmflow.FailureBuild, Message: message})
}

func (s *system) end(t *testing.T, b rpmflow.Build, outcome rpmflow.Outcome, files ...string) {
	t.Helper()
	s.finishAs(t, b.ID, func(made *rpmflow.Build) {
		made.BuildRequest, made.Outcome = b.BuildRequest, &outcome
	}, files...)
}

// told waits until the last event of a target is as it should be, and returns it.
func (s *system) told(t *testing.T, target string, is func(events.Publication) bool) (pub events.Publication) {
	t.Helper()
	testkit.Until(t, func() error {
		var err error
		pub, _, err = events.NewPublications(s.js).Last(t.Context(), "demo", target)
		if err == nil && !is(pub) {
			err = fmt.Errorf("%s: %+v", target, pub)
		}
		return err
	})
	stream := testkit.Value(s.js.Stream(t.Context(), events.StreamPublished))(t)
	msg := testkit.Value(stream.GetLastMsgForSubject(t.Context(), "rpmflow.published.demo."+target))(t)
	testkit.Must(t, eventschema.Validate(msg.Data))
	return pub
}

// heldBack waits until both targets are told that a build holds its push back.
func (s *system) heldBack(t *testing.T, by rpmflow.Build, why string) {
	t.Helper()
	for _, target := range both {
		s.told(t, target, func(pub events.Publication) bool {
			return slices.ContainsFunc(pub.HeldBack, func(h events.HeldBack) bool {
				return h.Build == by.ID && strings.Contains(h.Reason, why) && h.Hint != ""
			})
		})
	}
}

// since is the revision with which each of the builds came that clients of a repository see.
func (s *system) since(t *testing.T, p *publisher.Publisher, place publisher.Place) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	state, err := p.State(t.Context(), place)
	if errors.Is(err, publisher.ErrNoRepository) {
		return all
	}
	testkit.Must(t, err)
	list, _, err := s.store.Repositories().Read(t.Context(), "repos/"+place.Path()+"/mirrorlist", 1<<10)
	testkit.Must(t, err)
	for _, r := range state.Revisions {
		for _, e := range state.Entries() {
			if strings.HasSuffix(string(list), "/r/"+r.Name()+"/\n") && e.Since <= r.Number {
				all[e.Build] = e.Since
			}
		}
	}
	return all
}

// inOne checks that each of the repositories has got the builds for its target, and those in one revision.
func (s *system) inOne(t *testing.T, p *publisher.Publisher, builds ...rpmflow.Build) {
	t.Helper()
	for _, target := range both {
		has := s.since(t, p, publisher.Place{Project: "demo", Target: target})
		var revisions []int64
		for _, b := range builds {
			if b.Target == target {
				revisions = append(revisions, has[b.ID])
			}
		}
		if len(revisions) == 0 || slices.Contains(revisions, 0) || len(slices.Compact(revisions)) != 1 {
			t.Errorf("%s: the builds came with revisions %v", target, revisions)
		}
	}
}

func is(revision int64) func(events.Publication) bool {
	return func(pub events.Publication) bool { return newest(pub) == revision }
}

// TestTogether has a push of two packages for two targets. One build fails, then its retry: nothing is published. When
// it succeeds, everything comes with the first revision of each repository.
func TestTogether(t *testing.T) {
	t.Parallel()
	s := start(t)
	p, _ := run(t, together(s, t))
	one, two := rpms(t, "one", "1"), rpms(t, "two", "1")
	builds := s.push(t, "first", "one", "two")
	s.succeed(t, builds[0], one...)
	s.fail(t, builds[3], "no such header")
	s.succeed(t, builds[1], two...)
	s.succeed(t, builds[2], one...)
	s.heldBack(t, builds[3], "two for fedora-44-x86_64 has not succeeded: no such header")
	failed := s.again(t, builds[3], "a")
	s.end(t, failed, *ptr(rpmflow.OutcomeOf(rpmflow.PhaseRPMs, rpmflow.Cancel{By: "ann"}.Failure())))
	s.heldBack(t, failed, "canceled by ann")
	if places := testkit.Value(p.Places(t.Context(), "", ""))(t); len(places) > 0 {
		t.Errorf("repositories: %v", places)
	}

	good := s.again(t, failed, "b")
	s.succeed(t, good, two...)
	for _, target := range both {
		pub := s.told(t, target, is(1))
		if len(pub.HeldBack)+len(pub.Refused) > 0 || len(pub.Repositories) != 2 || len(pub.Repositories[1].Added) != 2 {
			t.Errorf("%s: %+v", target, pub)
		}
	}
	builds[3] = good
	s.inOne(t, p, builds...)
	valid(t, p, publisher.Binary)
	valid(t, p, publisher.Source)

	// What is taken out later stays out when another build of the push is tried again.
	testkit.Value(p.Remove(t.Context(), binary, "one"))(t)
	last := s.again(t, builds[1], "c")
	s.succeed(t, last, rpms(t, "two", "2")...)
	s.told(t, binary.Target, is(3))
	if has := s.since(t, p, binary); has[builds[0].ID] != 0 || has[last.ID] != 3 {
		t.Errorf("the repository has %v", has)
	}
}

func ptr[T any](v T) *T { return &v }

// TestTogetherLater starts the publisher when everything is over: of pushes with a build that was skipped, one that was
// retried before its push was finished, and one that has failed for good.
func TestTogetherLater(t *testing.T) {
	t.Parallel()
	s := start(t)
	files := many(t, 8)
	skipped := s.push(t, "skipped", "p00", "p01")
	s.end(t, skipped[0], rpmflow.Outcome{Result: rpmflow.Skipped, Message: "ExcludeArch"})
	retried, failed := s.push(t, "retried", "p02", "p03"), s.push(t, "failed", "p04", "p05")
	for i, b := range skipped[1:] {
		s.succeed(t, b, files[(i+1)%2])
	}
	s.fail(t, retried[0], "no space")
	s.fail(t, retried[1], "no space")
	again := []rpmflow.Build{s.again(t, retried[0], "a"), s.again(t, retried[1], "b")}
	for i, b := range []rpmflow.Build{again[0], again[1], retried[2], retried[3]} {
		s.succeed(t, b, files[2+i%2])
	}
	for i, b := range failed[:3] {
		s.succeed(t, b, files[4+i%2])
	}
	s.fail(t, failed[3], "no such header")

	p, _ := run(t, together(s, t))
	s.heldBack(t, failed[3], "no such header")
	s.inOne(t, p, skipped[1:]...)
	s.inOne(t, p, append(again, retried[2:]...)...)
	if has := s.since(t, p, binary); len(has) != 3 {
		t.Errorf("the repository has %v", has)
	}

	// A repository that is made again has what it had.
	made, err := p.Rebuild(t.Context(), binary, false)
	testkit.Must(t, err)
	if len(made.Refused)+len(made.Lost) > 0 || len(made.Entries()) != 3 {
		t.Errorf("made again: %d packages, refused: %v", len(made.Entries()), made.Refused)
	}
}

// TestTogetherRefused has a package that one of the targets cannot take: the other has nothing of the push either,
// until that is gone.
func TestTogetherRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, stop := run(t, s.options(t))
	s.finish(t, "before", binaries(rpms(t, "one", "1"))...)
	s.published(t, 1)
	stop()
	files := append(binaries(rpms(t, "one", "1")), binaries(rpms(t, "two", "1"))...)
	p, _ := run(t, together(s, t))
	builds := s.push(t, "push", "one", "two")
	for i, b := range builds {
		s.succeed(t, b, files[i%2])
	}
	s.heldBack(t, builds[0], "has published another package")
	pub := s.told(t, binary.Target, is(1))
	if len(pub.Refused) != 1 || pub.HeldBack[0].Hint != "raise Release in the spec" {
		t.Errorf("published: %+v", pub)
	}
	if places := testkit.Value(p.Places(t.Context(), "demo", both[1]))(t); len(places) > 0 {
		t.Errorf("repositories: %v", places)
	}
	testkit.Value(p.Remove(t.Context(), binary, "one"))(t)
	builds[3] = s.again(t, builds[3], "a")
	s.succeed(t, builds[3], files[1])
	s.told(t, both[1], is(1))
	s.inOne(t, p, builds...)
	valid(t, p, publisher.Binary)
}

// TestTogetherForgotten removes builds and a push from the streams.
func TestTogetherForgotten(t *testing.T) {
	t.Parallel()
	s := start(t)
	files := many(t, 4)
	builds, lost := s.push(t, "push", "p00", "p01"), s.push(t, "lost", "p02", "p03")
	for i := range 3 {
		s.succeed(t, builds[i], files[i%2])
		s.succeed(t, lost[i], files[2+i%2])
	}
	for stream, subject := range map[string]string{
		events.StreamEvents: "rpmflow.events.*.*." + builds[0].ID + ".*",
		events.StreamPushes: "rpmflow.pushes.*." + lost[0].Push + ".*",
	} {
		testkit.Must(t, testkit.Value(s.js.Stream(t.Context(), stream))(t).Purge(t.Context(),
			jetstream.WithPurgeSubject(subject)))
	}
	p, _ := run(t, together(s, t))
	s.succeed(t, builds[3], files[1])
	for _, target := range both {
		s.told(t, target, is(1))
	}
	s.inOne(t, p, builds...)
	s.succeed(t, lost[3], files[3])
	s.told(t, both[1], func(pub events.Publication) bool {
		return len(pub.HeldBack) == 1 && pub.HeldBack[0].Build == lost[3].ID
	})
}
