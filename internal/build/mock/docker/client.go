// Package docker is the transport to a container engine: Docker's API over a socket, TCP with or without TLS, or ssh.
//
// Calls come in: make, run, copy into and out of, watch and remove containers, images and volumes; what the engine
// answers goes out, and when it does not answer, why and what to do. The engine mock and its shared images import it;
// it is independent of mock and builds, and no other package imports the client of Docker.
package docker

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"

	"github.com/rpmflow/rpmflow/internal/hint"
)

// How long calls may take.
const (
	CallWait   = 30 * time.Second // a short one
	CommitWait = 10 * time.Minute // a commit
	createWait = 2 * time.Minute  // the engine makes a container's volumes, and is busy with others
)

// minAPI is Docker Engine 20.10's.
const minAPI = "1.41"

// Client uses one engine.
type Client struct {
	conn    *connection
	api     *client.Client
	disk    *disk
	noQuota atomic.Bool            // the storage driver has refused a quota
	root    atomic.Pointer[string] // the engine's own directory, once it is known
}

// New makes a client of the engine at host; nothing is called yet. Without host or certPath the environment decides, as
// for the docker command (DOCKER_HOST, DOCKER_CERT_PATH). certPath is the directory of ca.pem, cert.pem and key.pem.
func New(host, certPath string) (*Client, error) {
	conn, err := newConnection(host, certPath, os.Getenv)
	if err != nil {
		return nil, err
	}
	api, err := client.NewClientWithOpts(conn.opts...)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("client for Docker at %s: %w", conn.host, err),
			"correct builder.docker.host or DOCKER_HOST, and builder.docker.cert_path")
	}
	c := &Client{conn: conn, api: api}
	c.disk = &disk{size: c.size, free: c.free, every: diskEvery}
	return c, nil
}

// Close frees the connections.
func (c *Client) Close() error {
	err := c.api.Close()
	c.conn.close()
	return err
}

// Host is where the engine is, as it was configured.
func (c *Client) Host() string { return c.conn.host }

// Ping reports whether the engine answers and speaks a version of the API that is recent enough.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, CallWait)
	defer cancel()
	c.conn.note(nil)
	ping, err := c.api.Ping(ctx)
	if err != nil {
		return c.conn.explain(err)
	}
	return checkAPI(c.conn.host, ping.APIVersion)
}

func checkAPI(host, version string) error {
	if version != "" && versions.LessThan(version, minAPI) {
		return hint.Add(
			fmt.Errorf("the engine at %s speaks version %s of Docker's API, which is too old", host, version),
			"install Docker Engine 20.10 or later (API "+minAPI+")")
	}
	return nil
}

// Facts is what an engine says about itself.
type Facts struct {
	Host           string
	Version        string
	API            string // the version in use
	Machine        string // as uname has it
	Storage        string // driver
	Cgroup         string // version
	UserNamespaces bool   // a container's root is an unprivileged user of the host
	Plain          bool   // reached over the network without TLS
	Free           int64  // bytes on the engine's disk; -1: unknown
}

// info asks the engine about itself.
func (c *Client) info(ctx context.Context) (system.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, CallWait)
	defer cancel()
	c.conn.note(nil)
	info, err := c.api.Info(ctx)
	if err != nil {
		return info, c.conn.explain(err)
	}
	c.root.Store(&info.DockerRootDir)
	return info, nil
}

// Facts asks the engine about itself.
func (c *Client) Facts(ctx context.Context) (Facts, error) {
	info, err := c.info(ctx)
	if err != nil {
		return Facts{}, err
	}
	f := Facts{
		Host: c.conn.host, Version: info.ServerVersion, API: c.api.ClientVersion(), Machine: info.Architecture,
		Storage: info.Driver, Cgroup: info.CgroupVersion, Free: -1,
		UserNamespaces: slices.ContainsFunc(info.SecurityOptions, func(o string) bool {
			return strings.Contains(o, "name=userns") || strings.Contains(o, "name=rootless")
		}),
	}
	if u, err := url.Parse(c.conn.host); err == nil && u.Host != "" {
		f.Plain = u.Scheme != "ssh" && !c.conn.tls
	}
	if s, known := c.free(ctx); known {
		f.Free = s.free
	}
	return f, nil
}

// Disk names a directory on the disk of containers and images if the engine is on this machine; otherwise it is empty.
func (c *Client) Disk(ctx context.Context) (string, error) {
	if !strings.HasPrefix(c.conn.host, "unix://") {
		return "", nil
	}
	if root := c.root.Load(); root != nil { // it does not change
		return *root, nil
	}
	info, err := c.info(ctx)
	return info.DockerRootDir, err
}

// failed says of an error of the engine what was tried; nil stays nil.
func failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("docker: "+format+": %w", append(args, err)...)
}

// unlessGone is nil instead of the error that something is gone, or that another program is removing it.
func unlessGone(err error) error {
	if IsNotFound(err) || IsConflict(err) {
		return nil
	}
	return err
}

// IsNotFound reports whether the engine does not have what a call named.
func IsNotFound(err error) bool { return errdefs.IsNotFound(err) }

// IsConflict reports whether a name is taken, or what a call names is in use.
func IsConflict(err error) bool { return errdefs.IsConflict(err) }
