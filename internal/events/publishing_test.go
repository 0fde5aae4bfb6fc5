package events_test

import (
	"slices"
	"strings"
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
			if _, _, err := events.NewPublications(js).Last(leased, "hello", "x"); err != nil { // takes its time
				t.Errorf("it is over at once: %v", err)
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

// A publication of more packages than a message may name is announced without their names.
func TestTruncatedPublication(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords().Config())
	as(t, s, "listener", events.StreamSettings{})
	_, js := as(t, s, "publisher", events.StreamSettings{})
	p := events.NewPublications(js)
	none := []events.PublishedPackage{}
	many := slices.Repeat([]events.PublishedPackage{
		{NEVRA: "hello-1-1.x86_64", Build: strings.Repeat("b", 36), SHA256: strings.Repeat("0", 64)},
	}, 100_000)
	pub := events.Publication{Project: "hello", Target: "x", Published: time.Now()}
	pub.Repositories = []events.PublishedRepository{
		{URL: "http://x/1", Revision: 1, Added: many, Removed: none},
		{Kind: "source", URL: "http://x/2", Revision: 1, Added: none, Removed: none},
	}
	testkit.Must(t, p.Add(t.Context(), pub, 0))
	last, seq, err := p.Last(t.Context(), "hello", "x")
	testkit.Must(t, err)
	if r := last.Repositories; seq == 0 || len(r) != 2 || len(r[0].Added) != 0 || !r[0].Truncated || r[1].Truncated {
		t.Errorf("stored as %d: %+v", seq, r)
	}
	if len(pub.Repositories[0].Added) == 0 {
		t.Error("the caller's is changed")
	}
}
