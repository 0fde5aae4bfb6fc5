package publisher_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestTogetherOvertaken has another program change the second repository when the state of the first has got the push,
// so that it refuses a package.
func TestTogetherOvertaken(t *testing.T) {
	t.Parallel()
	s := start(t)
	elsewhere := publisher.Place{Project: "elsewhere", Target: both[1]}
	other := publisher.Place{Project: "demo", Target: both[1]}
	first, stop := run(t, s.options(t))
	s.finishAs(t, "elsewhere", func(b *rpmflow.Build) { b.Project, b.Target = "elsewhere", both[1] },
		binaries(rpms(t, "two", "1"))...)
	testkit.Until(t, func() error { return second(first.State(t.Context(), elsewhere)) })
	stop()
	o := together(s, t)
	states := 0
	o.Step = func(what string) error {
		if what == "state" {
			states++
		}
		if what != "state" || states != 2 {
			return nil
		}
		return second(first.Promote(t.Context(), elsewhere, other, nil))
	}
	p, _ := run(t, o)
	builds := s.push(t, "push", "one", "two")
	files := append(binaries(rpms(t, "one", "1")), binaries(rpms(t, "two", "1"))...)
	for i, b := range builds {
		s.succeed(t, b, files[i%2])
	}
	s.heldBack(t, builds[3], "has published another package")
	for _, target := range both {
		has := s.since(t, p, publisher.Place{Project: "demo", Target: target})
		for _, b := range builds {
			if has[b.ID] != 0 {
				t.Errorf("%s: the repository has %v", target, has)
			}
		}
	}
	valid(t, p, publisher.Binary)
}

// TestTogetherKilled ends a publisher at each step of a push for two targets, when it comes for the first time and for
// the last. No repository has a part of the push, and the next publisher publishes the rest.
func TestTogetherKilled(t *testing.T) {
	t.Parallel()
	errKilled := errors.New("killed")
	s := start(t)
	var steps []string
	o := together(s, t)
	o.Step = func(what string) error { steps = append(steps, what); return nil }
	packages, others := []string{"one", "two"}, many(t, 40)
	finish := func(version int) []rpmflow.Build {
		t.Helper()
		builds := s.push(t, fmt.Sprint(version), packages...)
		files := [][]string{rpms(t, "one", fmt.Sprint(version)), {others[version]}}
		for i, b := range builds {
			s.succeed(t, b, files[i%2]...)
		}
		return builds
	}
	_, stop := run(t, o)
	finish(1)
	for _, target := range both {
		s.told(t, target, is(1))
	}
	stop()
	var at []int // steps
	for i, step := range steps {
		if slices.Index(steps, step) == i || !slices.Contains(steps[i+1:], step) {
			at = append(at, i)
		}
	}
	order := map[string]int{"package": 1, "metadata": 2, "repomd.xml.asc": 2, "repomd.xml": 2, "state": 3, "event": 5}
	inOrder := slices.IsSortedFunc(steps, func(a, b string) int {
		return cmp.Or(order[a], 4) - cmp.Or(order[b], 4) // 4: what clients see
	})
	if !inOrder || len(at) < 16 {
		t.Errorf("steps: %v", steps)
	}
	for n, step := range at {
		version := n + 2
		killed := make(chan struct{})
		kill := sync.OnceFunc(func() { close(killed) })
		o := together(s, t)
		count := 0
		o.Step = func(string) error {
			if count++; count > step {
				kill()
				return errKilled
			}
			return nil
		}
		p, stop := run(t, o)
		builds := finish(version)
		<-killed
		stop()
		for _, target := range both {
			visible, had := s.since(t, p, publisher.Place{Project: "demo", Target: target}), 0
			for _, b := range builds {
				if visible[b.ID] > 0 {
					had++
				}
			}
			if before := step <= slices.Index(steps, "mirrorlist"); had != 0 && (before || had != len(packages)) {
				t.Errorf("killed before %s (%d): %s has %d of the builds", steps[step], step, target, had)
			}
		}
		p, stop = run(t, together(s, t))
		for _, target := range both {
			s.told(t, target, is(int64(version)))
		}
		stop()
		s.inOne(t, p, builds...)
		valid(t, p, publisher.Binary)
		valid(t, p, publisher.Source)
	}
}

// TestTogetherManyPublishers has three publishers publish pushes whose builds end in between each other.
func TestTogetherManyPublishers(t *testing.T) {
	t.Parallel()
	s := start(t)
	files := many(t, 16)
	var p *publisher.Publisher
	for range 3 {
		p, _ = run(t, together(s, t))
	}
	var pushes [][]rpmflow.Build
	for n := range len(files) / 2 {
		pushes = append(pushes, s.push(t, fmt.Sprint(n), fmt.Sprint("p", 2*n), fmt.Sprint("p", 2*n+1)))
	}
	var ends sync.WaitGroup
	for i := range 4 {
		for n, builds := range pushes {
			ends.Go(func() { s.succeed(t, builds[i], files[2*n+i%2]) })
		}
	}
	ends.Wait()
	for _, target := range both {
		s.told(t, target, func(events.Publication) bool {
			return len(s.since(t, p, publisher.Place{Project: "demo", Target: target})) == len(files)
		})
	}
	for _, builds := range pushes {
		s.inOne(t, p, builds...)
	}
	valid(t, p, publisher.Binary)
}
