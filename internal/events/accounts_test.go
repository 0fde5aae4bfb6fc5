package events_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
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
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return serveFile(t, file, func(*server.Options) {})
}

func serveFile(t testing.TB, file string, change func(*server.Options)) *server.Server {
	t.Helper()
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	change(o)
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s
}

func node(t testing.TB) string {
	return fmt.Sprintf("listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q }\n", t.TempDir())
}

// logText is a log that a test can read and wait for.
type logText struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed with the next line; nil: no test waits
}

func (j *logText) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
	return j.text.Write(p)
}

// next is the log so far, and a channel that is closed with its next line.
func (j *logText) next() (string, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return j.text.String(), j.changed
}

func (j *logText) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *logText) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// until waits until the log says something.
func (j *logText) until(t testing.TB, words string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		text, changed := j.next()
		if strings.Contains(text, words) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the log does not say %q:\n%s", words, text)
		}
	}
}

// as logs in; in the end nothing may have been refused.
func as(t testing.TB, s *server.Server, user string, streams events.StreamSettings) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	var log logText
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
	nc, js, err := open(a, log.logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = nc.Flush()
		nc.Close()
		if strings.Contains(log.String(), "may not") {
			t.Errorf("%s: %s", user, &log)
		}
	})
	return nc, js
}
