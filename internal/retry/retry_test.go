package retry_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rpmflow/rpmflow/internal/retry"
)

var errAway = errors.New("away")

// failing fails so many times.
func failing(times int, err error) (once func() error, calls *int) {
	calls = new(int)
	return func() error {
		if *calls++; *calls <= times {
			return err
		}
		return nil
	}, calls
}

func TestDoUntilSuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var pauses []time.Duration
		p := retry.Policy{First: time.Second, Most: 4 * time.Second, Notify: func(err error, pause time.Duration) {
			if !errors.Is(err, errAway) {
				t.Errorf("reported %v", err)
			}
			pauses = append(pauses, pause)
		}}
		once, calls := failing(6, errAway)
		begun := time.Now()
		if err := p.Do(t.Context(), once); err != nil || *calls != 7 || len(pauses) != 6 {
			t.Fatalf("%d calls, %d pauses, %v", *calls, len(pauses), err)
		}
		var sum time.Duration
		for i, seconds := range []int{1, 2, 4, 4, 4, 4} {
			want := time.Duration(seconds) * time.Second
			if pauses[i] < want/2 || pauses[i] > want*3/2+1 {
				t.Errorf("pause %d is %s, want about %s", i, pauses[i], want)
			}
			sum += pauses[i]
		}
		if time.Since(begun) != sum {
			t.Errorf("took %s, want %s", time.Since(begun), sum)
		}
	})
}

func TestDoGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		once, calls := failing(10, errAway)
		if err := (retry.Policy{Tries: 3}).Do(t.Context(), once); err != errAway || *calls != 3 {
			t.Errorf("tries: %d, %v", *calls, err)
		}
		once, calls = failing(10, retry.Permanent(errAway))
		if err := (retry.Policy{}).Do(t.Context(), once); err != errAway || *calls != 1 {
			t.Errorf("permanent: %d, %v", *calls, err)
		}
		once, _ = failing(10, fmt.Errorf("once: %w", retry.Permanent(errAway)))
		if err := (retry.Policy{}).Do(t.Context(), once); !errors.Is(err, errAway) || err.Error() != "once: away" {
			t.Errorf("wrapped permanent: %v", err)
		}
		once, _ = failing(1000, errAway)
		begun := time.Now()
		if err := (retry.Policy{Limit: time.Minute}).Do(t.Context(), once); err != errAway ||
			time.Since(begun) > time.Minute {
			t.Errorf("limit: %s, %v", time.Since(begun), err)
		}
		once, _ = failing(1<<20, errAway) // half an hour is not a limit of the library's
		ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Minute, errors.New("enough"))
		defer cancel()
		begun = time.Now()
		err := (retry.Policy{}).Do(ctx, once)
		if !errors.Is(err, errAway) || !errors.Is(err, context.Cause(ctx)) || time.Since(begun) != 30*time.Minute {
			t.Errorf("context: %s, %v", time.Since(begun), err)
		}
	})
}

func TestDoWithProgressAndAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		once, calls := failing(10, retry.Progress(errAway))
		begun := time.Now()
		if err := (retry.Policy{Tries: 2}).Do(t.Context(), once); err != nil || *calls != 11 ||
			time.Since(begun) > 4*time.Second {
			t.Errorf("progress: %d in %s, %v", *calls, time.Since(begun), err)
		}
		once, _ = failing(1, retry.After(errAway, 7*time.Second))
		begun = time.Now()
		if err := (retry.Policy{}).Do(t.Context(), once); err != nil || time.Since(begun) != 7*time.Second {
			t.Errorf("after: %s, %v", time.Since(begun), err)
		}
		once, _ = failing(1, retry.After(errAway, time.Second))
		if err := (retry.Policy{Tries: 1}).Do(t.Context(), once); !errors.Is(err, errAway) || err.Error() != "away" {
			t.Errorf("after: %v", err)
		}
	})
}

func TestPauseAndSleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := retry.Policy{First: 10 * time.Second, Most: time.Minute}
		for failures, want := range map[int]time.Duration{0: 0, 1: 10 * time.Second, 3: 40 * time.Second,
			100: time.Minute} {
			if got := p.Pause(failures); got < want/2 || got > want*3/2+1 {
				t.Errorf("after %d failures: %s, want about %s", failures, got, want)
			}
		}
		begun := time.Now()
		if !retry.Sleep(t.Context(), time.Second) || time.Since(begun) != time.Second {
			t.Errorf("slept %s", time.Since(begun))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if retry.Sleep(ctx, time.Hour) {
			t.Error("slept beyond the context's end")
		}
	})
}
