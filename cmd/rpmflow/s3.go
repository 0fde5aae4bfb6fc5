package main

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

func s3Command() *cobra.Command {
	cmd := cli.Service{
		Program: config.ForS3, Short: "Run an S3 server with an account for each role",
		Long: `S3 serves the bucket s3.bucket on gateway.listen, for installations without an object storage. Every
write is synced to disk before it is answered. Data are in the directory s3 of the data directory; one server at a time
may use them.

The root account, which may do everything, is s3.access_key with s3.secret_key. The accounts listener, builder and
publisher have the names of their roles as access keys, the secret keys gateway.listener_secret_key,
gateway.builder_secret_key and gateway.publisher_secret_key, and the rights that the role needs. An account without
a key does not exist. The bucket and its policy are made at every start, so a changed key or a removed account takes
effect with the next start.

GET ` + s3HealthPath + ` answers 200 without a login while it serves. SIGTERM ends it.`,
		Sections: []string{"", "log", "s3", "gateway"},
		Run:      runS3,
	}.Command()
	cmd.Example = "  RPMFLOW_S3_ACCESS_KEY=root RPMFLOW_S3_SECRET_KEY_FILE=root.key " +
		"RPMFLOW_GATEWAY_BUILDER_SECRET_KEY_FILE=builder.key \\\n    rpmflow s3 --data-dir /data --gateway-listen :7070"
	return cmd
}

// s3HealthPath is where the S3 server says that it serves, without a login.
const s3HealthPath = "/health"

// runS3 serves S3 until ctx ends: one bucket, in which each role's account may do what the role needs.
func runS3(ctx, _ context.Context, cfg *config.Config, log *slog.Logger) error {
	o, err := s3Options(cfg)
	if err != nil {
		return err
	}
	o.Logger = log
	g, err := gateway.Start(ctx, o)
	if err != nil {
		if ctx.Err() != nil { // it was stopped before it had started: not an error
			return nil
		}
		return err
	}
	if len(o.Accounts) == 0 {
		log.Warn("no role has an account, the root account alone can use the bucket: " +
			"set gateway.listener_secret_key and gateway.builder_secret_key")
	}
	select {
	case <-ctx.Done():
	case <-g.Done():
	}
	return g.Close() // with the reason when it has ended by itself
}

// s3Options has an account for each role that has a key.
func s3Options(cfg *config.Config) (gateway.Options, error) {
	o := gateway.Options{
		Dir: filepath.Join(cfg.DataDir, "s3"), Listen: cfg.Gateway.Listen, ListenKey: "gateway.listen",
		Region: cfg.S3.Region, Bucket: cfg.S3.Bucket, AccessKey: string(cfg.S3.AccessKey),
		SecretKey: string(cfg.S3.SecretKey), Accounts: map[string]string{},
		CertFile: cfg.Gateway.CertFile, KeyFile: cfg.Gateway.KeyFile, HealthPath: s3HealthPath,
	}
	principals := map[rpmflow.Role]string{}
	for role, key := range map[rpmflow.Role]config.Secret{
		rpmflow.RoleListener: cfg.Gateway.ListenerSecretKey, rpmflow.RoleBuilder: cfg.Gateway.BuilderSecretKey,
		rpmflow.RolePublisher: cfg.Gateway.PublisherSecretKey,
	} {
		if key != "" {
			o.Accounts[string(role)], principals[role] = string(key), string(role)
		}
	}
	if len(principals) == 0 {
		return o, nil // without a policy only the root account can use the bucket
	}
	var err error
	o.Policy, err = storage.BucketPolicy(o.Bucket, principals)
	return o, err
}
