package compose_test

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// TestCluster loses one of three NATS nodes, and builds on.
func TestCluster(t *testing.T) {
	t.Parallel() // most of it is waiting
	needCompose(t)
	needImages(t)
	address := system.Bridge(t)
	r := serveRepository(t, address)
	h := newHost(t)
	h.init(t, nil, "cluster")
	h.own(t, address)
	h.configure(t, r)
	r.announce(t, h)
	h.compose(t, "up", "--detach")
	h.healthy(t, 7)
	s := h.subscribe(t)
	s.finished(t, r.push(t, 0))

	nc, js, err := events.Dial(events.Access{URL: "nats://" + h.get(t, "NATS_PORT"), User: "admin",
		Password: h.get(t, "NATS_ADMIN_PASSWORD"), Name: "test"}, slog.New(slog.DiscardHandler))
	testkit.Must(t, err)
	defer nc.Close()
	for _, name := range []string{events.StreamPushes, events.StreamBuilds, events.StreamEvents} {
		stream, err := js.Stream(t.Context(), name)
		testkit.Must(t, err)
		if n := stream.CachedInfo().Config.Replicas; n != 3 {
			t.Errorf("%s has %d replicas", name, n)
		}
	}

	docker(t, "kill", h.containers(t, "nats-3")[0].ID)
	s.finished(t, r.push(t, 0))
	h.compose(t, "up", "--detach")
	h.healthy(t, 7)

	// The node that was away has caught up when every copy of EVENTS is current.
	testkit.UntilWithin(t, patience, func() error {
		stream, err := js.Stream(t.Context(), events.StreamEvents)
		if err != nil {
			return err
		}
		for _, peer := range stream.CachedInfo().Cluster.Replicas {
			if !peer.Current {
				return fmt.Errorf("the copy of %s is not current", peer.Name)
			}
		}
		return nil
	})
}
