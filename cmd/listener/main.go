// Command listener takes pushes, answers about builds, and queues them.
package main

import (
	"context"
	"io"

	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
)

func main() {
	cli.Main(cli.Service(config.ForListener, "Take pushes from forges and queue builds",
		`The listener takes push webhooks (POST /hooks/github/{project}, /hooks/generic/{project}) and submissions (POST /api/v1/builds),
stores them in NATS JetStream before it answers, queues their builds, and answers what is known about builds.
Any number of replicas may run. SIGTERM lets requests in hand end.`,
		[]string{"", "log", "nats", "s3", "listener"},
		func(ctx, _ context.Context, cfg *config.Config, stderr io.Writer) error {
			return assembly.RunListener(ctx, cfg, cli.Version(), nil, assembly.Logger(stderr, cfg.Log))
		}))
}
