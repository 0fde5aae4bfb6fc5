package docker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// watched runs the watcher until it stops the container, or for long enough to see that it does not.
func watched(t *testing.T, d *disk, limit int64) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), measureLeast+2*time.Second)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	d.every = 10 * time.Millisecond
	d.watch(ctx, "c", limit, false, stop)
	return context.Cause(ctx)
}

func TestDiskWatcher(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	fixed := func(n int64) func(context.Context, string) (int64, error) {
		return func(context.Context, string) (int64, error) { return n, nil }
	}
	room := func(free int64, known bool) func(context.Context) (space, bool) {
		return func(context.Context) (space, bool) { return space{free, 100 * gib}, known }
	}
	for name, test := range map[string]struct {
		limit int64
		disk  *disk
		over  bool // its own fault
		full  bool // not of this container
	}{
		"within its limit":              {gib, &disk{size: fixed(gib), free: room(50*gib, true)}, false, false},
		"over its limit":                {gib, &disk{size: fixed(gib + 1), free: room(50*gib, true)}, true, false},
		"over, and elsewhere":           {gib, &disk{size: fixed(gib + 1), free: room(0, false)}, true, false},
		"no limit":                      {0, &disk{size: fixed(99 * gib), free: room(50*gib, true)}, false, false},
		"the disk is full":              {gib, &disk{size: fixed(1), free: room(gib/2-1, true)}, false, true},
		"the disk is full, without":     {0, &disk{size: fixed(1), free: room(gib/2-1, true)}, false, true},
		"the disk is full, by this one": {gib, &disk{size: fixed(2 * gib), free: room(gib/2-1, true)}, true, false},
		"not measured": {gib, &disk{free: room(50*gib, true),
			size: func(context.Context, string) (int64, error) { return 2 * gib, errors.New("no answer") }}, false,
			false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := watched(t, test.disk, test.limit)
			var over *DiskLimitError
			if errors.As(err, &over) != test.over || errors.Is(err, ErrDiskFull) != test.full {
				t.Errorf("%v", err)
			}
		})
	}
}

// A driver with quotas gets the limit, and what has almost reached it is over it.
func TestQuota(t *testing.T) {
	t.Parallel()
	const limit = 1 << 30
	c := &Client{disk: &disk{size: func(context.Context, string) (int64, error) { return limit - 4096, nil }}}
	if c.quota(limit)["size"] != "1073741824" || !c.FilledQuota(t.Context(), "c", limit) {
		t.Errorf("%v", c.quota(limit))
	}
	c.noQuota.Store(true)
	if c.quota(limit) != nil || c.FilledQuota(t.Context(), "c", limit) {
		t.Errorf("without quotas: %v", c.quota(limit))
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	var got []string
	for _, n := range []int64{5, 1 << 10, 1536 << 10, 64 << 30, 1<<40 + 1} {
		got = append(got, Size(n))
	}
	if s := strings.Join(got, ", "); s != "5 bytes, 1 KiB, 1.5 MiB, 64 GiB, 1024 GiB" {
		t.Error(s)
	}
}
