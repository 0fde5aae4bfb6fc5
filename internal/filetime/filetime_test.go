package filetime

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestSet(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a")
	testkit.Must(t, os.WriteFile(name, nil, 0o600))
	for given, want := range map[int64]int64{0: 0, -1: 0, 1_700_000_000: 1_700_000_000, 1 << 33: 1 << 33, 1<<33 + 1: 0,
		1 << 62: 0} {
		testkit.Must(t, Set(name, time.Unix(given, 0)))
		info, err := os.Stat(name)
		if err != nil || info.ModTime().Unix() != want {
			t.Errorf("%d: got %v, %v", given, info.ModTime(), err)
		}
	}
}
