package dispatch_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/listener/dispatch"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// A listener dies between the storing of a push and its dispatch: the next one queues what was not queued, also what
// was canceled meanwhile, and nothing that a builder has claimed.
func TestStoredPushIsDispatched(t *testing.T) {
	t.Parallel()
	nc, js := eventstest.Connect(t, eventstest.Start(t, natsserver.Options{}), events.StreamSettings{})
	d := &dispatch.Dispatcher{
		Pushes: testkit.Value(events.NewPushes(t.Context(), js))(t),
		Ledger: testkit.Value(events.NewLedger(t.Context(), js))(t),
		Queue:  testkit.Value(events.NewQueue(t.Context(), nc, js, time.Minute))(t), Logger: quiet,
	}
	push := rpmflow.Push{
		ID: rpmflow.PushID("hello", "d1"), Project: "hello", Ref: "refs/heads/main",
		Commit: "2222222222222222222222222222222222222222", Delivery: "d1", Forge: "generic",
		Received: time.Now().UTC(),
	}
	for _, target := range []string{"claimed", "canceled", "queued", "new"} {
		push.Builds = append(push.Builds, rpmflow.Build{
			BuildRequest: rpmflow.BuildRequest{
				ID: rpmflow.BuildID(push.ID, "hello", target), Push: push.ID, Project: "hello", Package: "hello",
				Target: target, Arch: "x86_64", Repository: "https://forge.example/hello", Ref: push.Ref,
				Commit: push.Commit, Layout: rpmflow.LayoutAuto, TimeoutSeconds: 60, Concurrency: 1,
				QueuedAt: push.Received,
			},
			State: rpmflow.Queued,
		})
	}
	last := make([]uint64, 3)
	for i := range last {
		last[i] = testkit.Value(d.Ledger.Append(t.Context(), events.TypeQueued, push.Builds[i], 0))(t)
	}
	claimed, canceled := push.Builds[0], push.Builds[1]
	claimed.State, claimed.Attempt, claimed.Builder = rpmflow.Running, 1, "a"
	testkit.Value(d.Ledger.Append(t.Context(), events.TypeStarted, claimed, last[0], "a"))(t)
	canceled.Cancel = &rpmflow.Cancel{By: "ann", At: time.Now().UTC()}
	canceled = canceled.Canceled(time.Now())
	testkit.Value(d.Ledger.Append(t.Context(), events.TypeFinished, canceled, last[1], "b"))(t)
	_, _, err := d.Pushes.Receive(t.Context(), push)
	testkit.Must(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = d.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	stream := testkit.Value(js.Stream(t.Context(), events.StreamBuilds))(t)
	testkit.Eventually(t, "three messages", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs >= 3
	})
	for i, want := range push.Builds[1:] {
		msg := testkit.Value(stream.GetMsg(t.Context(), uint64(i)+1))(t)
		var b rpmflow.Build
		testkit.Must(t, json.Unmarshal(msg.Data, &b))
		if b.ID != want.ID {
			t.Errorf("message %d is of %s, want %s", i, b.Target, want.Target)
		}
	}
	if newest := testkit.Value(d.Ledger.Last(t.Context(), push.Builds[3]))(t); newest.Type != events.TypeQueued {
		t.Errorf("the last event of the new build is %s", newest.Type)
	}
}
