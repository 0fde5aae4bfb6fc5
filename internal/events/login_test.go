package events_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestLoginByNKey(t *testing.T) {
	t.Parallel()
	seeds := map[string]string{}
	accounts := events.Accounts{Subscribers: []string{"mirror"}, Login: func(user string) string {
		pair := testkit.Value(nkeys.CreateUser())(t)
		seeds[user] = string(testkit.Value(pair.Seed())(t))
		return "nkey: " + testkit.Value(pair.PublicKey())(t)
	}}
	s := serve(t, node(t)+accounts.Config())
	var log testkit.Log
	nc, _, err := events.Connect(t.Context(), events.Access{URL: s.ClientURL(), NKey: seeds["listener"],
		Role: rpmflow.RoleListener}, log.Logger())
	testkit.Must(t, err)
	nc.Close()
	nc, js, err := events.Attach(t.Context(), events.Access{URL: s.ClientURL(), NKey: seeds["builder"],
		Role: rpmflow.RoleBuilder}, log.Logger())
	testkit.Must(t, err)
	defer nc.Close()
	testkit.Value(testkit.Value(events.NewLedger(t.Context(), js))(t).Append(t.Context(), events.TypeQueued,
		build("hello", "p"), 0))(t)
	if strings.Contains(log.String(), "level=ERROR") {
		t.Error(&log)
	}
	account := string(testkit.Value(testkit.Value(nkeys.CreateAccount())(t).Seed())(t))
	for seed, words := range map[string]string{
		string(testkit.Value(testkit.Value(nkeys.CreateUser())(t).Seed())(t)): "check nats.nkey",
		account:    "not the key of a user",
		"SUBROKEN": "nats.nkey: ",
	} {
		if _, _, err := events.Dial(events.Access{URL: s.ClientURL(), NKey: seed}, quiet); err == nil ||
			!strings.Contains(err.Error(), words) || strings.Contains(err.Error(), seed) {
			t.Errorf("%v, without %q", err, words)
		}
	}
}

func TestWrongLoginIsReported(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords().Config())
	for words, a := range map[string]events.Access{
		"check nats.user (builder) and nats.password": {User: "builder", Password: "wrong"},
		"set nats.user and nats.password":             {},
		"check nats.token":                            {Token: "wrong"},
	} {
		a.URL = s.ClientURL()
		if _, _, err := events.Dial(a, quiet); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, without %q", err, words)
		}
	}
}

// A password that is changed while a program runs is reported, and what was to be published follows after the login.
func TestPasswordIsChanged(t *testing.T) {
	t.Parallel()
	config, file := node(t)+withPasswords().Config(), filepath.Join(t.TempDir(), "nats.conf")
	write := func(config string) {
		testkit.Must(t, os.WriteFile(file, []byte(config), 0o600))
	}
	write(config)
	s := eventstest.Serve(t, file)
	config = strings.Replace(config, "127.0.0.1:-1", s.Addr().String(), 1)
	_, ljs := as(t, s, "listener", events.StreamSettings{})
	var log testkit.Log
	nc, js, err := events.Attach(t.Context(), events.Access{URL: s.ClientURL(), User: "builder", Password: password},
		log.Logger())
	testkit.Must(t, err)
	defer nc.Close()
	ledger := testkit.Value(events.NewLedger(t.Context(), js))(t)
	reload := func(config string) {
		write(config)
		testkit.Must(t, s.Reload())
	}
	login := fmt.Sprintf("user: %q, password: %q", "builder", password)
	reload(strings.Replace(config, login, `user: "builder", password: "another"`, 1))
	log.Until(t, `level=ERROR msg="NATS refuses the login, trying again: `+
		`check nats.user (builder) and nats.password" user=builder`)
	done := make(chan error, 1)
	go func() {
		_, err := ledger.Append(t.Context(), events.TypeQueued, build("hello", "p"), 0)
		done <- err
	}()
	testkit.Eventually(t, "it does not try again", func() bool { return nc.Stats().OutMsgs > 0 && nc.IsReconnecting() })
	reload(config)
	testkit.Must(t, testkit.Receive(t, "the publish", done))
	if n := strings.Count(log.String(), "NATS refuses the login"); n != 1 {
		t.Errorf("reported %d times within a minute", n)
	}
	if got := testkit.Value(ljs.Stream(t.Context(), events.StreamEvents))(t).CachedInfo().State.Msgs; got != 1 {
		t.Errorf("%d events", got)
	}
}

// Builders wait for a listener, in any order in which they and the server start.
func TestAttachWaitsForTheStreams(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords().Config())
	var log testkit.Log
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		nc, _, err := events.Attach(ctx, events.Access{URL: s.ClientURL(), User: "builder", Password: password},
			log.Logger())
		if err == nil {
			nc.Close()
		}
		done <- err
	}()
	log.Until(t, "waiting for a listener to make them")
	as(t, s, "listener", events.StreamSettings{})
	testkit.Must(t, <-done)
	if strings.Contains(log.String(), "level=ERROR") {
		t.Error(&log)
	}
}

func TestReplicasNeedACluster(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords().Config())
	as(t, s, "listener", events.StreamSettings{})
	_, js := as(t, s, "admin", events.StreamSettings{})
	fresh := serve(t, node(t)+withPasswords().Config())
	_, other := as(t, fresh, "admin", events.StreamSettings{})
	for what, js := range map[string]jetstream.JetStream{"update": js, "create": other} {
		err := events.EnsureStreams(t.Context(), js, events.StreamSettings{Replicas: 3})
		if err == nil || !strings.Contains(err.Error(),
			"nats.replicas is 3, but this NATS server is in no cluster: set nats.replicas to 1, or run a cluster of "+
				"3") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
