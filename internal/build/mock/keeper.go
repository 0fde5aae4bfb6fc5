package mock

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
)

const (
	keepEvery = 5 * time.Second
	// keepLeast is the shortest max_age for which it pays to ask ahead of time: below that the questions would not end.
	keepLeast = 4 * keepEvery
	keepWait  = 30 * time.Minute // one comparison, or a root made anew
)

// keeper remembers which targets builds have used lately, so that their roots are compared with the repositories before a build would
// have to wait for that.
type keeper struct {
	mu   sync.Mutex
	used map[string]used // by target and options of mock, which make another root
}

type used struct {
	target  rpmflow.Target
	options rpmflow.Options
	last    time.Time
	failed  bool // the last comparison
}

func (k *keeper) use(t rpmflow.Target, o rpmflow.Options) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.used == nil {
		k.used = map[string]used{}
	}
	o = rpmflow.Options{MockOptions: o.MockOptions} // the rest makes no other root
	key := fmt.Sprintf("%q", append([]string{t.Name}, fmt.Sprint(o.MockOptions)))
	k.used[key] = used{target: t, options: o, last: time.Now(), failed: k.used[key].failed}
}

// lately gives the roots that were used in the last while, and forgets the others.
func (k *keeper) lately(while time.Duration) map[string]used {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.used, func(_ string, u used) bool { return time.Since(u.last) > while })
	return maps.Clone(k.used)
}

// turned notes how the last comparison went, and reports whether that is news.
func (k *keeper) turned(key string, failed bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	u, ok := k.used[key]
	if !ok || u.failed == failed {
		return false
	}
	u.failed = failed
	k.used[key] = u
	return true
}

// KeepFresh compares the roots that builds have used lately with the repositories when half of max_age is over, until ctx ends. Builds
// that follow one another thus never wait for it; how old a root may be is still theirs to decide.
func (e *Engine) KeepFresh(ctx context.Context) {
	if e.s.KeepFresh <= 0 {
		return
	}
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for key, u := range e.keeper.lately(e.s.KeepFresh) {
			if u.target.MaxAge < keepLeast || ctx.Err() != nil {
				continue
			}
			err := e.ahead(ctx, u)
			if ctx.Err() != nil || !e.keeper.turned(key, err != nil) {
				continue
			}
			if err != nil {
				e.s.Logger.Warn("the root of a target could not be compared with the repositories ahead of time: its next build will have to", "target", u.target.Name, "error", err)
			} else {
				e.s.Logger.Info("the roots of the target are compared with the repositories ahead of time again", "target", u.target.Name)
			}
		}
	}
}

func (e *Engine) ahead(ctx context.Context, u used) error {
	ctx, cancel := context.WithTimeout(ctx, keepWait)
	defer cancel()
	target := u.target
	target.MaxAge /= 2
	target.AllowStale = false
	return inTemporary(func(dir string) error {
		return e.makeReady(ctx, build.Job{Build: rpmflow.Build{BuildRequest: rpmflow.BuildRequest{Options: u.options}}, Target: target, Dir: dir, Log: io.Discard, OnContainer: func(string) {}, OnRoot: func(rpmflow.BuildRoot) {}})
	})
}

// inTemporary gives f a directory that is gone afterwards.
func inTemporary(f func(dir string) error) error {
	dir, err := os.MkdirTemp("", "rpmflow-root-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it holds logs, which nobody else reads
	return f(dir)
}
