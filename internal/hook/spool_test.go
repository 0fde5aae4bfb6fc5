package hook

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// No number is used twice, also while rejected pushes come back.
func TestTakeBackWaitsForAdding(t *testing.T) {
	t.Parallel()
	s := openSpool(t.TempDir())
	mode, err := s.prepare()
	testkit.Must(t, err)
	testkit.Must(t, s.write(filepath.Join(s.rejected(), "000000000007.json"), []byte("{}"), mode))
	unlock, err := s.lock(t.Context(), "lock", mode, addWait)
	testkit.Must(t, err)
	done := make(chan error, 1)
	go func() { done <- s.takeBack(t.Context()) }()
	select {
	case err := <-done:
		t.Errorf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(s.waiting(), "000000000007.json")); err != nil {
		t.Error(err)
	}
}

func TestArgument(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"refs/heads/main": "refs/heads/main", "/srv/git/my hello.git": "'/srv/git/my hello.git'",
		"refs/heads/it's": `'refs/heads/it'\''s'`, "refs/heads/$(x)": "'refs/heads/$(x)'", "": "''",
	} {
		if got := argument(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}
