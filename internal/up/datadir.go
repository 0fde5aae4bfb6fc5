package up

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/dirlock"
)

// ClientFile is the file in the data directory with which the command line finds a running system.
const ClientFile = "client.yaml"

// secrets are made once, and kept with the data that they protect.
type secrets struct {
	NATSPassword string `json:"nats_password"`
	S3AccessKey  string `json:"s3_access_key"`
	S3SecretKey  string `json:"s3_secret_key"`
}

// lockDir makes the data directory and keeps other systems out of it until the file is closed.
func lockDir(dir string) (*os.File, error) {
	lock, err := dirlock.Dir(dir)
	switch {
	case errors.Is(err, dirlock.ErrBusy):
		return nil, fmt.Errorf("data directory %s: another `rpmflow up` uses it%s: use that one, stop it, "+
			"or take another directory with --data-dir, RPMFLOW_DATA_DIR or data_dir", dir, servedAt(dir))
	case err != nil:
		return nil, fmt.Errorf("data directory: %w: set data_dir to one that can be written", err)
	}
	return lock, nil
}

// servedAt is the URL of the system that uses a data directory, as the end of a message.
func servedAt(dir string) string {
	raw, err := os.ReadFile(filepath.Join(dir, ClientFile))
	var left struct {
		PublicURL string `yaml:"public_url"`
	}
	if err != nil || yaml.Unmarshal(raw, &left) != nil || left.PublicURL == "" {
		return "" // it is starting or ending
	}
	return ", at " + left.PublicURL
}

func loadSecrets(path string) (secrets, error) {
	var s secrets
	raw, err := os.ReadFile(path)
	if err == nil {
		if err = json.Unmarshal(raw, &s); err != nil {
			err = fmt.Errorf("%s: %w: it holds the keys of the embedded servers; remove it to get new ones", path, err)
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

// writeClient writes a configuration for the command line.
func writeClient(path string, cfg *config.Config) error {
	targets, projects := []map[string]string{}, []map[string]any{}
	for _, t := range cfg.Targets {
		targets = append(targets, nonEmpty(map[string]string{
			"name": t.Name, "arch": t.Arch, "config": t.Config, "image": t.Image,
		}))
	}
	for _, p := range cfg.Projects {
		entry := map[string]any{
			"name": p.Name, "url": p.URL, "publish": p.Publish.On, "publish_together": p.Publish.Together,
			"publish_replace": p.Publish.Replace, "publish_refuse_lower": p.Publish.RefuseLower,
			"publish_keep": p.Publish.Keep, "publish_keep_age": p.Publish.KeepAge.String(),
		}
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
		"nats": map[string]string{
			"url": cfg.NATS.URLs[0], "user": cfg.NATS.User, "password": string(cfg.NATS.Password),
		},
		"publisher": nonEmpty(map[string]string{ // a key that is in no file stays with the publisher
			"url": cfg.RepositoriesURL(), "signing_key_file": cfg.Publisher.SigningKeyFile,
			"signing_command": cfg.Publisher.SigningCommand,
		}),
		"s3": map[string]string{
			"endpoint": cfg.S3.Endpoint.String(), "bucket": cfg.S3.Bucket,
			"access_key": string(cfg.S3.AccessKey), "secret_key": string(cfg.S3.SecretKey),
		},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	header := "# Written by `rpmflow up` for the command line; it is removed when that ends.\n"
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
