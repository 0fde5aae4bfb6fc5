package mock

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
)

// watched runs the watcher until it stops the container, or for long enough to see that it does not.
func watched(t *testing.T, d *disk) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), measureLeast+2*time.Second)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	d.every = 10 * time.Millisecond
	d.watch(ctx, "c", stop)
	return context.Cause(ctx)
}

func TestDiskWatcher(t *testing.T) {
	const gib = 1 << 30
	fixed := func(n int64) func(context.Context, string) (int64, error) {
		return func(context.Context, string) (int64, error) { return n, nil }
	}
	room := func(free int64, known bool) func(context.Context) (space, bool) {
		return func(context.Context) (space, bool) { return space{free, 100 * gib}, known }
	}
	for name, test := range map[string]struct {
		disk *disk
		over bool // its own fault
		full bool // nobody's
	}{
		"within its limit":              {&disk{limit: gib, size: fixed(gib), free: room(50*gib, true)}, false, false},
		"over its limit":                {&disk{limit: gib, size: fixed(gib + 1), free: room(50*gib, true)}, true, false},
		"over, and elsewhere":           {&disk{limit: gib, size: fixed(gib + 1), free: room(0, false)}, true, false},
		"no limit":                      {&disk{size: fixed(99 * gib), free: room(50*gib, true)}, false, false},
		"the disk is full":              {&disk{limit: gib, size: fixed(1), free: room(gib/2-1, true)}, false, true},
		"the disk is full, without":     {&disk{size: fixed(1), free: room(gib/2-1, true)}, false, true},
		"the disk is full, by this one": {&disk{limit: gib, size: fixed(2 * gib), free: room(gib/2-1, true)}, true, false},
		"not measured": {&disk{limit: gib, free: room(50*gib, true),
			size: func(context.Context, string) (int64, error) { return 2 * gib, errors.New("no answer") }}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.disk.noQuota.Store(true)
			err := watched(t, test.disk)
			var over *overDisk
			if errors.As(err, &over) != test.over || errors.Is(err, errDiskFull) != test.full {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestOverDisk(t *testing.T) {
	err := &overDisk{limit: 64 << 30}
	var f *rpmflow.Failure
	if !errors.As(err.failure(rpmflow.PhaseRPMs), &f) || f.Kind != rpmflow.FailureBuild || f.Message != "the build filled the disk: more than 64 GiB" {
		t.Errorf("%+v", f)
	}
	if f = nil; errors.As(err.failure(rpmflow.PhaseRoot), &f) {
		t.Errorf("the root is no packager's: %v", f)
	}
}

// A driver with quotas is told the limit, and what has all but reached it is over it.
func TestQuota(t *testing.T) {
	d := &disk{limit: 1 << 30, size: func(context.Context, string) (int64, error) { return 1<<30 - 4096, nil }}
	if d.option()["size"] != "1073741824" || !d.over(t.Context(), "c") {
		t.Errorf("%v", d.option())
	}
	d.noQuota.Store(true)
	if d.option() != nil || d.over(t.Context(), "c") {
		t.Errorf("without quotas: %v", d.option())
	}
}

// TestResultsStayInTheirDirectory reads archives as a hostile container could give them.
func TestResultsStayInTheirDirectory(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "rpms")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(top, "outside")
	if err := os.WriteFile(outside, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "rpms/", Typeflag: tar.TypeDir, Mode: 0o777},
		{Name: "rpms/good.rpm"}, {Name: "rpms/../outside"}, {Name: "../outside"}, {Name: "/outside"}, {Name: outside}, {Name: "rpms/.."}, {Name: "rpms/."},
		{Name: "rpms/link.rpm", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "rpms/link.rpm"},
		{Name: "rpms/hard.rpm", Typeflag: tar.TypeLink, Linkname: outside}, {Name: "rpms/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		{Name: "rpms/pipe", Typeflag: tar.TypeFifo}, {Name: "rpms/deep/er.rpm"}, {Name: "rpms/setuid.rpm", Mode: 0o6777},
	} {
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, 6
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("theirs")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	all := func(_ string, size int64) (int64, error) { return size, nil }
	if err := readTar(&b, dir, all); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v %v", e.Name(), info.Mode(), err)
		}
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"good.rpm", "link.rpm", "outside", "rpms", "setuid.rpm"}) {
		t.Errorf("%q", names)
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "mine" {
		t.Errorf("outside: %q, %v", text, err)
	}
	if left, err := os.ReadDir(top); err != nil || len(left) != 2 {
		t.Errorf("%v %v", left, err)
	}
}

func FuzzReadTar(f *testing.F) {
	f.Add("rpms/../../x", byte(tar.TypeReg), "y")
	f.Fuzz(func(t *testing.T, name string, kind byte, content string) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if w.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Size: int64(len(content)), Linkname: "/etc/passwd"}) != nil {
			return
		}
		_, _ = w.Write([]byte(content))
		_ = w.Flush()
		top := t.TempDir()
		dir := filepath.Join(top, "d")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_ = readTar(&b, dir, func(_ string, size int64) (int64, error) { return size, nil })
		if left, err := os.ReadDir(top); err != nil || len(left) != 1 {
			t.Fatalf("%q: %v %v", name, left, err)
		}
	})
}

func TestInUnits(t *testing.T) {
	var got []string
	for _, n := range []int64{5, 1 << 10, 1536 << 10, 64 << 30, 1<<40 + 1} {
		got = append(got, inUnits(n))
	}
	if s := strings.Join(got, ", "); s != "5 bytes, 1 KiB, 1.5 MiB, 64 GiB, 1024 GiB" {
		t.Error(s)
	}
}
