package docker

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/docker/docker/client"

	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// connection is how the engine's API is reached: a socket, TCP with or without TLS, or ssh. It dials itself, because
// the client does not keep why a connection failed.
type connection struct {
	host string // as it was configured
	opts []client.Opt
	dial func(ctx context.Context) (net.Conn, error)
	tls  bool

	mu     sync.Mutex
	failed error                 // of the last attempt to connect
	ssh    map[*sshConn]struct{} // open
}

const dialWait = 10 * time.Second

// newConnection decides how to reach host; an empty one is what the environment says, as for the docker command.
func newConnection(host, certPath string, env func(string) string) (*connection, error) {
	from := "builder.docker.host"
	if host == "" {
		host, from = env("DOCKER_HOST"), "DOCKER_HOST"
	}
	if host == "" {
		host = client.DefaultDockerHost
	}
	if certPath == "" {
		certPath = env("DOCKER_CERT_PATH")
	}
	c := &connection{host: host, opts: []client.Opt{client.WithHost(host)}, ssh: map[*sshConn]struct{}{}}
	bad := func(why string) (*connection, error) {
		return nil, hint.Add(fmt.Errorf("%s: %q %s", from, giturl.Redact(host), why),
			"write unix:///path/of/the.sock, tcp://host:2376 with TLS in builder.docker.cert_path, or ssh://user@host")
	}
	u, err := url.Parse(host)
	if err != nil {
		return bad("is not a URL")
	}
	dialer := net.Dialer{Timeout: dialWait, KeepAlive: 15 * time.Second}
	switch u.Scheme {
	case "unix":
		c.dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "unix", u.Path) }
	case "tcp", "http", "https":
		if u.Port() == "" {
			return bad("has no port")
		}
		c.dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", u.Host) }
		if err := c.secure(u.Scheme, certPath); err != nil {
			return nil, err
		}
	case "ssh":
		args, err := sshArgs(host)
		if err != nil {
			return bad(err.Error())
		}
		c.opts = []client.Opt{client.WithHost("tcp://engine.invalid:2375")} // a name for HTTP's Host, never resolved
		c.dial = func(ctx context.Context) (net.Conn, error) { return c.dialSSH(ctx, args) }
	default:
		return bad("has an unknown scheme")
	}
	c.opts = append(c.opts, client.WithDialContext(c.connect), client.WithVersionFromEnv(),
		client.WithAPIVersionNegotiation())
	return c, nil
}

// secure sets up TLS. Both sides show a certificate, and the engine's is always verified, DOCKER_TLS_VERIFY has no
// effect.
func (c *connection) secure(scheme, certPath string) error {
	if certPath == "" {
		c.tls = scheme == "https"
		return nil
	}
	path := func(name string) string { return filepath.Join(certPath, name) }
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		f, err := os.Open(path(name))
		if err != nil {
			return hint.Add(fmt.Errorf("TLS for Docker at %s: %w", c.host, err),
				"put ca.pem, cert.pem and key.pem there, readable for the builder, or set builder.docker.cert_path")
		}
		_ = f.Close()
	}
	c.tls = true
	c.opts = append(c.opts, client.WithTLSClientConfig(path("ca.pem"), path("cert.pem"), path("key.pem")))
	return nil
}

func (c *connection) connect(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := c.dial(ctx)
	c.note(err)
	return conn, err
}

// note keeps why the last attempt to connect failed; nil: it did not.
func (c *connection) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = err
}

// close closes what the client has left open.
func (c *connection) close() {
	c.mu.Lock()
	open := slices.Collect(maps.Keys(c.ssh))
	c.mu.Unlock()
	for _, s := range open {
		_ = s.Close() // the process has ended, which is all that counts
	}
}
