package mock

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
)

// TestRootsAreComparedAheadOfTime: the root of a target that builds use is asked for before it is too old for them.
func TestRootsAreComparedAheadOfTime(t *testing.T) {
	h := newHost(t)
	e := h.engine(t)
	target := h.target
	target.MaxAge, e.s.KeepFresh = keepLeast, time.Hour
	root := h.ready(t, e, "build", target).root
	must(t, e.Warm(t.Context(), build.Job{Target: target, Dir: t.TempDir(), Log: io.Discard, OnContainer: func(string) {}, OnRoot: func(rpmflow.BuildRoot) {}}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.KeepFresh(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	h.serve(t, "two")
	key := h.open(t, e, "look", target).s.rootKey()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		c, err := e.newest(t.Context(), kindRoot, key)
		must(t, err)
		if c != nil && c.id != root.Image && c.repositories()["r"] != root.Repositories["r"] {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the root is still %+v", c)
		}
	}
}

func TestKeeperForgets(t *testing.T) {
	var k keeper
	k.use(rpmflow.Target{Name: "a"}, rpmflow.Options{})
	if n := len(k.lately(time.Hour)); n != 1 {
		t.Errorf("%d targets were used lately", n)
	}
	var key string
	for key = range k.lately(time.Hour) {
	}
	if !k.turned(key, true) || k.turned(key, true) || !k.turned(key, false) {
		t.Error("news is what differs from the last time")
	}
	if n := len(k.lately(0)); n != 0 || k.turned(key, true) {
		t.Errorf("%d targets are remembered", n)
	}
}

func TestDead(t *testing.T) {
	ago := func(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339Nano) }
	const never = "0001-01-01T00:00:00Z"
	for name, c := range map[string]struct {
		attempt, created, finished string
		running, dead              bool
	}{
		"of a build, running for long":           {attempt: "1", created: ago(24 * time.Hour), finished: never, running: true},
		"of a build, just ended":                 {attempt: "1", created: ago(time.Hour), finished: ago(silence * 2)},
		"of a build, ended long ago":             {attempt: "1", created: ago(time.Hour), finished: ago(abandoned * 2), dead: true},
		"of no build, running":                   {created: ago(keepWait), finished: never, running: true},
		"of no build, running for too long":      {created: ago(longest * 2), finished: never, running: true, dead: true},
		"of no build, just ended":                {created: ago(time.Hour), finished: ago(silence / 2)},
		"of no build, ended some time ago":       {created: ago(time.Hour), finished: ago(silence * 2), dead: true},
		"of no build, never started":             {created: ago(silence / 2), finished: never},
		"of no build, never started, older":      {created: ago(silence * 2), finished: never, dead: true},
		"of a build, never started, made before": {attempt: "1", created: ago(silence * 2), finished: never},
	} {
		info := container.InspectResponse{
			ContainerJSONBase: &container.ContainerJSONBase{Created: c.created, State: &container.State{Running: c.running, FinishedAt: c.finished}},
			Config:            &container.Config{Labels: map[string]string{LabelAttempt: c.attempt}},
		}
		if got := dead(info); got != c.dead {
			t.Errorf("%s: dead %t", name, got)
		}
	}
}
