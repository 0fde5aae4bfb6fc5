package assembly

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

// ClientFile is the file in the data directory with which the command line finds what Up runs.
const ClientFile = "client.yaml"

// secrets are made once, and kept with the data that they protect.
type secrets struct {
	NATSPassword string `json:"nats_password"`
	S3AccessKey  string `json:"s3_access_key"`
	S3SecretKey  string `json:"s3_secret_key"`
}

// Up runs everything in one process tree until ctx ends: NATS and S3 embedded, a listener and a builder. ready is called
// with the configuration in effect once all of them are there. Children end with the process, however it ends.
func Up(ctx, hard context.Context, cfg *config.Config, version string, log *slog.Logger, ready func(*config.Config)) (err error) {
	unlock, err := lockDir(cfg.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := loadSecrets(filepath.Join(cfg.DataDir, "secrets.json"))
	if err != nil {
		return err
	}
	socket, err := Listen(cfg)
	if err != nil {
		return err
	}
	queue, err := startNATS(natsserver.Options{
		Dir: filepath.Join(cfg.DataDir, "nats"), Listen: usualOrFree(cfg.Embedded.NATSListen, config.DefaultNATSListen), User: "rpmflow", Password: s.NATSPassword, Sync: true, Logger: log,
	})
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	defer queue.close()
	s3, err := gateway.Start(ctx, gateway.Options{
		Dir: filepath.Join(cfg.DataDir, "s3"), Listen: usualOrFree(cfg.Embedded.S3Listen, config.DefaultS3Listen), AccessKey: s.S3AccessKey, SecretKey: s.S3SecretKey, Region: cfg.S3.Region,
		Bucket: cfg.S3.Bucket, Logger: log,
	})
	if err != nil {
		return errors.Join(stopped(ctx, err), socket.Close())
	}
	defer func() { err = errors.Join(err, s3.Close()) }()

	own := *cfg
	own.NATS.URLs, own.NATS.User, own.NATS.Password, own.NATS.Token = []string{queue.url}, "rpmflow", config.Secret(s.NATSPassword), ""
	own.NATS.NKey, own.NATS.Credentials, own.NATS.CAFile, own.NATS.Replicas, own.S3.CAFile = "", "", "", 1, ""
	if own.S3.Endpoint, err = url.Parse(s3.Endpoint()); err != nil {
		return errors.Join(fmt.Errorf("embedded S3: %w", err), socket.Close())
	}
	own.S3.AccessKey, own.S3.SecretKey = config.Secret(s.S3AccessKey), config.Secret(s.S3SecretKey)
	if cfg.PublicURL.Host == cfg.Listener.Listen { // as a port 0 is only known by now
		own.PublicURL = &url.URL{Scheme: "http", Host: socket.Addr().String()}
	}
	client := filepath.Join(cfg.DataDir, ClientFile)
	if err := writeClient(client, &own); err != nil {
		return errors.Join(err, socket.Close())
	}
	defer func() { err = errors.Join(err, os.Remove(client)) }()

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return queue.keep(gctx) })
	// Builds in hand go on after a first signal, and are to be watched until they are over.
	lctx, unlisten := context.WithCancel(context.WithoutCancel(gctx))
	defer unlisten()
	g.Go(func() error { return RunListener(lctx, &own, version, socket, log) })
	g.Go(func() error {
		defer unlisten()
		return RunBuilder(gctx, hard, &own, log)
	})
	g.Go(func() error {
		select {
		case <-gctx.Done():
			return nil
		case <-s3.Done():
			return fmt.Errorf("the embedded S3 ended by itself: %w", s3.Err())
		}
	})
	g.Go(func() error {
		if err := WaitReady(gctx, "http://"+fromHere(socket.Addr())); err != nil {
			return stopped(gctx, err)
		}
		ready(&own)
		return nil
	})
	return g.Wait()
}

func lockDir(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w: set data_dir to one that can be written", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w: set data_dir to one that can be written", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s: another `rpmflow up` uses it%s: use that one, stop it, or take another directory with --data-dir, RPMFLOW_DATA_DIR or data_dir",
			dir, servedAt(dir)), f.Close())
	}
	return func() { _ = f.Close() }, nil // the lock ends with the file
}

// servedAt says where the one that uses a data directory serves.
func servedAt(dir string) string {
	raw, err := os.ReadFile(filepath.Join(dir, ClientFile))
	var left struct {
		PublicURL string `yaml:"public_url"`
	}
	if err != nil || yaml.Unmarshal(raw, &left) != nil || left.PublicURL == "" {
		return "" // it starts or ends at the moment
	}
	return ", at " + left.PublicURL
}

func loadSecrets(path string) (secrets, error) {
	var s secrets
	raw, err := os.ReadFile(path)
	if err == nil {
		if err = json.Unmarshal(raw, &s); err != nil {
			err = fmt.Errorf("%s: %w: it holds the keys of the embedded servers; remove it to have new ones made", path, err)
		}
		return s, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("secrets of the embedded servers: %w", err)
	}
	s = secrets{NATSPassword: rand.Text(), S3AccessKey: "rpmflow", S3SecretKey: rand.Text()}
	if raw, err = json.Marshal(s); err != nil {
		return s, fmt.Errorf("secrets of the embedded servers: %w", err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		return s, fmt.Errorf("secrets of the embedded servers: %w", err)
	}
	return s, nil
}

// writeClient leaves a configuration for the command line.
func writeClient(path string, cfg *config.Config) error {
	targets, projects := []map[string]string{}, []map[string]any{}
	for _, t := range cfg.Targets {
		targets = append(targets, nonEmpty(map[string]string{"name": t.Name, "arch": t.Arch, "config": t.Config, "image": t.Image}))
	}
	for _, p := range cfg.Projects {
		entry := map[string]any{"name": p.Name, "url": p.URL}
		if len(p.Targets) > 0 {
			entry["targets"] = p.Targets
		}
		projects = append(projects, entry)
	}
	raw, err := yaml.Marshal(map[string]any{
		"public_url": cfg.PublicURL.String(),
		"builder":    map[string]string{"engine": string(cfg.Builder.Engine)},
		"targets":    targets,
		"projects":   projects,
		"data_dir":   cfg.DataDir,
		"listener":   nonEmpty(map[string]string{"token": string(cfg.Listener.Token)}),
		"nats":       map[string]string{"url": cfg.NATS.URLs[0], "user": cfg.NATS.User, "password": string(cfg.NATS.Password)},
		"s3":         map[string]string{"endpoint": cfg.S3.Endpoint.String(), "bucket": cfg.S3.Bucket, "access_key": string(cfg.S3.AccessKey), "secret_key": string(cfg.S3.SecretKey)},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	header := "# Written by `rpmflow up` for the command line; it is gone when that ends.\n"
	if err := os.WriteFile(path, append([]byte(header), raw...), 0o600); err != nil {
		return fmt.Errorf("configuration of the command line: %w", err)
	}
	return nil
}

func nonEmpty(m map[string]string) map[string]string {
	for k, v := range m {
		if v == "" {
			delete(m, k)
		}
	}
	return m
}

// fromHere is the address under which this machine reaches what listens on a.
func fromHere(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok && t.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(t.Port))
	}
	return a.String()
}
