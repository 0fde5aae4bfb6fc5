package assembly

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

// S3HealthPath is where the S3 server says to everybody that it serves.
const S3HealthPath = "/health"

// RunS3 serves S3 until ctx ends: one bucket, in which each role's account may do what the role needs.
func RunS3(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	o, err := s3Options(cfg)
	if err != nil {
		return err
	}
	o.Logger = log
	g, err := gateway.Start(ctx, o)
	if err != nil {
		return stopped(ctx, err)
	}
	if len(o.Accounts) == 0 {
		log.Warn("no role has an account, the root account alone can use the bucket: set gateway.listener_secret_key and gateway.builder_secret_key")
	}
	select {
	case <-ctx.Done():
	case <-g.Done():
	}
	return g.Close() // with the reason, when it ended by itself
}

// s3Options has an account for each role that has a key.
func s3Options(cfg *config.Config) (gateway.Options, error) {
	o := gateway.Options{
		Dir: filepath.Join(cfg.DataDir, "s3"), Listen: cfg.Gateway.Listen, ListenKey: "gateway.listen", Region: cfg.S3.Region, Bucket: cfg.S3.Bucket,
		AccessKey: string(cfg.S3.AccessKey), SecretKey: string(cfg.S3.SecretKey), Accounts: map[string]string{},
		CertFile: cfg.Gateway.CertFile, KeyFile: cfg.Gateway.KeyFile, HealthPath: S3HealthPath,
	}
	principals := map[rpmflow.Role]string{}
	for role, key := range map[rpmflow.Role]config.Secret{
		rpmflow.RoleListener: cfg.Gateway.ListenerSecretKey, rpmflow.RoleBuilder: cfg.Gateway.BuilderSecretKey, rpmflow.RolePublisher: cfg.Gateway.PublisherSecretKey,
	} {
		if key != "" {
			o.Accounts[string(role)], principals[role] = string(key), string(role)
		}
	}
	if len(principals) == 0 {
		return o, nil // and no policy: the bucket is the root account's alone, unless that gives it another one
	}
	var err error
	o.Policy, err = storage.BucketPolicy(o.Bucket, principals)
	return o, err
}
