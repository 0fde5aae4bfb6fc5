package docs_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	eventschema "github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/ready"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/up"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// endless are the commands that never end by themselves, and when they have begun to do what they are for.
var endless = []struct {
	command string
	ready   func(*testing.T, *session, *running)
}{
	{"rpmflow up", func(t *testing.T, s *session, r *running) {
		r.await(t, "server", func(printed string) bool { return strings.Contains(printed, "rpmflow is up") })
		url := s.client(t).PublicURL.String()
		// other documents' port, and README's
		s.replace = append(s.replace, "http://127.0.0.1:8080", url, "http://127.0.0.1:8088", url)
	}},
	{"listener", func(t *testing.T, s *session, r *running) {
		url := s.client(t).PublicURL.String()
		r.await(t, "listener", func(string) bool { return ready.Ask(t.Context(), "listener", url) == nil })
	}},
	{"publisher", func(t *testing.T, _ *session, r *running) {
		r.await(t, "publisher", func(printed string) bool { return strings.Contains(printed, "signing key") })
	}},
	{"builder", func(t *testing.T, _ *session, r *running) {
		r.await(t, "builder", func(printed string) bool { return strings.Contains(printed, "waiting for builds") })
	}},
	{"rpmflow watch", func(t *testing.T, _ *session, r *running) {
		r.subscriber = true
		r.await(t, "subscription", func(printed string) bool {
			return strings.Contains(printed,
				"waiting for finished builds")
		})
	}},
}

// client is the configuration with which the command line would reach the system.
func (s *session) client(t *testing.T) *config.Config {
	t.Helper()
	file := filepath.Join(s.dir, ".rpmflow", up.ClientFile)
	if _, err := os.Stat(file); err != nil {
		file = filepath.Join(s.dir, "rpmflow.yaml")
	}
	cfg, err := config.Load(config.Source{File: file, Env: s.env, For: config.ForOperator})
	testkit.Must(t, err)
	return cfg
}

func (s *session) jetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	nc, js, err := events.Dial(connect.NATS(s.client(t), "docs"), quiet)
	testkit.Must(t, err)
	t.Cleanup(nc.Close)
	return js
}

// subscriber runs a program of a document.
func (s *session) subscriber(t *testing.T, b block, command ...string) {
	t.Helper()
	n := s.client(t).NATS
	u, err := url.Parse(n.URLs[0])
	testkit.Must(t, err)
	u.User = url.UserPassword(n.User, string(n.Password))
	s.env = append(s.env, "NATS_URL="+u.String())
	r := s.start(t, b, command[0], command[1:]...) // its consumer is there before it is, or it makes one
	r.subscriber, r.publications = true, strings.Contains(b.text, events.StreamPublished)
}

// finish has one more build made, which every subscriber of the document must get, and checks all that was
// published.
func (s *session) finish(t *testing.T) {
	t.Helper()
	s.script(t, block{file: "finish", text: "rpmflow submit hello --wait"})
	for _, r := range s.running {
		if r.subscriber {
			word := "succeeded"
			if r.publications {
				word = "repository.published"
			}
			r.await(t, "event", func(printed string) bool { return strings.Contains(printed, word) })
		}
	}
	js := s.jetStream(t)
	for _, name := range []string{events.StreamPushes, events.StreamEvents, events.StreamPublished} {
		stream, err := js.Stream(t.Context(), name)
		testkit.Must(t, err)
		var info *jetstream.StreamInfo
		testkit.Until(t, func() error { // the publisher comes after the build
			if info, err = stream.Info(t.Context()); err == nil && info.State.Msgs == 0 {
				err = fmt.Errorf("%s is empty", name)
			}
			return err
		})
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			msg, err := stream.GetMsg(t.Context(), seq)
			testkit.Must(t, err)
			if err := eventschema.Validate(msg.Data); err != nil {
				t.Errorf("%s: %v\n%s", msg.Subject, err, msg.Data)
			}
		}
	}
}

// everything is the environment of a system in one process, on ports that are free.
func (s *session) everything() {
	s.env = append(s.env, "RPMFLOW_LISTENER_LISTEN=127.0.0.1:0", "RPMFLOW_EMBEDDED_NATS_LISTEN=127.0.0.1:0",
		"RPMFLOW_EMBEDDED_S3_LISTEN=127.0.0.1:0")
}

func TestREADME(t *testing.T) {
	s := newSession(t)
	s.everything()
	pushed := false
	s.tell = func(b block, output string) {
		if strings.Contains(b.text, " push") && b.file == "README.md" {
			pushed = strings.Contains(output, ": queued as ") && strings.Contains(output, "/api/v1/builds/")
		}
	}
	if ran := s.play(t, "README.md"); ran < 4 {
		t.Errorf("only %d blocks were run", ran)
	}
	if !pushed {
		t.Error("the push was not answered with builds")
	}
	s.finish(t)
}

// TestEventsDocument has the system of the README running, as its reader has.
func TestEventsDocument(t *testing.T) {
	s := newSession(t)
	s.everything()
	s.replace = append(s.replace, "./hello.git", filepath.Join(s.dir, "srv", "git", "hello.git"))
	for _, b := range blocks(t, "README.md") {
		if b.info == "yaml" {
			testkit.Must(t, os.WriteFile(filepath.Join(s.dir, "rpmflow.yaml"), []byte(s.text(b)), 0o600))
		}
	}
	testkit.Must(t, os.WriteFile(filepath.Join(s.dir, "hello.secret"), []byte("secret\n"), 0o600))
	s.block(t, block{file: "README.md", text: "rpmflow up"})
	s.play(t, "docs/events.md")
	s.finish(t)
}

// TestOperationsDocument gives the programs a NATS and an S3 of their own, where the document has its examples'
// addresses.
func TestOperationsDocument(t *testing.T) {
	s := newSession(t)
	server := eventstest.Start(t, natsserver.Options{User: "rpmflow", Password: "nats-secret"})
	s3, err := gateway.Start(t.Context(), gateway.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", AccessKey: "rpmflow",
		SecretKey: "s3-secret", Logger: quiet})
	testkit.Must(t, err)
	t.Cleanup(func() {
		if err := s3.Close(); err != nil {
			t.Error(err)
		}
	})
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	free := socket.Addr().String()
	testkit.Must(t, socket.Close())
	for name, secret := range map[string]string{"nats.password": "nats-secret", "s3.secret": "s3-secret"} {
		testkit.Must(t, os.WriteFile(filepath.Join(s.dir, name), fmt.Appendln(nil, secret), 0o600))
	}
	s.replace = append(s.replace, "nats://nats.example.com:4222", server.URL(), "https://s3.example.com", s3.Endpoint(),
		"127.0.0.1:8080", free)
	if ran := s.play(t, "docs/operations.md"); ran < 4 {
		t.Errorf("only %d blocks were run", ran)
	}
	s.finish(t)
}

// TestOtherDocuments runs the commands of all documents that need no running system.
func TestOtherDocuments(t *testing.T) {
	for _, file := range documents(t) {
		switch file {
		case "README.md", "docs/events.md", "docs/operations.md":
			continue
		}
		t.Run(file, func(t *testing.T) {
			newSession(t).play(t, file)
		})
	}
}
