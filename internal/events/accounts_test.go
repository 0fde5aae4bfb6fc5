package events_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// password is everybody's in the tests.
const password = "correct horse"

// withPasswords is a server with the accounts, as `rpmflow config nats` makes them.
func withPasswords(subscribers ...string) events.Accounts {
	return events.Accounts{Subscribers: subscribers,
		Login: func(user string) string { return fmt.Sprintf("user: %q, password: %q", user, password) }}
}

// serve runs a NATS server with a configuration file.
func serve(t testing.TB, config string) *server.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	testkit.Must(t, os.WriteFile(file, []byte(config), 0o600))
	return eventstest.Serve(t, file)
}

func node(t testing.TB) string {
	return fmt.Sprintf("listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q }\n", t.TempDir())
}

// as logs in; in the end nothing may have been refused.
func as(t testing.TB, s *server.Server, user string, streams events.StreamSettings) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	var log testkit.Log
	a := events.Access{URL: s.ClientURL(), User: user, Password: password, Name: user, Streams: streams}
	open := events.Dial
	if user == string(rpmflow.RoleListener) {
		open = func(a events.Access, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
			return events.Connect(t.Context(), a, log)
		}
	}
	if user == string(rpmflow.RoleBuilder) {
		open = func(a events.Access, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
			return events.Attach(t.Context(), a, log)
		}
	}
	nc, js, err := open(a, log.Logger())
	testkit.Must(t, err)
	t.Cleanup(func() {
		_ = nc.Flush()
		nc.Close()
		if strings.Contains(log.String(), "may not") {
			t.Errorf("%s: %s", user, &log)
		}
	})
	return nc, js
}
