// Package up is `rpmflow up`: the whole system in one process tree, with NATS and S3 embedded.
//
// A checked configuration and a logger come in; a system that runs until its context ends, and the checks of all of it,
// go out. It is the one package that imports every program; the command rpmflow and tests import it.
package up

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/builderd"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/listenerd"
	"github.com/rpmflow/rpmflow/internal/publisherd"
	"github.com/rpmflow/rpmflow/internal/ready"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

// Program is the whole system. Its fields are set before Run.
type Program struct {
	Config     *config.Config
	Version    string
	Log        *slog.Logger
	HostReason string               // as builderd.Program has it
	Ready      func(*config.Config) // called once, with the configuration in effect, when everything runs
}

// Run runs NATS and S3, a listener, a builder and a publisher until ctx ends and the running builds with it. When hard
// ends, these are handed back at once. Children end with the process, however it ends.
func (p *Program) Run(ctx, hard context.Context) (err error) {
	cfg := p.Config
	lock, err := lockDir(cfg.DataDir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // nothing is written to it
	s, err := loadSecrets(filepath.Join(cfg.DataDir, "secrets.json"))
	if err != nil {
		return err
	}
	socket, err := listenerd.Listen(cfg)
	if err != nil {
		return err
	}
	queue, err := startNATS(natsserver.Options{
		Dir:    filepath.Join(cfg.DataDir, "nats"),
		Listen: defaultOrFree(cfg.Embedded.NATSListen, config.DefaultNATSListen),
		User:   "rpmflow", Password: s.NATSPassword, Sync: true, Logger: p.Log,
	})
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	defer queue.close()
	s3, err := gateway.Start(ctx, gateway.Options{
		Dir: filepath.Join(cfg.DataDir, "s3"), Listen: defaultOrFree(cfg.Embedded.S3Listen, config.DefaultS3Listen),
		AccessKey: s.S3AccessKey, SecretKey: s.S3SecretKey, Region: cfg.S3.Region, Bucket: cfg.S3.Bucket, Logger: p.Log,
	})
	if err != nil {
		return errors.Join(unlessStopped(ctx, err), socket.Close())
	}
	defer func() { err = errors.Join(err, s3.Close()) }()
	own, err := effective(cfg, s, queue.url, s3.Endpoint(), socket.Addr().String())
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	client := filepath.Join(cfg.DataDir, ClientFile)
	if err := writeClient(client, own); err != nil {
		return errors.Join(err, socket.Close())
	}
	defer func() { err = errors.Join(err, os.Remove(client)) }()
	return p.serve(ctx, hard, own, socket, queue, s3)
}

// effective is the configuration with the embedded servers in it.
func effective(cfg *config.Config, s secrets, natsURL, s3URL, address string) (*config.Config, error) {
	own := *cfg
	n := &own.NATS
	n.URLs, n.User, n.Password, n.Replicas = []string{natsURL}, "rpmflow", config.Secret(s.NATSPassword), 1
	n.Token, n.NKey, n.Credentials, n.CAFile, own.S3.CAFile = "", "", "", "", ""
	var err error
	if own.S3.Endpoint, err = url.Parse(s3URL); err != nil {
		return nil, fmt.Errorf("embedded S3: %w", err)
	}
	own.S3.AccessKey, own.S3.SecretKey = config.Secret(s.S3AccessKey), config.Secret(s.S3SecretKey)
	if cfg.PublicURL.Host == cfg.Listener.Listen { // port 0 is known only now
		own.PublicURL = &url.URL{Scheme: "http", Host: address}
	}
	return &own, nil
}

// serve runs the programs on the embedded servers.
func (p *Program) serve(
	ctx, hard context.Context, cfg *config.Config, socket net.Listener, queue *embeddedNATS, s3 *gateway.Gateway,
) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return queue.supervise(gctx) })
	// Running builds go on after the first signal, and can be watched until they are finished.
	lctx, stopListener := context.WithCancel(context.WithoutCancel(gctx))
	defer stopListener()
	g.Go(func() error {
		l := listenerd.Program{Config: cfg, Version: p.Version, Socket: socket, Log: p.Log}
		return l.Run(lctx)
	})
	g.Go(func() error {
		defer stopListener()
		b := builderd.Program{Config: cfg, Log: p.Log, HostReason: p.HostReason}
		return b.Run(gctx, hard)
	})
	g.Go(func() error {
		publisher := publisherd.Program{Config: cfg, Log: p.Log}
		return publisher.Run(gctx)
	})
	g.Go(func() error {
		select {
		case <-gctx.Done():
			return nil
		case <-s3.Done():
			return fmt.Errorf("the embedded S3 ended by itself: %w", s3.Err())
		}
	})
	g.Go(func() error {
		err := ready.Wait(gctx, string(config.ForListener), config.LocalURL(socket.Addr().String()).String())
		if err != nil {
			return unlessStopped(gctx, err)
		}
		p.Ready(cfg)
		return nil
	})
	return g.Wait()
}

// unlessStopped drops an error that only follows from the program's own end.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// defaultOrFree is where an embedded server listens. The default address was not chosen, so a free port replaces it
// when it is in use.
func defaultOrFree(address, standard string) string {
	if address != standard {
		return address
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, unix.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(standard) // a constant
		return net.JoinHostPort(host, "0")
	}
	if err == nil {
		_ = l.Close() // it was opened only to see whether it is free
	}
	return address
}
