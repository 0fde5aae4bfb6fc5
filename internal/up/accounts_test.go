package up_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow/internal/builderd"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/listenerd"
	"github.com/rpmflow/rpmflow/internal/ready"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// A push becomes an outcome that a subscriber gets, with each program under the user that the deployed accounts give
// it; the builder is there before the listener.
func TestUnderTheDeployedAccounts(t *testing.T) { //nolint:paralleltest // sets the environment
	needRPMBuild(t)
	for _, role := range []string{"LISTENER", "BUILDER", "PUBLISHER", "ADMIN", "SUBSCRIBER"} {
		t.Setenv("NATS_"+role+"_PASSWORD", `"secret-of-`+strings.ToLower(role)+`"`)
	}
	o, err := server.ProcessConfigFile("../../deploy/compose/nats/nats.conf")
	testkit.Must(t, err)
	o.Host, o.Port, o.HTTPPort, o.StoreDir, o.NoSigs, o.NoLog = "127.0.0.1", -1, -1, t.TempDir(), true, true
	s, err := server.NewServer(o)
	testkit.Must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("NATS is not ready")
	}

	s3, repo := storagetest.Start(t), gittest.New(t)
	repo.Commit(map[string]string{"hello.spec": "Name: hello\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\n" +
		"BuildArch: noarch\n\n%description\nx\n\n%files\n"})
	configure := func(role string) *config.Config {
		return load(t, t.TempDir(), fmt.Sprintf("nats: {url: %q, user: %s, password: secret-of-%s}\n"+
			"s3: {endpoint: %q, access_key: %q, secret_key: %q, bucket: %q}\n"+
			"targets: [{name: host, arch: x86_64}]\nprojects: [{name: hello, url: %q}]\n",
			s.ClientURL(), role, role, s3.Endpoint, s3.AccessKey, s3.SecretKey, s3.Bucket, repo.Dir))
	}
	var log testkit.Log
	b, l := configure("builder"), configure("listener")
	b.Builder.Archs, l.Listener.Subscribers = []string{"x86_64"}, []string{"subscriber"}
	testkit.Run(t, "the builder", func(ctx context.Context) error {
		return (&builderd.Program{Config: b, Log: b.Log.Logger(&log)}).Run(ctx, ctx)
	})
	log.Until(t, "waiting for a listener")
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	base := "http://" + socket.Addr().String()
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	testkit.Run(t, "the listener", func(ctx context.Context) error {
		return (&listenerd.Program{Config: l, Version: "test", Socket: socket, Log: l.Log.Logger(&log)}).Run(ctx)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if err := ready.Wait(ctx, "listener", base); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}

	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("subscriber", "secret-of-subscriber"))
	testkit.Must(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	testkit.Must(t, err)
	consumer, err := js.Consumer(ctx, events.StreamEvents, "watch-subscriber")
	testkit.Must(t, err)
	id := submit(ctx, t, base)
	var msg jetstream.Msg
	for msg == nil {
		if msg, err = consumer.Next(jetstream.FetchMaxWait(time.Second)); ctx.Err() != nil {
			t.Fatalf("nothing was announced: %v\n%s", err, &log)
		}
	}
	e, err := events.Parse(msg.Data())
	testkit.Must(t, err)
	if e.Build.ID != id || e.Build.Outcome == nil || e.Build.Outcome.Result != "succeeded" {
		t.Errorf("announced was %s", e.Raw)
	}
	if err := msg.DoubleAck(ctx); err != nil {
		t.Error(err)
	}
	res, err := http.Get(base + "/api/v1/builds/" + id + "/log?follow=true")
	testkit.Must(t, err)
	_ = res.Body.Close()
	if strings.Contains(log.String(), "may not") || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("something was refused\n%s", &log)
	}
}

// submit requests a build and returns its id.
func submit(ctx context.Context, t *testing.T, base string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v1/builds",
		strings.NewReader(`{"project": "hello"}`))
	testkit.Must(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	testkit.Must(t, err)
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Builds []struct{ ID string }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || len(answer.Builds) != 1 {
		t.Fatalf("%s: %+v, %v", res.Status, answer, err)
	}
	return answer.Builds[0].ID
}
