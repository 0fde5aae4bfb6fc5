package docker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// disk keeps containers from filling the engine's disk. If the storage driver has quotas (overlay2 on xfs with pquota,
// btrfs, zfs), the engine enforces the limit. Otherwise the engine is asked for the container's size at intervals. Its
// answer is slow, counts sparse files in full and does not count files that are open and deleted. What it misses is
// caught by the floor: when less is free on the engine's disk, running builds are stopped, if that disk is on this
// machine.
type disk struct {
	size  func(context.Context, string) (int64, error) // of a container
	free  func(context.Context) (space, bool)          // of the engine's disk, if that is known
	every time.Duration                                // between two looks at the free space
}

type space struct{ free, total int64 }

// floor is the free space that must be left for the engine to work with; on a small disk it is a part of it. It is half
// of what a builder requires by default before it takes a build.
func (s space) floor() int64 { return min(512<<20, s.total/20) }

const (
	diskEvery    = time.Second
	measureLeast = 3 * time.Second // between two measurements of a container
	// A measurement walks through the container's files: most of the time is left to the build.
	measureShare = 4
	measureWait  = 2 * time.Minute
)

// ErrDiskFull means that the engine's disk is full, by this build or by something else.
var ErrDiskFull = errors.New("the engine's disk is full")

// DiskLimitError means that a container has written more than its limit.
type DiskLimitError struct{ Limit int64 }

// Error implements error.
func (e *DiskLimitError) Error() string {
	return fmt.Sprintf("filled the disk: more than %s", Size(e.Limit))
}

// quota is what asks the storage driver for a quota; nil if it has none.
func (c *Client) quota(limit int64) map[string]string {
	if limit == 0 || c.noQuota.Load() {
		return nil
	}
	return map[string]string{"size": strconv.FormatInt(limit, 10)}
}

// FilledQuota reports whether a container that has ended used up the quota that the storage driver gave it.
func (c *Client) FilledQuota(ctx context.Context, id string, limit int64) bool {
	return c.quota(limit) != nil && c.disk.over(ctx, id, limit, true)
}

// free asks the system about the engine's disk, if the engine's directory can be seen from here.
func (c *Client) free(ctx context.Context) (space, bool) {
	root, err := c.Disk(ctx)
	var fs unix.Statfs_t
	if err != nil || root == "" || unix.Statfs(root, &fs) != nil {
		return space{}, false
	}
	return space{int64(fs.Bavail) * fs.Bsize, int64(fs.Blocks) * fs.Bsize}, true
}

// size is what a container has written into its own layer.
func (c *Client) size(ctx context.Context, id string) (int64, error) {
	info, _, err := c.api.ContainerInspectWithRaw(ctx, id, true)
	if err != nil || info.ContainerJSONBase == nil || info.SizeRw == nil {
		return 0, fmt.Errorf("docker: size of container %s: %w", id, err)
	}
	return *info.SizeRw, nil
}

// watch looks at the disk until ctx ends, and stops what fills it.
func (d *disk) watch(ctx context.Context, id string, limit int64, quota bool, stop context.CancelCauseFunc) {
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
		if d.over(ctx, id, limit, quota) { // if both are true, it is the container's fault
			stop(&DiskLimitError{limit})
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
func (d *disk) over(ctx context.Context, id string, limit int64, quota bool) bool {
	if limit == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, measureWait)
	defer cancel()
	size, err := d.size(ctx, id)
	if quota { // which leaves no room for more
		size += limit / 50
	}
	return err == nil && size > limit
}

// full reports whether the engine's disk has less space left than the floor.
func (d *disk) full(ctx context.Context) error {
	if s, known := d.free(ctx); known && s.free < s.floor() {
		return fmt.Errorf("%w: %s are free, less than %s: free some space", ErrDiskFull, Size(s.free), Size(s.floor()))
	}
	return nil
}

// Size writes a number of bytes as people do.
func Size(n int64) string {
	return units.CustomSize("%.4g %s", float64(n), 1024, []string{"bytes", "KiB", "MiB", "GiB"})
}
