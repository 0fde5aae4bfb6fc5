package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
)

func s3Command() *cobra.Command {
	cmd := cli.Service(config.ForS3, "Run an S3 server with an account for each role",
		`S3 serves the bucket s3.bucket on gateway.listen, for installations that have no object storage. Every write is synced to disk
before it is answered. Data are in the directory s3 of the data directory, and belong to one server at a time.

The root account, which may do everything, is s3.access_key with s3.secret_key. The accounts listener, builder and publisher
have the names of their roles as access keys, the secret keys gateway.listener_secret_key, gateway.builder_secret_key and
gateway.publisher_secret_key, and the rights that the role needs; one without a key does not exist. The bucket and its policy are
made at every start, so a changed key or a removed account takes effect with the next one.

GET `+assembly.S3HealthPath+` answers 200 to everybody while it serves. SIGTERM ends it.`,
		[]string{"", "log", "s3", "gateway"},
		func(ctx, _ context.Context, cfg *config.Config, stderr io.Writer) error {
			return assembly.RunS3(ctx, cfg, assembly.Logger(stderr, cfg.Log))
		})
	cmd.Example = "  RPMFLOW_S3_ACCESS_KEY=root RPMFLOW_S3_SECRET_KEY_FILE=root.key RPMFLOW_GATEWAY_BUILDER_SECRET_KEY_FILE=builder.key \\\n    rpmflow s3 --data-dir /data --gateway-listen :7070"
	return cmd
}
