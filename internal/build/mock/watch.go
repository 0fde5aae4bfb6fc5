package mock

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rpmflow/rpmflow"
)

// disk keeps containers from filling the engine's disk. Where the storage driver has quotas (overlay2 on xfs with pquota, btrfs, zfs) the
// engine enforces the limit. Elsewhere the engine is asked for the container's size now and then. Its answer is slow, counts
// sparse files in full and does not count files that are open and deleted; what it misses is caught by the floor: free space, below
// which whatever runs is stopped, where the engine's disk is on this machine.
type disk struct {
	limit   int64                                        // of one container; 0: none
	size    func(context.Context, string) (int64, error) // of a container
	free    func(context.Context) (space, bool)          // of the engine's disk, when that can be known
	every   time.Duration                                // between two looks at the free space
	noQuota atomic.Bool                                  // the driver has refused one
}

type space struct{ free, total int64 }

// floor is the free space that must be left: some for the engine to work with, on a small disk a part of it. It is half of what a builder
// wants by default before it takes a build.
func (s space) floor() int64 { return min(512<<20, s.total/20) }

const (
	diskEvery    = time.Second
	measureLeast = 3 * time.Second // between two measurements of a container
	// A measurement walks through the container's files: most of the time is left to the build.
	measureShare = 4
	measureWait  = 2 * time.Minute
)

// errDiskFull says that the engine's disk is full, whoever filled it.
var errDiskFull = errors.New("the engine's disk is full")

// overDisk says that a container has taken more than its limit.
type overDisk struct{ limit int64 }

func (e *overDisk) Error() string {
	return fmt.Sprintf("filled the disk: more than %s", inUnits(e.limit))
}

// failure is what that means in a phase: making the root is nobody's but the operator's.
func (e *overDisk) failure(phase rpmflow.Phase) error {
	if phase == rpmflow.PhaseRoot {
		return fmt.Errorf("engine mock: the build root %w: raise builder.docker.disk", e)
	}
	return &rpmflow.Failure{Kind: rpmflow.FailureBuild, Message: "the build " + e.Error(), Hint: "make it write less, or have builder.docker.disk raised"}
}

// option is what asks the storage driver for a quota; nil where it has none.
func (d *disk) option() map[string]string {
	if d.limit == 0 || d.noQuota.Load() {
		return nil
	}
	return map[string]string{"size": strconv.FormatInt(d.limit, 10)}
}

// watch looks at the disk until ctx ends, and stops what fills it.
func (d *disk) watch(ctx context.Context, id string, stop context.CancelCauseFunc) {
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	next := time.Now().Add(measureLeast)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		full := d.full(ctx)
		if full == nil && time.Now().Before(next) {
			continue
		}
		begin := time.Now()
		if d.over(ctx, id) { // whose fault it is when both are the case
			stop(&overDisk{d.limit})
			return
		}
		if full != nil {
			stop(full)
			return
		}
		next = time.Now().Add(max(measureLeast, measureShare*time.Since(begin)))
	}
}

// over measures a container. One that cannot be measured is not over its limit.
func (d *disk) over(ctx context.Context, id string) bool {
	if d.limit == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, measureWait)
	defer cancel()
	size, err := d.size(ctx, id)
	if d.option() != nil { // a quota leaves no room for more
		size += d.limit / 50
	}
	return err == nil && size > d.limit
}

// full says whether the engine's disk has less space left than the floor.
func (d *disk) full(ctx context.Context) error {
	if s, known := d.free(ctx); known && s.free < s.floor() {
		return fmt.Errorf("engine mock: %w: %s are free, less than %s: free some space", errDiskFull, inUnits(s.free), inUnits(s.floor()))
	}
	return nil
}

// inUnits writes a size as people do.
func inUnits(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return strconv.FormatFloat(float64(n*10/u.size)/10, 'f', -1, 64) + " " + u.name
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
