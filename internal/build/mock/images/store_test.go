package images

import (
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
)

func TestDead(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for name, c := range map[string]struct {
		attempt        string
		created, ended time.Time // zero: never
		running, dead  bool
	}{
		"of a build, running for long": {attempt: "1", created: ago(24 * time.Hour), running: true},
		"of a build, just ended":       {attempt: "1", created: ago(time.Hour), ended: ago(deadEnded * 2)},
		"of a build, ended long ago": {attempt: "1", created: ago(time.Hour), ended: ago(deadOfBuild * 2),
			dead: true},
		"of no build, running":                   {created: ago(compareWait), running: true},
		"of no build, running for too long":      {created: ago(deadRunning * 2), running: true, dead: true},
		"of no build, just ended":                {created: ago(time.Hour), ended: ago(deadEnded / 2)},
		"of no build, ended some time ago":       {created: ago(time.Hour), ended: ago(deadEnded * 2), dead: true},
		"of no build, never started":             {created: ago(deadEnded / 2)},
		"of no build, never started, older":      {created: ago(deadEnded * 2), dead: true},
		"of a build, never started, made before": {attempt: "1", created: ago(deadEnded * 2)},
	} {
		info := docker.ContainerInfo{
			Labels: map[string]string{LabelAttempt: c.attempt}, Running: c.running, Created: c.created, Ended: c.ended,
		}
		if got := dead(info); got != c.dead {
			t.Errorf("%s: dead %t", name, got)
		}
	}
}
