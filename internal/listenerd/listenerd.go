// Package listenerd is the listener as a program: from a configuration to a listener that serves.
//
// A checked configuration and a logger come in; a program that runs until its context ends, and the checks of what it
// needs, go out. Its command, `rpmflow up` and tests import it: those of package up start and stop it, with NATS and S3
// under the deployed accounts, while NATS is away, and in a directory that cannot be written.
package listenerd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/listener"
	"github.com/rpmflow/rpmflow/internal/listener/plan"
	"github.com/rpmflow/rpmflow/internal/machine"
	"github.com/rpmflow/rpmflow/internal/ready"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Program is a listener. Its fields are set before Run.
type Program struct {
	Config  *config.Config
	Version string       // in its answers
	Socket  net.Listener // nil: it listens where the configuration says. Run closes it.
	Log     *slog.Logger
}

// Run connects and serves until ctx ends.
func (p *Program) Run(ctx context.Context) (err error) {
	cfg, socket := p.Config, p.Socket
	if _, err := machine.DataDir(cfg.DataDir); err != nil {
		if socket != nil {
			err = errors.Join(err, socket.Close())
		}
		return err
	}
	if socket == nil {
		if socket, err = Listen(cfg); err != nil {
			return err
		}
	}
	l, disconnect, err := p.connect(ctx, socket)
	if err != nil {
		if ctx.Err() != nil { // it was stopped before it had started: not an error
			err = nil
		}
		return errors.Join(err, socket.Close())
	}
	defer disconnect()
	return l.Run(ctx)
}

// connect waits for NATS, and answers on the socket meanwhile.
func (p *Program) connect(ctx context.Context, socket net.Listener) (*listener.Listener, func(), error) {
	cfg, log := p.Config, p.Log
	store, err := connect.Storage(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	access := connect.NATS(cfg, "rpmflow listener")
	waiting := &waitingServer{socket: socket, log: log}
	access.Role, access.Waiting = rpmflow.RoleListener, waiting.setReason
	nc, js, err := events.Connect(ctx, access, log)
	disconnect := func() {
		if nc != nil {
			nc.Close()
		}
		store.Close()
	}
	if err := errors.Join(err, waiting.close()); err != nil {
		disconnect()
		return nil, nil, err
	}
	l, err := listener.New(ctx, listener.Options{
		Repositories: mirrors(cfg, log), PublicURL: strings.TrimRight(cfg.PublicURL.String(), "/"),
		ReposURL: cfg.RepositoriesURL(),
		Token:    string(cfg.Listener.Token), MaxBody: int64(cfg.Listener.MaxBody),
		MaxUpload: int64(cfg.Listener.MaxUpload), RequestTimeout: cfg.Listener.RequestTimeout, DataDir: cfg.DataDir,
		Projects: cfg.Projects, Targets: cfg.Targets, Version: p.Version, Logger: log,
	}, socket, nc, js, store, git.Resolver(connect.GitAccess(cfg)))
	if err != nil {
		disconnect()
		return nil, nil, err
	}
	return l, disconnect, nil
}

// mirrors are the listener's own, or of all programs that share its data directory. Without them it can work, too.
func mirrors(cfg *config.Config, log *slog.Logger) plan.Repositories {
	s, err := connect.Sources(cfg, nil, nil, log)
	if err != nil {
		log.Warn("which files a push has changed is taken from its delivery only", "error", err)
		return nil
	}
	return s
}

// Checks are those of what a listener with this configuration needs.
func Checks(cfg *config.Config) []doctor.Check {
	access := connect.NATS(cfg, "rpmflow doctor")
	access.Role = rpmflow.RoleListener
	return []doctor.Check{
		cfg.Check,
		machine.CheckDataDir(cfg.DataDir, func(context.Context) error { return machine.CheckSpace(cfg.DataDir) }),
		access.Check,
		storage.Check(connect.S3(cfg, slog.New(slog.DiscardHandler)), false),
		ready.CheckHere(string(config.ForListener), cfg.Listener.Listen, nil),
	}
}
