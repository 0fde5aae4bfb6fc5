package up_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/rpmflow/rpmflow/internal/builderd"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/listenerd"
	"github.com/rpmflow/rpmflow/internal/ready"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/up"
)

func TestMain(m *testing.M) {
	storagetest.Main()
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

const patience = 30 * time.Second

// load makes a configuration of a data directory, on free ports, with these lines added.
func load(t *testing.T, dir, more string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rpmflow.yaml")
	text := fmt.Sprintf("data_dir: %s\nlistener: {listen: '127.0.0.1:0'}\n"+
		"embedded: {nats_listen: '127.0.0.1:0', s3_listen: '127.0.0.1:0'}\nbuilder: {engine: rpmbuild, name: "+
		"a}\n%s", dir, more)
	testkit.Must(t, os.WriteFile(file, []byte(text), 0o600))
	cfg, err := config.Load(config.Source{File: file, For: config.ForOperator})
	testkit.Must(t, err)
	return cfg
}

func system(cfg *config.Config, ready func(*config.Config)) *up.Program {
	return &up.Program{Config: cfg, Version: "test", Log: quiet, Ready: ready}
}

// start runs everything, and returns the configuration in effect and a function that stops it.
func start(t *testing.T, cfg *config.Config) (*config.Config, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan *config.Config, 1), make(chan error, 1)
	go func() { done <- system(cfg, func(c *config.Config) { ready <- c }).Run(ctx, ctx) }()
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	stop := func() {
		t.Helper()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("up: %v", err)
			}
		case <-time.After(patience):
			t.Error("up has not ended")
		}
	}
	select {
	case c := <-ready:
		return c, stop
	case err := <-done:
		t.Fatalf("up: %v", err)
	case <-time.After(patience):
		t.Fatal("up is not ready")
	}
	return nil, nil
}

func needRPMBuild(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skipf("needs rpmbuild: %v", err)
	}
}

func TestUp(t *testing.T) {
	t.Parallel()
	needRPMBuild(t)
	dir := filepath.Join(t.TempDir(), "data")
	cfg := load(t, dir, "")
	own, stop := start(t, cfg)
	client := filepath.Join(dir, up.ClientFile)
	for _, file := range []string{client, filepath.Join(dir, "secrets.json")} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	// The file that it leaves is a configuration with which everything can be reached.
	theirs, err := config.Load(config.Source{File: client, For: config.ForOperator})
	testkit.Must(t, err)
	if err := ready.Ask(t.Context(), "listener", theirs.PublicURL.String()); err != nil {
		t.Error(err)
	}
	nc, _, err := events.Dial(connect.NATS(theirs, "test"), quiet)
	testkit.Must(t, err)
	nc.Close()
	store, err := connect.Storage(theirs, quiet)
	testkit.Must(t, err)
	if err := store.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	store.Close()
	// Other programs are refused.
	if _, _, err := events.Dial(events.Access{URL: own.NATS.URLs[0], Name: "stranger"}, quiet); err == nil {
		t.Error("NATS takes everybody")
	}

	if err := system(cfg, func(*config.Config) {}).Run(t.Context(), t.Context()); err == nil ||
		!strings.Contains(err.Error(), "another `rpmflow up` uses it") {
		t.Errorf("a second one in the same directory: %v", err)
	}
	if _, err := os.Stat(client); err != nil {
		t.Errorf("the second one has taken the first one's file away: %v", err)
	}
	stop()
	if _, err := os.Stat(client); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", client, err)
	}

	again, stop := start(t, load(t, dir, "")) // the same data, with the same keys
	defer stop()
	if again.S3.SecretKey != own.S3.SecretKey || again.NATS.Password != own.NATS.Password {
		t.Error("other secrets after a restart")
	}
}

// A port that is in use is named, and a failed start leaves nothing.
func TestUpOnATakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer taken.Close()
	for _, key := range []string{"listener.listen", "embedded.nats_listen", "embedded.s3_listen"} {
		cfg := load(t, t.TempDir(), "")
		for name, address := range map[string]*string{
			"listener.listen": &cfg.Listener.Listen, "embedded.nats_listen": &cfg.Embedded.NATSListen,
			"embedded.s3_listen": &cfg.Embedded.S3Listen,
		} {
			if name == key {
				*address = taken.Addr().String()
			}
		}
		err := system(cfg, func(*config.Config) { t.Error("ready") }).Run(t.Context(), t.Context())
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
		if _, err := os.Stat(filepath.Join(cfg.DataDir, up.ClientFile)); !os.IsNotExist(err) {
			t.Errorf("%s: the client's file is there: %v", key, err)
		}
	}
}

