package listener_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Everybody may ask for ids that no build has: such a question costs few reads of EVENTS, though it is answered late.
func TestAnUnknownBuildIsReadFewTimes(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	reads := make(chan *nats.Msg, 1000)
	sub, err := w.nc.ChanSubscribe("$JS.API.STREAM.MSG.GET."+events.StreamEvents, reads)
	testkit.Must(w.t, err)
	testkit.Must(w.t, w.nc.Flush())
	d.get("/api/v1/builds/" + rpmflow.DeriveID("nosuch"))
	testkit.Must(w.t, w.nc.Flush())
	testkit.Must(w.t, sub.Unsubscribe())
	if n := len(reads); n == 0 || n > 3 {
		t.Errorf("%d reads", n)
	}
}

// The answer to a push has ids of builds that are not in EVENTS yet.
func TestABuildThatComesIsAwaited(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	for n, length := range []int{36, 8} {
		id := rpmflow.BuildID(rpmflow.PushID("hello", []string{"seed0", "seed1"}[n]), "hello", "fedora-42-x86_64")
		status, begun := make(chan int), time.Now()
		go func() { status <- d.get("/api/v1/builds/" + id[:length]).status }()
		time.Sleep(200 * time.Millisecond)
		w.build(n, rpmflow.Queued, nil)
		if got, took := <-status, time.Since(begun); got != http.StatusOK || took > 1400*time.Millisecond {
			t.Errorf("%s: %d after %s", id[:length], got, took)
		}
	}
}
