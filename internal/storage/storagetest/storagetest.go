// Package storagetest gives tests a real S3: the embedded one, in a directory of the test's own.
//
// In comes a test, out comes the configuration of a bucket that is there and empty. Only tests import it, and their
// TestMain calls Main first.
package storagetest

import (
	"context"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
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
	g := start(ctx, t, gateway.Options{Dir: dir})
	cfg := config(g, AccessKey, SecretKey)
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

// Roles is a bucket with the policy of the roles, and how each of them gets at it with an account of its own.
type Roles struct {
	Root    storage.Config // may do everything
	Configs map[rpmflow.Role]storage.Config
	Gateway *gateway.Gateway
}

// StartRoles starts a gateway with the roles' accounts over a directory. Their secret keys begin with secret. change,
// if there is one, sees the options before the start.
func StartRoles(t testing.TB, dir, secret string, change func(*gateway.Options)) Roles {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	accounts, principals := map[string]string{}, map[rpmflow.Role]string{}
	for _, role := range storage.Roles() {
		accounts[string(role)], principals[role] = secret+string(role), string(role)
	}
	policy, err := storage.BucketPolicy(Bucket, principals)
	if err != nil {
		t.Fatal(err)
	}
	o := gateway.Options{Dir: dir, Accounts: accounts, Bucket: Bucket, Policy: policy}
	if change != nil {
		change(&o)
	}
	g := start(ctx, t, o)
	r := Roles{Root: config(g, AccessKey, SecretKey), Configs: map[rpmflow.Role]storage.Config{}, Gateway: g}
	for role := range principals {
		r.Configs[role] = config(g, string(role), secret+string(role))
	}
	return r
}

func start(ctx context.Context, t testing.TB, o gateway.Options) *gateway.Gateway {
	t.Helper()
	o.Listen, o.AccessKey, o.SecretKey, o.Logger = "127.0.0.1:0", AccessKey, SecretKey, slog.New(slog.DiscardHandler)
	g, err := gateway.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-g.Done(): // the test has ended it
		default: // the race detector lets a program that ends by itself wait for a second
			_ = syscall.Kill(g.Pid(), syscall.SIGKILL)
		}
		_ = g.Close()
	})
	return g
}

func config(g *gateway.Gateway, accessKey, secretKey string) storage.Config {
	return storage.Config{
		Endpoint: g.Endpoint(), Region: gateway.DefaultRegion, Bucket: Bucket, AccessKey: accessKey,
		SecretKey:    secretKey,
		CreateBucket: true, Logger: slog.New(slog.DiscardHandler),
	}
}
