package builderd_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/builderd"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// elsewhere is an engine with a disk of its own.
type elsewhere struct {
	build.Engine
	dir string
}

func (e *elsewhere) Disk(context.Context) (string, error) { return e.dir, nil }

func TestCapacity(t *testing.T) {
	t.Parallel()
	// 2 GiB
	machine := map[string]string{"proc/meminfo": "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable:  2097152 kB\n"}
	group := func(limit string) map[string]string {
		return map[string]string{
			"proc/meminfo": machine["proc/meminfo"], "sys/fs/cgroup/memory.max": limit + "\n",
			// 900 and 400 MiB
			"sys/fs/cgroup/memory.current": "943718400\n",
			"sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 419430400\n" +
				"active_file 7\n",
		}
	}
	const tiny = 1
	for name, test := range map[string]struct {
		disk, memory config.Size
		files        map[string]string
		engine       build.Engine
		says         string
	}{
		"enough": {tiny, 1 << 30, machine, &elsewhere{}, ""},
		"too little memory": {tiny, 3 << 30, machine, &elsewhere{},
			"2048 MiB are available, less than 3072 MiB"},
		"no floor of memory":    {tiny, 0, nil, &elsewhere{}, ""},
		"no limit of the group": {tiny, 2 << 30, group("max"), &elsewhere{}, ""},
		"the group's limit is near": {tiny, 1 << 30, group("1073741824"), &elsewhere{},
			"524 MiB are available, less than 1024 MiB"},
		"the group's limit is far":            {tiny, 500 << 20, group("1073741824"), &elsewhere{}, ""},
		"the group's limit is the machine's":  {tiny, 2 << 30, group("107374182400"), &elsewhere{}, ""},
		"no floor of the disk":                {0, 0, nil, &elsewhere{dir: "/"}, ""},
		"the engine's disk is not seen":       {tiny, 0, nil, &elsewhere{dir: "/nosuch"}, ""},
		"an engine without a disk of its own": {tiny, 0, nil, nil, ""},
		"unreadable": {tiny, 1, map[string]string{"proc/meminfo": "MemTotal: 1 kB\n"}, nil,
			"has no MemAvailable"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &config.Config{DataDir: t.TempDir()}
			cfg.Builder.MinDisk, cfg.Builder.MinMemory = test.disk, test.memory
			system := t.TempDir()
			for file, text := range test.files {
				path := filepath.Join(system, file)
				testkit.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
				testkit.Must(t, os.WriteFile(path, []byte(text), 0o600))
			}
			f := builderd.NewCapacity(cfg, test.engine)
			f.SetRoot(system)
			err := f.Check(t.Context())
			if test.says == "" && err != nil || test.says != "" &&
				(err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
}
