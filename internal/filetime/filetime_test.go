package filetime

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSet(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for given, want := range map[int64]int64{0: 0, -1: 0, 1_700_000_000: 1_700_000_000, 1 << 33: 1 << 33, 1<<33 + 1: 0,
		1 << 62: 0} {
		if err := Set(name, time.Unix(given, 0)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil || info.ModTime().Unix() != want {
			t.Errorf("%d: got %v, %v", given, info.ModTime(), err)
		}
	}
}
