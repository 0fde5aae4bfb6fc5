package builderd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/builder"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/machine"
)

// engineDisk is implemented by engines that keep builds on a disk of their own.
type engineDisk interface {
	// Disk names a directory on that disk; empty: it cannot be seen from here. It is called before every claim.
	Disk(ctx context.Context) (string, error)
}

// Capacity is what must be free before a builder takes another build.
type Capacity struct {
	dataDir string
	disk    int64 // 0: no limit
	memory  int64 // 0: no limit
	engine  build.Engine
	root    string // where /proc and /sys are; / outside of tests
}

// NewCapacity takes the limits from the configuration; engine may be nil.
func NewCapacity(cfg *config.Config, engine build.Engine) *Capacity {
	b := cfg.Builder
	return &Capacity{dataDir: cfg.DataDir, disk: int64(b.MinDisk), memory: int64(b.MinMemory), engine: engine,
		root: "/"}
}

// Levels measures what has a limit. What cannot be measured is an error, returned with the rest.
func (c *Capacity) Levels(ctx context.Context) ([]builder.Level, error) {
	engineDir, err := c.engineDir(ctx)
	errs := []error{err}
	var levels []builder.Level
	for _, dir := range []string{c.dataDir, engineDir} {
		if dir == "" || c.disk == 0 {
			continue
		}
		free, floor, err := machine.DiskSpace(dir, c.disk)
		if errors.Is(err, fs.ErrNotExist) && dir == engineDir {
			continue // the builder runs in a container that has only the engine's socket
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if i := slices.IndexFunc(levels, func(l builder.Level) bool { return l.Where == dir }); i < 0 {
			levels = append(levels, builder.Level{Reason: builder.ReasonDisk, Where: dir, Free: free, Floor: floor})
		}
	}
	if c.memory == 0 {
		return levels, errors.Join(errs...)
	}
	free, err := machine.Memory(c.root)
	if err != nil {
		return levels, errors.Join(append(errs, err)...)
	}
	return append(levels, builder.Level{Reason: builder.ReasonMemory, Free: free, Floor: c.memory}),
		errors.Join(errs...)
}

// Check returns what there is too little of, and what to do about it.
func (c *Capacity) Check(ctx context.Context) error {
	levels, err := c.Levels(ctx)
	if err != nil {
		return err
	}
	for _, l := range levels {
		switch {
		case l.Free >= l.Floor:
		case l.Reason == builder.ReasonDisk:
			return builder.Because(l.Reason,
				fmt.Errorf("the disk of %s is almost full: %d MiB are free, less than %d MiB: "+
					"free some space, or lower builder.min_disk", l.Where, l.Free>>20, l.Floor>>20))
		default:
			return builder.Because(l.Reason,
				fmt.Errorf("memory is almost used up: %d MiB are available, less than %d MiB: "+
					"lower builder.jobs, end other programs, or lower builder.min_memory", l.Free>>20, l.Floor>>20))
		}
	}
	return nil
}

// engineDir returns a directory on the engine's disk.
func (c *Capacity) engineDir(ctx context.Context) (string, error) {
	if e, ok := c.engine.(engineDisk); ok {
		dir, err := e.Disk(ctx)
		return dir, builder.Because(builder.ReasonEngine, err)
	}
	return "", nil
}
