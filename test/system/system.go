// Package system runs the whole system for tests, as its users see it: `rpmflow up` in the test's process, git
// repositories that push to it, and looks at what became of a push.
//
// NATS, S3, git, Docker and rpm are the real ones; mock is the stand-in image, or real mock when MOCK_IMAGE,
// MOCK_CONFIGDIR and MOCK_TARGET say so. Tests below test/ import it, whose main function must call lifeline.Main.
package system

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/retry"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/up"
)

// Patience bounds a whole build, and every wait for a real engine: real mock fills its root from a repository each
// time, and a machine may have much else to do. What is waited for is looked at all the time, so that nothing takes
// longer for it.
const Patience = 10 * time.Minute

// System is a running `rpmflow up`, in this process.
type System struct {
	Config *config.Config
	Dir    string
	JS     jetstream.JetStream
	Log    *testkit.Log
	Target string
	seen   chan events.Event // finished events, as a durable subscriber gets them
}

// Start runs everything with these projects; engine is mock or rpmbuild.
func Start(t testing.TB, engine string, projects ...string) *System {
	t.Helper()
	return StartWith(t, engine, "", projects...)
}

// StartWith does so with more settings of the builder, as YAML.
func StartWith(t testing.TB, engine, builder string, projects ...string) *System {
	t.Helper()
	NeedRPM(t)
	s := &System{Dir: t.TempDir(), Log: &testkit.Log{}, Target: "host", seen: make(chan events.Event, 64)}
	targets := "- name: host\n"
	if engine == "mock" {
		s.Target, targets = MockTarget(t)
	}
	yaml := fmt.Sprintf("data_dir: %s/data\nlistener:\n  listen: 127.0.0.1:0\nembedded:\n  nats_listen: "+
		"127.0.0.1:0\n  "+
		"s3_listen: 127.0.0.1:0\nbuilder:\n  engine: %s\n  jobs: 2\n  retry_delay: 1s\n  poll: "+
		"500ms\n%stargets:\n%sprojects:\n%s",
		s.Dir, engine, builder, targets, strings.Join(projects, ""))
	file := filepath.Join(s.Dir, "rpmflow.yaml")
	testkit.Write(t, file, yaml)
	cfg, err := config.Load(config.Source{File: file, For: config.ForOperator})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan *config.Config, 1), make(chan error, 1)
	logger := slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	forget := func() {}
	t.Cleanup(func() { forget() }) // when nothing runs any more
	go func() {
		p := up.Program{Config: cfg, Version: "e2e", Log: logger, Ready: func(c *config.Config) { ready <- c }}
		done <- p.Run(ctx, ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("up ended with: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("up has not ended a minute after the signal")
		}
		if t.Failed() {
			t.Logf("log of the system:\n%s", s.Log.String())
		}
	})
	select {
	case s.Config = <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("up did not start: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("up is not ready after a minute")
	}
	s.subscribe(t)
	if engine == "mock" {
		forget = forgetting(t, s.JS, s.Config.Builder.Docker.Host)
	}
	return s
}

// subscribe begins a durable subscription and checks every event of EVENTS against the schema.
func (s *System) subscribe(t testing.TB) {
	t.Helper()
	nc, js, err := events.Dial(connect.NATS(s.Config, "e2e"), Quiet())
	if err != nil {
		t.Fatal(err)
	}
	s.JS = js
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	t.Cleanup(func() { cancel(); wait.Wait(); nc.Close() })
	wait.Go(func() {
		err := events.Finished(ctx, js, events.Subscription{Durable: "e2e"}, Quiet(),
			func(e events.Event) error { s.seen <- e; return nil })
		if err != nil && ctx.Err() == nil {
			t.Errorf("subscriber: %v", err)
		}
	})
	wait.Go(func() {
		after := uint64(0)
		_ = retry.Policy{}.Do(ctx, func() error { // again when NATS was away
			return events.Replay(ctx, js, after, func() {}, func(e events.Event) error {
				if err := eventschema.Validate(e.Raw); err != nil {
					t.Errorf("%s event of build %s is not as its schema says: %v\n%s", e.Type, e.Build.ID, err, e.Raw)
				}
				after = e.Sequence
				return nil
			})
		})
	})
	testkit.Eventually(t, "the durable subscription", func() bool {
		_, err := js.Consumer(ctx, events.StreamEvents, "watch-e2e")
		return err == nil
	})
}

// Finished waits for the next finished event.
func (s *System) Finished(t testing.TB) events.Event {
	t.Helper()
	return s.FinishedWithin(t, Patience)
}

// FinishedWithin waits no longer than that.
func (s *System) FinishedWithin(t testing.TB, limit time.Duration) events.Event {
	t.Helper()
	select {
	case e := <-s.seen:
		return e
	case <-time.After(limit):
		t.Fatalf("no finished event after %s", limit)
		return events.Event{}
	}
}

// URL returns the listener's address of a path.
func (s *System) URL(path string) string { return s.Config.PublicURL.String() + path }

// Quiet is a logger that discards everything.
func Quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// FreePort finds a free port for what starts later. It is below those that the kernel gives to connections and to who
// asks for any: tests that run at the same time do not take it meanwhile.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err == nil {
			l.Close()
			return l.Addr().(*net.TCPAddr).Port
		}
	}
	t.Fatal("no free port")
	return 0
}
