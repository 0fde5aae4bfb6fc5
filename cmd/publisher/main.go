// Command publisher makes signed dnf repositories of finished builds.
package main

import (
	"context"
	"log/slog"

	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/publisherd"
)

func main() {
	lifeline.Main(nil)
	cli.Main(cli.Service{
		Program: config.ForPublisher, Short: "Make signed dnf repositories of finished builds",
		Long: `The publisher puts the packages of finished builds into signed dnf repositories in S3, one for each
project and target. It begins with the first finished build that NATS JetStream still has. Any number may run.`,
		Sections: []string{"", "log", "nats", "s3", "publisher"},
		Run: func(ctx, _ context.Context, cfg *config.Config, log *slog.Logger) error {
			p := publisherd.Program{Config: cfg, Log: log}
			return p.Run(ctx)
		},
		Address: publisherd.StatusAddress,
		Checks:  publisherd.Checks,
	}.Command())
}