// Programs that wait for NATS end without an error when they are stopped.
func TestStopWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	cfg := load(t, t.TempDir(), "nats: {url: 'nats://127.0.0.1:1'}\ns3: {access_key: nobody, secret_key: asks}\n")
	var log bytes.Buffer
	for name, run := range map[string]func(context.Context) error{
		"listener": func(ctx context.Context) error {
			return (&listenerd.Program{Config: cfg, Version: "test", Log: cfg.Log.Logger(&log)}).Run(ctx)
		},
		"builder": func(ctx context.Context) error {
			return (&builderd.Program{Config: cfg, Log: cfg.Log.Logger(&log)}).Run(ctx, ctx)
		},
	} {
		log.Reset()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := run(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		if !strings.Contains(log.String(), "NATS is not ready, trying again") {
			t.Errorf("%s said nothing: %s", name, &log)
		}
	}
}

// Programs that wait for NATS say so to those who ask: they live, they are not ready, and why. When it comes, they are.
func TestAskedWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	needRPMBuild(t)
	var addresses []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		addresses = append(addresses, l.Addr().String())
		l.Close()
	}
	s3 := storagetest.Start(t)
	cfg := load(t, t.TempDir(), fmt.Sprintf("nats: {url: 'nats://%s'}\ns3: {endpoint: '%s', access_key: %s, "+
		"secret_key: "+
		"%s, bucket: %s}\n",
		addresses[0], s3.Endpoint, s3.AccessKey, s3.SecretKey, s3.Bucket))
	cfg.Listener.Listen, cfg.Builder.StatusListen = addresses[1], addresses[2]
	ctx, cancel := context.WithCancel(context.Background())
	g, gctx := errgroup.WithContext(ctx)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	defer func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}()
	g.Go(func() error { return (&listenerd.Program{Config: cfg, Version: "test", Log: quiet}).Run(gctx) })
	g.Go(func() error { return (&builderd.Program{Config: cfg, Log: quiet}).Run(gctx, gctx) })
	programs := map[config.Program]string{config.ForListener: "http://" + addresses[1],
		config.ForBuilder: "http://" + addresses[2]}
	until := func(who config.Program, what string, is func(error) bool) {
		t.Helper()
		testkit.Until(t, func() error {
			err := ready.Ask(t.Context(), string(who), programs[who])
			if is(err) {
				return nil
			}
			return fmt.Errorf("%s: missing: %s, but %v", who, what, err)
		})
	}
	for who, url := range programs {
		until(who, "the reason", func(err error) bool {
			return err != nil && strings.Contains(err.Error(), addresses[0]) &&
				strings.Contains(err.Error(), "is nats.url right?")
		})
		res, err := http.Get(url + "/healthz")
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%s does not live: %v, %v", who, res, err)
		} else {
			res.Body.Close()
		}
	}
	res, err := http.Post(programs[config.ForListener]+"/hooks/generic/x", "application/json", strings.NewReader("{}"))
	if err != nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("a push: %v, %v", res, err)
	} else {
		res.Body.Close()
	}
	eventstest.Start(t, natsserver.Options{Listen: addresses[0]})
	for who := range programs {
		until(who, "ready", func(err error) bool { return err == nil })
	}
	cancel()
}

func TestDataDir(t *testing.T) {
	t.Parallel()
	for _, run := range []func(*config.Config) error{
		func(c *config.Config) error {
			return (&listenerd.Program{Config: c, Version: "test", Log: quiet}).Run(t.Context())
		},
		func(c *config.Config) error {
			return (&builderd.Program{Config: c, Log: quiet}).Run(t.Context(), t.Context())
		},
	} {
		if err := run(load(t, "/proc/1/data", "")); err == nil || !strings.Contains(err.Error(),
			"set data_dir to another directory") {
			t.Errorf("in a directory that cannot be written: %v", err)
		}
	}
}
