package assembly

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/builder"
	"github.com/rpmflow/rpmflow/internal/config"
)

const (
	roomBytes = 256 << 20 // free space that is enough on any disk for servers to go on
	roomShare = 10        // of a small disk a tenth is enough: the floors are meant for large ones
)

// Room says whether the disk of dir has space left to work with.
func Room(dir string) error {
	free, floor, err := space(dir, roomBytes)
	if err == nil && free < floor {
		err = fmt.Errorf("the disk of %s is full: %d MiB are free, less than %d MiB: free some space", dir, free>>20, floor>>20)
	}
	return err
}

// space gives the free space of the disk of dir and how much of it there is to be, where that is a part of the disk.
func space(dir string, want int64) (free, floor int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, min(want, int64(st.Blocks)*st.Bsize/roomShare), nil
}

// disk is implemented by engines that keep builds on a disk of their own.
type disk interface {
	// Disk names a directory on it; empty: it cannot be seen from here. It is asked for before every claim.
	Disk(ctx context.Context) (string, error)
}

// Floors are what must be free before a builder takes another build.
type Floors struct {
	data   string
	disk   int64
	memory int64
	engine build.Engine
	system string // where /proc and /sys are; / but for tests
}

// NewFloors takes the floors from the configuration.
func NewFloors(cfg *config.Config, engine build.Engine) *Floors {
	return &Floors{data: cfg.DataDir, disk: int64(cfg.Builder.MinDisk), memory: int64(cfg.Builder.MinMemory), engine: engine, system: "/"}
}

// Levels measures what the floors are for; what cannot be measured is an error beside the rest.
func (f *Floors) Levels(ctx context.Context) ([]builder.Level, error) {
	own, err := f.ofEngine(ctx)
	errs := []error{err}
	var levels []builder.Level
	for _, dir := range []string{f.data, own} {
		if dir == "" || f.disk == 0 {
			continue
		}
		free, floor, err := space(dir, f.disk)
		if errors.Is(err, fs.ErrNotExist) && dir == own {
			continue // the builder runs in a container that has the engine's socket alone
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if i := slices.IndexFunc(levels, func(l builder.Level) bool { return l.Where == dir }); i < 0 {
			levels = append(levels, builder.Level{Reason: builder.ReasonDisk, Where: dir, Free: free, Floor: floor})
		}
	}
	if f.memory == 0 {
		return levels, errors.Join(errs...)
	}
	free, err := memory(f.system)
	if err != nil {
		return levels, errors.Join(append(errs, err)...)
	}
	return append(levels, builder.Level{Reason: builder.ReasonMemory, Free: free, Floor: f.memory}), errors.Join(errs...)
}

// Room says what there is too little of, and what to do about it.
func (f *Floors) Room(ctx context.Context) error {
	levels, err := f.Levels(ctx)
	if err != nil {
		return err
	}
	for _, l := range levels {
		switch {
		case l.Free >= l.Floor:
		case l.Reason == builder.ReasonDisk:
			return builder.Because(l.Reason, fmt.Errorf("the disk of %s is almost full: %d MiB are free, less than %d MiB: free some space, or lower builder.min_disk", l.Where, l.Free>>20, l.Floor>>20))
		default:
			return builder.Because(l.Reason, fmt.Errorf("memory is almost used up: %d MiB are available, less than %d MiB: lower builder.jobs, end other programs, or lower builder.min_memory", l.Free>>20, l.Floor>>20))
		}
	}
	return nil
}

// ofEngine gives a directory on the engine's disk.
func (f *Floors) ofEngine(ctx context.Context) (string, error) {
	if e, ok := f.engine.(disk); ok {
		dir, err := e.Disk(ctx)
		return dir, builder.Because(builder.ReasonEngine, err)
	}
	return "", nil
}

// memory is how many bytes programs may still take without swapping: those of the machine, or what the limit of our own control group
// leaves where that is less.
func memory(system string) (int64, error) {
	available, err := entry(filepath.Join(system, "proc/meminfo"), "MemAvailable:")
	if err != nil {
		return 0, fmt.Errorf("available memory: %w", err)
	}
	available *= 1024
	group := filepath.Join(system, "sys/fs/cgroup")
	limit, err := number(filepath.Join(group, "memory.max"))
	if errors.Is(err, fs.ErrNotExist) || limit == math.MaxInt64 { // the machine's root group, or cgroup v1
		return available, nil
	}
	used, usedErr := number(filepath.Join(group, "memory.current"))
	cached, cachedErr := entry(filepath.Join(group, "memory.stat"), "inactive_file")
	if err := errors.Join(err, usedErr, cachedErr); err != nil {
		return 0, fmt.Errorf("available memory: %w", err)
	}
	return min(available, limit-used+cached), nil
}

// number reads a file that holds one, or the word max.
func number(file string) (int64, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(raw))
	if text == "max" {
		return math.MaxInt64, nil
	}
	return strconv.ParseInt(text, 10, 64)
}

// entry reads the number behind a name in a file that has one on each line.
func entry(file, name string) (_ int64, err error) {
	in, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == name {
			return strconv.ParseInt(words[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}
