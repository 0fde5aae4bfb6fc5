package images

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/retry"
)

const (
	refreshEvery = 5 * time.Second
	// refreshLeast is the shortest max_age for which comparing ahead of time is worth it: below that it would never
	// stop.
	refreshLeast = 4 * refreshEvery
	compareWait  = 30 * time.Minute // one comparison, or a root that is made again
)

// Refresher compares the roots that builds have used lately with the repositories before a build would wait for
// that. How old a root may be is still for builds to decide.
type Refresher struct {
	period  time.Duration
	compare func(ctx context.Context, t rpmflow.Target, o rpmflow.Options) error
	log     *slog.Logger

	mu    sync.Mutex
	roots map[string]usedRoot // by target and options of mock, which make another root
}

type usedRoot struct {
	target  rpmflow.Target
	options rpmflow.Options
	last    time.Time
	failed  bool // the last comparison
}

// NewRefresher makes a refresher that compares roots with compare until period after their last use; zero: never.
func NewRefresher(
	period time.Duration, compare func(ctx context.Context, t rpmflow.Target, o rpmflow.Options) error,
	log *slog.Logger,
) *Refresher {
	return &Refresher{period: period, compare: compare, log: log, roots: map[string]usedRoot{}}
}

// Used notes that a build uses a root.
func (r *Refresher) Used(t rpmflow.Target, o rpmflow.Options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o = rpmflow.Options{MockOptions: o.MockOptions} // the rest makes no other root
	key := fmt.Sprintf("%q", append([]string{t.Name}, fmt.Sprint(o.MockOptions)))
	r.roots[key] = usedRoot{target: t, options: o, last: time.Now(), failed: r.roots[key].failed}
}

// lately returns the roots that were used in the last period, and drops the others.
func (r *Refresher) lately() map[string]usedRoot {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.roots, func(_ string, u usedRoot) bool { return time.Since(u.last) > r.period })
	return maps.Clone(r.roots)
}

// changed notes how the last comparison of a root went, and reports whether it differs from the one before.
func (r *Refresher) changed(key string, failed bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	u, ok := r.roots[key]
	if !ok || u.failed == failed {
		return false
	}
	u.failed = failed
	r.roots[key] = u
	return true
}

// Run compares roots when half of their max_age is over, until ctx ends.
func (r *Refresher) Run(ctx context.Context) {
	if r.period <= 0 {
		return
	}
	for retry.Sleep(ctx, refreshEvery) {
		for key, u := range r.lately() {
			if u.target.MaxAge < refreshLeast || ctx.Err() != nil {
				continue
			}
			err := r.ahead(ctx, u)
			if ctx.Err() != nil || !r.changed(key, err != nil) {
				continue
			}
			if err != nil {
				r.log.Warn("the root of a target could not be compared with the repositories ahead of time: its next "+
					"build must do it", "target", u.target.Name, "error", err)
			} else {
				r.log.Info("the roots of the target are compared with the repositories ahead of time again",
					"target", u.target.Name)
			}
		}
	}
}

func (r *Refresher) ahead(ctx context.Context, u usedRoot) error {
	ctx, cancel := context.WithTimeout(ctx, compareWait)
	defer cancel()
	target := u.target
	target.MaxAge /= 2
	target.AllowStale = false
	return r.compare(ctx, target, u.options)
}
