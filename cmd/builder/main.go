// Command builder takes builds from the queue and runs mock in Docker.
package main

import (
	"context"
	"io"

	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/lifeline"
)

func main() {
	lifeline.Main(nil)
	cli.Main(cli.Service(config.ForBuilder, "Take builds from the queue and run them",
		`The builder takes builds of its architectures from NATS JetStream, --jobs at a time, runs each in a clean build root (mock in
Docker) or with the host's rpmbuild, puts packages and logs into S3, and publishes the outcome. Any number may run, on any host.
The first SIGTERM lets the builds in hand go on for the drain time; a second one hands them back at once.`,
		[]string{"", "log", "nats", "s3", "builder"},
		func(ctx, hard context.Context, cfg *config.Config, stderr io.Writer) error {
			return assembly.RunBuilder(ctx, hard, cfg, assembly.Logger(stderr, cfg.Log))
		}))
}
