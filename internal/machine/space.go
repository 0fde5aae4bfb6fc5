package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	serverFloor = 256 << 20 // free space with which servers can go on, on any disk
	smallShare  = 10        // of a small disk a tenth is enough: limits are meant for large ones
)

// DiskSpace returns the free bytes of the disk of dir, and how many must be free: want, or a tenth of a small disk.
func DiskSpace(dir string, want int64) (free, floor int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, min(want, int64(st.Blocks)*st.Bsize/smallShare), nil
}

// CheckSpace fails when the disk of dir has too little space for a server to go on.
func CheckSpace(dir string) error {
	free, floor, err := DiskSpace(dir, serverFloor)
	if err == nil && free < floor {
		err = fmt.Errorf("the disk of %s is full: %d MiB are free, less than %d MiB: free some space",
			dir, free>>20, floor>>20)
	}
	return err
}

// Memory is how many bytes programs may still take without swapping: those of the machine, or what the limit of this
// program's control group leaves if that is less. /proc and /sys are looked for below root.
func Memory(root string) (int64, error) {
	available, err := entry(filepath.Join(root, "proc/meminfo"), "MemAvailable:")
	if err != nil {
		return 0, fmt.Errorf("available memory: %w", err)
	}
	available *= 1024
	group := filepath.Join(root, "sys/fs/cgroup")
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

// entry reads the number after a name in a file that has one on each line.
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
