// Command builder takes builds from the queue and runs mock in Docker.
package main

import (
	"context"
	"log/slog"

	"github.com/rpmflow/rpmflow/internal/builderd"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/lifeline"
)

func main() {
	lifeline.Main(nil)
	cli.Main(cli.Service{
		Program: config.ForBuilder, Short: "Take builds from the queue and run them",
		Long: `The builder takes builds of its architectures from NATS JetStream, --jobs at a time. It runs each in a
clean build root (mock in Docker) or with the host's rpmbuild, puts packages and logs into S3, and publishes the
outcome. Any number may run, on any host. After the first SIGTERM running builds go on for the drain time; a second one
hands them back at once.`,
		Sections: []string{"", "log", "nats", "s3", "builder"},
		Run: func(ctx, hard context.Context, cfg *config.Config, log *slog.Logger) error {
			p := builderd.Program{Config: cfg, Log: log}
			return p.Run(ctx, hard)
		},
		Address: builderd.StatusAddress,
		Checks:  func(cfg *config.Config) []doctor.Check { return builderd.Checks(cfg, "") },
	}.Command())
}
