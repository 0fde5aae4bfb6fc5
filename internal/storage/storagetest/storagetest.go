// Package storagetest gives tests a real S3: the embedded one, in a directory of the test's own.
//
// In comes a test, out comes the configuration of a bucket that is there and empty. Only tests import it, and their
// TestMain calls Main first.
package storagetest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

// Keys and bucket of every gateway of this package.
const (
	AccessKey = "rpmflow-test"
	SecretKey = "rpmflow-test-secret"
	Bucket    = "rpmflow-test"
)

const startLimit = 30 * time.Second

// Main must be called first thing in TestMain, in place of lifeline.Main: the gateway is a child of the test binary.
func Main() { lifeline.Main(map[string]lifeline.Func{gateway.ChildName: gateway.Child}) }

// Start starts a gateway, which ends with the test, and makes its bucket.
func Start(t testing.TB) storage.Config {
	t.Helper()
	cfg, _ := StartIn(t, t.TempDir())
	return cfg
}

// StartIn does the same over a directory that outlives it, for tests of restarts and failures.
func StartIn(t testing.TB, dir string) (storage.Config, *gateway.Gateway) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	g, err := gateway.Start(ctx, gateway.Options{
		Dir: dir, Listen: "127.0.0.1:0", AccessKey: AccessKey, SecretKey: SecretKey, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() }) // a test that kills it knows
	cfg := storage.Config{
		Endpoint: g.Endpoint(), Region: gateway.DefaultRegion, Bucket: Bucket, AccessKey: AccessKey, SecretKey: SecretKey,
		CreateBucket: true, Logger: slog.New(slog.DiscardHandler),
	}
	s, err := storage.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ensure(ctx); err != nil {
		t.Fatal(err)
	}
	return cfg, g
}
