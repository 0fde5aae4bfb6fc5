package mock

import (
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
)

// A root that takes longer to make than max_age allows is good for the build that waited for it, and for no later one.
func TestHowOldARootMayBe(t *testing.T) {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for _, c := range []struct {
		name    string
		checked time.Time
		began   time.Time // zero: made ahead of builds
		good    bool
	}{
		{"compared lately", ago(30 * time.Second), ago(time.Second), true},
		{"compared long ago", ago(2 * time.Minute), ago(time.Second), false},
		{"compared since the build began", ago(5 * time.Minute).Truncate(time.Second), ago(5 * time.Minute), true},
		{"compared before the build began", ago(5 * time.Minute), ago(4 * time.Minute), false},
		{"ahead of builds", ago(2 * time.Minute), time.Time{}, false},
		{"a clock that was set back", ago(-2 * time.Minute), time.Time{}, false},
	} {
		b := rpmflow.Build{}
		if !c.began.IsZero() {
			b.StartedAt = &c.began
		}
		s := &session{e: &Engine{}, job: build.Job{Build: b, Target: rpmflow.Target{MaxAge: time.Minute}}}
		if got := s.rootRecipe(false).good(cached{time: c.checked}); got != c.good {
			t.Errorf("%s: good %v, want %v", c.name, got, c.good)
		}
	}
}
