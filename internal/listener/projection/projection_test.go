package projection_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/listener/projection"
	"github.com/rpmflow/rpmflow/internal/readmodel"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An operator has purged the newest events, or all of them: there is nothing to wait for.
func TestCaughtUpAfterAPurge(t *testing.T) {
	t.Parallel()
	_, js := eventstest.Connect(t, eventstest.Start(t, natsserver.Options{}), events.StreamSettings{})
	ledger := testkit.Value(events.NewLedger(t.Context(), js))(t)
	ids := make([]string, 2)
	var purged uint64
	for i := range ids {
		ids[i] = rpmflow.DeriveID("build", []string{"kept", "purged"}[i])
		purged = testkit.Value(ledger.Append(t.Context(), events.TypeQueued, rpmflow.Build{
			BuildRequest: rpmflow.BuildRequest{ID: ids[i], Project: "hello", Package: "hello",
				Target: "fedora-43-x86_64", Arch: "x86_64", QueuedAt: time.Now().UTC()},
			State: rpmflow.Queued,
		}, 0))(t)
	}
	stream := testkit.Value(js.Stream(t.Context(), events.StreamEvents))(t)
	testkit.Must(t, stream.DeleteMsg(t.Context(), purged))
	if builds := caughtUp(t, js); len(builds) != 1 || builds[0].ID != ids[0] {
		t.Errorf("the newest is purged: %+v", builds)
	}
	testkit.Must(t, stream.Purge(t.Context()))
	if builds := caughtUp(t, js); len(builds) != 0 {
		t.Errorf("all are purged: %+v", builds)
	}
}

// caughtUp returns the builds in the read model once it has caught up.
func caughtUp(t *testing.T, js jetstream.JetStream) []rpmflow.Build {
	t.Helper()
	p := testkit.Value(projection.Open(t.Context(), js, t.TempDir()))(t)
	ctx, cancel := context.WithCancel(t.Context())
	g := errgroup.Group{}
	g.Go(func() error { return p.Hub.Run(ctx) })
	g.Go(func() error { return p.Run(ctx) })
	testkit.Eventually(t, "a read model that has caught up", p.CaughtUp)
	builds, _, err := p.Model.List(t.Context(), readmodel.Query{Limit: 10})
	testkit.Must(t, err)
	cancel()
	_ = g.Wait() // that ctx has ended
	testkit.Must(t, p.Model.Close())
	return builds
}
