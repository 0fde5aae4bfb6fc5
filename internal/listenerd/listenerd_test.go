package listenerd_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/listenerd"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func program(t *testing.T, dir string) *listenerd.Program {
	t.Helper()
	cfg := testkit.Value(config.Load(config.Source{For: config.ForListener, Env: []string{"RPMFLOW_DATA_DIR=" + dir,
		"RPMFLOW_LISTENER_LISTEN=127.0.0.1:0", "RPMFLOW_NATS_URL=nats://127.0.0.1:1", "RPMFLOW_S3_ACCESS_KEY=a",
		"RPMFLOW_S3_SECRET_KEY=secret", "RPMFLOW_S3_ENDPOINT=http://127.0.0.1:1"}}))(t)
	return &listenerd.Program{Config: cfg, Version: "test", Log: slog.New(slog.DiscardHandler)}
}

// A program that is stopped while it waits for NATS has not failed, and its socket is closed, whatever happens.
func TestStoppedWhileItWaits(t *testing.T) {
	t.Parallel()
	p := program(t, t.TempDir())
	p.Socket = testkit.Value(listenerd.Listen(p.Config))(t)
	stop := testkit.Run(t, "the listener", p.Run)
	stop()
	if _, err := p.Socket.Accept(); err == nil {
		t.Error("the socket is open")
	}
}

func TestDirectoryThatIsAFile(t *testing.T) {
	t.Parallel()
	p := program(t, testkit.Write(t, filepath.Join(t.TempDir(), "file"), ""))
	p.Socket = testkit.Value(listenerd.Listen(p.Config))(t)
	if err := p.Run(context.Background()); err == nil {
		t.Error("it runs")
	}
	if _, err := p.Socket.Accept(); err == nil {
		t.Error("the socket is open")
	}
}
