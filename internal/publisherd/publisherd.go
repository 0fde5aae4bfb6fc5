// Package publisherd is the publisher as a program: from a configuration to a publisher with its keys that runs.
//
// A checked configuration and a logger come in; a program that runs until its context ends goes out. Its command,
// `rpmflow up`, and tests import it.
package publisherd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/machine"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/retry"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Program is a publisher. Its fields are set before Run.
type Program struct {
	Config *config.Config
	Log    *slog.Logger
}

// Run connects and publishes until ctx ends. What is in work then is published by the next run.
func (p *Program) Run(ctx context.Context) error {
	cfg, log := p.Config, p.Log
	if _, err := machine.DataDir(cfg.DataDir); err != nil {
		return err
	}
	signer, err := p.signer(noKey)
	if err != nil && !errors.Is(err, errNoKey) {
		return err
	}
	if err := p.runnable(); err != nil {
		return err
	}
	status := newStatus()
	if cfg.Publisher.StatusListen != "" {
		stop, err := status.listen(cfg.Publisher.StatusListen, log)
		if err != nil {
			return err
		}
		defer stop()
	}
	store, err := connect.Storage(cfg, log)
	if err != nil {
		return err
	}
	defer store.Close()
	access := connect.NATS(cfg, "rpmflow publisher")
	access.Role, access.Waiting = rpmflow.RolePublisher, status.waiting
	nc, js, err := events.AttachPublisher(ctx, access, log)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer nc.Close()
	policy := retry.Policy{Notify: func(err error, pause time.Duration) {
		status.waiting(err)
		log.Warn("the storage is not ready, trying again", "in", pause, "error", err)
	}}
	if err := policy.Do(ctx, func() error { return store.Healthy(ctx) }); err != nil {
		return unlessStopped(ctx, err)
	}
	if signer == nil {
		err := policy.Do(ctx, func() (err error) {
			if err = lostKey(ctx, cfg, store.Repositories()); errors.Is(err, errKeyLost) {
				return retry.Permanent(err)
			}
			return err
		})
		if err == nil {
			signer, err = p.firstKey(ctx)
		}
		if err != nil {
			return unlessStopped(ctx, err)
		}
	}
	p.describe(signer)
	pub, err := p.publisher(signer, store, js)
	if err != nil {
		return err
	}
	var conditional bool
	err = policy.Do(ctx, func() (err error) {
		conditional, err = store.Repositories().Conditional(ctx)
		return err
	})
	if err != nil {
		return unlessStopped(ctx, err)
	}
	if !conditional {
		log.Warn("the storage does not honour conditions of writes (If-Match): publishers take a lease in NATS "+
			"for each", "endpoint", cfg.S3.Endpoint)
	}
	status.publishes(pub, nc)
	return pub.Run(ctx)
}

// firstKey makes the key that there was not yet.
func (p *Program) firstKey(ctx context.Context) (signer *sign.Signer, err error) {
	full := retry.Policy{Notify: func(err error, pause time.Duration) {
		p.Log.Warn("the signing key cannot be kept, trying again: free some space", "in", pause, "error", err)
	}}
	err = full.Do(ctx, func() error {
		if signer, err = p.signer(p.generate); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return retry.Permanent(err)
		}
		return err
	})
	return signer, err
}

func (p *Program) publisher(
	signer *sign.Signer, store *storage.Store, js jetstream.JetStream,
) (*publisher.Publisher, error) {
	cfg := p.Config
	dir := filepath.Join(cfg.DataDir, "publisher")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the publisher's directory: %w", err)
	}
	return publisher.New(publisher.Options{
		Store: store, JS: js, Signer: signer, URL: cfg.RepositoriesURL(), Dir: dir, Jobs: cfg.Publisher.Jobs,
		Log: p.Log, Projects: cfg.Projects,
		Rules: func(project string) rpmflow.Publish {
			if project, ok := cfg.Project(project); ok {
				return project.Publish
			}
			return rpmflow.Publish{On: true} // one that this program does not know
		},
	})
}

// Open is a publisher for commands: it reads and changes repositories, and does not wait for builds. If away is nil, it
// does without NATS. Else it connects, and if that fails calls away and goes on without.
func Open(cfg *config.Config, log *slog.Logger, away func(error)) (*publisher.Publisher, func(), error) {
	p := Program{Config: cfg, Log: log}
	signer, err := p.signer(noKey)
	if errors.Is(err, errNoKey) { // not every command needs one, and another key would be of no use
		signer, err = nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	store, err := connect.Storage(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	closeAll := store.Close
	var js jetstream.JetStream
	if away != nil {
		access := connect.NATS(cfg, "rpmflow repo")
		access.Role = rpmflow.RolePublisher
		nc, connected, err := events.Dial(access, log)
		if err != nil {
			away(err)
		} else {
			js, closeAll = connected, func() { nc.Close(); store.Close() }
		}
	}
	pub, err := p.publisher(signer, store, js)
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return pub, closeAll, nil
}

func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
