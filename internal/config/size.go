package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, never negative.
type Size int64

// sizeUnits are the units from the largest to the smallest; of two that fit, String takes the first.
func sizeUnits() []sizeUnit {
	return []sizeUnit{
		{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
	}
}

type sizeUnit struct {
	name  string
	bytes int64
}

// ParseSize reads a whole number with a unit (B, KB, KiB, MB, MiB, GB, GiB); without one it counts bytes.
func ParseSize(s string) (Size, error) {
	digits := strings.TrimRight(s, "BKMGTkbmgti ")
	n, err := strconv.ParseUint(digits, 10, 63)
	unit := strings.TrimSpace(s[len(digits):])
	if unit == "" {
		unit = "B"
	}
	for _, u := range sizeUnits() {
		if err != nil || u.name != unit {
			continue
		}
		if int64(n) > math.MaxInt64/u.bytes {
			return 0, fmt.Errorf("%s is too large: the most is %d bytes", quote(s), int64(math.MaxInt64))
		}
		return Size(int64(n) * u.bytes), nil
	}
	return 0, fmt.Errorf("%s is not a size: write a whole number and B, KB, KiB, MB, MiB, GB or GiB, "+
		"such as 256MiB", quote(s))
}

// String writes the size in the largest unit in which it is a whole number, so that ParseSize reads the same again.
func (s Size) String() string {
	for _, u := range sizeUnits()[:6] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
