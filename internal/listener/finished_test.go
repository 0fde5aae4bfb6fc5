package listener_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hub"
	"github.com/rpmflow/rpmflow/internal/listener"
)

var errAway = errors.New("NATS is away")

// A follower has missed the build's end, and the record that has it cannot be read at first.
func TestAMissedEndIsReadFromTheRecord(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		failures int
		want     error
	}{
		"at once": {0, nil}, "at the third try": {2, nil}, "never": {1 << 20, errAway},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				end := events.Event{Sequence: 1}
				end.Build.ID, end.Build.State = "a", rpmflow.Finished
				h := hub.New(func(_ context.Context, _ uint64, _ func(), handle func(events.Event) error) error {
					return errors.Join(handle(end), handle(events.Event{Sequence: 2}),
						handle(events.Event{Sequence: 3}))
				}, 0, 1, 1<<20)
				changes := h.Now()
				if err := h.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				lastOf := func(context.Context, string) (events.Event, error) {
					if test.failures--; test.failures >= 0 {
						return events.Event{}, errAway
					}
					return end, nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if err := listener.UntilFinished(ctx, h, changes, lastOf, "a"); !errors.Is(err, test.want) {
					t.Errorf("%v, want %v", err, test.want)
				}
			})
		})
	}
}
