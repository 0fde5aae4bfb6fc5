package events_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Of many that ask for a lease one has it at a time, and each gets it when the one before gives it back.
func TestLease(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords().Config())
	as(t, s, "listener", events.StreamSettings{})
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		_, js := as(t, s, "publisher", events.StreamSettings{})
		all.Go(func() {
			leased, release, err := events.NewPublications(js).Lease(t.Context(), "hello", "x", "test")
			if err != nil {
				t.Error(err)
				return
			}
			if !mu.TryLock() {
				t.Error("two have the lease")
				return
			}
			if leased.Err() != nil {
				t.Errorf("it is over at once: %v", context.Cause(leased))
			}
			mu.Unlock()
			release()
			if leased.Err() == nil {
				t.Error("it was given back and goes on")
			}
		})
	}
	all.Wait()
}

// A holder that cannot renew its lease must stop before another can have it.
func TestLeaseThatCannotBeRenewed(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords().Config())
	as(t, s, "listener", events.StreamSettings{})
	nc, js := as(t, s, "publisher", events.StreamSettings{})
	leased, release, err := events.NewPublications(js).Lease(t.Context(), "hello", "x", "first")
	testkit.Must(t, err)
	defer release()
	nc.Close()
	_, other := as(t, s, "publisher", events.StreamSettings{})
	begun := time.Now()
	_, releaseOther, err := events.NewPublications(other).Lease(t.Context(), "hello", "x", "second")
	testkit.Must(t, err)
	defer releaseOther()
	if leased.Err() == nil {
		t.Error("two have the lease")
	}
	t.Logf("the second has it after %s", time.Since(begun))
}
