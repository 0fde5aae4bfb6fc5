// Command listener takes pushes, answers about builds, and queues them.
package main

import (
	"context"
	"log/slog"

	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/listenerd"
)

func main() {
	cli.Main(cli.Service{
		Program: config.ForListener, Short: "Take pushes from forges and queue builds",
		Long: `The listener takes push webhooks (POST /hooks/{forge}/{project}) and submissions (POST /api/v1/builds),
stores them in NATS JetStream before it answers, queues their builds, and answers questions about builds. Any number of
replicas may run. After SIGTERM it finishes the requests that it has.`,
		Sections: []string{"", "log", "nats", "s3", "listener"},
		Run: func(ctx, _ context.Context, cfg *config.Config, log *slog.Logger) error {
			p := listenerd.Program{Config: cfg, Version: cli.Version(), Log: log}
			return p.Run(ctx)
		},
		Address: func(cfg *config.Config) (string, error) { return cfg.Listener.Listen, nil },
		Checks:  listenerd.Checks,
	}.Command())
}
