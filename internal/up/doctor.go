package up

import (
	"context"
	"log/slog"
	"strings"

	"github.com/rpmflow/rpmflow/internal/builderd"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/machine"
	"github.com/rpmflow/rpmflow/internal/publisherd"
	"github.com/rpmflow/rpmflow/internal/ready"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Checks are those of the whole system as it is seen from this machine. What only a builder needs is a warning if it
// fails: builders may run elsewhere. hostReason is that of builderd.BuildChecks.
func Checks(cfg *config.Config, hostReason string) []doctor.Check {
	s3 := connect.S3(cfg, slog.New(slog.DiscardHandler))
	return []doctor.Check{
		cfg.Check,
		machine.CheckDataDir(cfg.DataDir, func(context.Context) error { return machine.CheckSpace(cfg.DataDir) }),
		connect.NATS(cfg, "rpmflow doctor").Check,
		storage.Check(s3, true),
		doctor.AsWarnings("if publishers use this account", storage.CheckRepositories(s3)),
		ready.Check(string(config.ForListener), strings.TrimRight(cfg.PublicURL.String(), "/"), false),
		doctor.AsWarnings("if a publisher is to run here", publisherd.Check(cfg)),
		doctor.AsWarnings("if builds are to run here", builderd.BuildChecks(cfg, hostReason)...),
	}
}
