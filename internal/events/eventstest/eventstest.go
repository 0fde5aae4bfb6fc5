// Package eventstest gives tests a real NATS server, and a connection to it with the streams. The options of a server
// come in; it ends with the test. Only tests import it.
package eventstest

import (
	"cmp"
	"log/slog"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Start runs an embedded server, if nothing else is said in a directory of its own, on a free port.
func Start(t testing.TB, o natsserver.Options) *natsserver.Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Listen, o.Logger = cmp.Or(o.Listen, "127.0.0.1:0"), slog.New(slog.DiscardHandler)
	s := testkit.Value(natsserver.Start(o))(t)
	t.Cleanup(s.Close)
	return s
}

// Connect connects to a server and makes the streams.
func Connect(t testing.TB, s *natsserver.Server, streams events.StreamSettings) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, js, err := events.Connect(t.Context(), events.Access{URL: s.URL(), Name: "test", Streams: streams},
		slog.New(slog.DiscardHandler))
	testkit.Must(t, err)
	t.Cleanup(nc.Close)
	return nc, js
}

// Serve runs a server with a configuration file, as operators do.
func Serve(t testing.TB, file string, change ...func(*server.Options)) *server.Server {
	t.Helper()
	o := testkit.Value(server.ProcessConfigFile(file))(t)
	o.NoSigs, o.NoLog = true, true
	for _, c := range change {
		c(o)
	}
	s := testkit.Value(server.NewServer(o))(t)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(testkit.Patience) {
		t.Fatal("the NATS server is not ready")
	}
	return s
}
