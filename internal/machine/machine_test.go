package machine_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/machine"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// nowhere cannot be written, not even by root.
const nowhere = "/proc/1/data"

func TestDataDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, want := range map[string]bool{dir: true, filepath.Join(dir, "a", "b"): false} {
		if there, err := machine.DataDir(path); there != want || err != nil {
			t.Errorf("%s: %v, %v", path, there, err)
		}
	}
	_, err := machine.DataDir(nowhere)
	if err == nil {
		t.Fatalf("%s can be written", nowhere)
	}
	if what, do := hint.Split(err); !strings.Contains(what, "/proc/1") || !strings.Contains(do, "data_dir") {
		t.Errorf("%v", err)
	}
}

func TestCheckDataDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct {
		dir   string
		room  error
		state doctor.State
		found string
	}{
		{dir, nil, doctor.OK, dir + " can be written"},
		{dir, errors.New("the disk is full"), doctor.Failed, "the disk is full"},
		{filepath.Join(dir, "new"), errors.New("not asked"), doctor.OK, "new is made at the start"},
		{nowhere, nil, doctor.Failed, "/proc/1"},
	} {
		room := func(context.Context) error { return tt.room }
		report := doctor.Examine(t.Context(), "test", func() ([]doctor.Check, error) {
			return []doctor.Check{machine.CheckDataDir(tt.dir, room)}, nil
		})
		if len(report.Checks) != 1 || report.Checks[0].State != tt.state ||
			!strings.Contains(report.Checks[0].Found, tt.found) {
			t.Errorf("%s: %+v", tt.dir, report)
		}
	}
}

func TestSpace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	free, floor, err := machine.DiskSpace(dir, 1)
	if err != nil || free <= 0 || floor != 1 {
		t.Errorf("%d bytes are free of at least %d: %v", free, floor, err)
	}
	if _, floor, err = machine.DiskSpace(dir, math.MaxInt64); err != nil || floor <= 0 || floor == math.MaxInt64 {
		t.Errorf("of a small disk %d bytes must be free: %v", floor, err)
	}
	if err := machine.CheckSpace(filepath.Join(dir, "nosuch")); err == nil {
		t.Error("there is room in a directory that does not exist")
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	const proc, group = "proc/meminfo", "sys/fs/cgroup/memory."
	available := "MemTotal: 4096 kB\nMemAvailable:  2048 kB\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  int64
		says  string
	}{
		"the machine's": {map[string]string{proc: available}, 2 << 20, ""},
		"no limit":      {map[string]string{proc: available, group + "max": "max\n"}, 2 << 20, ""},
		"the group's": {map[string]string{proc: available, group + "max": "1000\n", group + "current": "900\n",
			group + "stat": "anon 1\ninactive_file 50\n"}, 150, ""},
		"a far limit": {map[string]string{proc: available, group + "max": "1000000000", group + "current": "1",
			group + "stat": "inactive_file 0\n"}, 2 << 20, ""},
		"no number":     {map[string]string{proc: "MemAvailable: x kB\n"}, 0, "available memory"},
		"half a group":  {map[string]string{proc: available, group + "max": "1000"}, 0, "memory.current"},
		"another file":  {map[string]string{proc: "MemTotal: 1 kB\n"}, 0, "has no MemAvailable"},
		"not a machine": {nil, 0, "no such file"},
	} {
		root := t.TempDir()
		for file, text := range tt.files {
			testkit.Write(t, filepath.Join(root, file), text)
		}
		got, err := machine.Memory(root)
		if got != tt.want || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}
