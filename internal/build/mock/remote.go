package mock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/client"

	"github.com/rpmflow/rpmflow/internal/hint"
)

// way is how the engine's API is reached: a socket, TCP with or without TLS, or ssh. It dials itself, because the client
// forgets why a connection failed.
type way struct {
	host string // as it was configured
	opts []client.Opt
	dial func(ctx context.Context) (net.Conn, error)
	tls  bool

	mu     sync.Mutex
	failed error                 // of the last attempt to connect
	ssh    map[*sshConn]struct{} // that live
}

const dialWait = 10 * time.Second

// newWay decides how to reach host; an empty one is what the environment says, as for the docker command.
func newWay(host, certPath string, env func(string) string) (*way, error) {
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
	w := &way{host: host, opts: []client.Opt{client.WithHost(host)}, ssh: map[*sshConn]struct{}{}}
	bad := func(why string) (*way, error) {
		return nil, hint.Add(fmt.Errorf("engine mock: %s: %q %s", from, host, why),
			"write unix:///path/of/the.sock, tcp://host:2376 with TLS in builder.docker.cert_path, or ssh://user@host")
	}
	u, err := url.Parse(host)
	if err != nil {
		return bad("is not a URL")
	}
	dialer := net.Dialer{Timeout: dialWait, KeepAlive: 15 * time.Second}
	switch u.Scheme {
	case "unix":
		w.dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "unix", u.Path) }
	case "tcp", "http", "https":
		if u.Port() == "" {
			return bad("has no port")
		}
		w.dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", u.Host) }
		if err := w.secure(u.Scheme, certPath); err != nil {
			return nil, err
		}
	case "ssh":
		args, err := sshArgs(u)
		if err != nil {
			return bad(err.Error())
		}
		w.opts = []client.Opt{client.WithHost("tcp://engine.invalid:2375")} // a name for HTTP's Host, nobody looks it up
		w.dial = func(ctx context.Context) (net.Conn, error) { return w.dialSSH(ctx, args) }
	default:
		return bad("has an unknown scheme")
	}
	w.opts = append(w.opts, client.WithDialContext(w.connect), client.WithVersionFromEnv(), client.WithAPIVersionNegotiation())
	return w, nil
}

// secure sets TLS up. Both sides show a certificate, and ours is never left unchecked: DOCKER_TLS_VERIFY is not asked.
func (w *way) secure(scheme, certPath string) error {
	if certPath == "" {
		w.tls = scheme == "https"
		return nil
	}
	path := func(name string) string { return filepath.Join(certPath, name) }
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		f, err := os.Open(path(name))
		if err != nil {
			return hint.Add(fmt.Errorf("engine mock: TLS for Docker at %s: %w", w.host, err), "put ca.pem, cert.pem and key.pem there, readable for the builder, or set builder.docker.cert_path")
		}
		_ = f.Close()
	}
	w.tls = true
	w.opts = append(w.opts, client.WithTLSClientConfig(path("ca.pem"), path("cert.pem"), path("key.pem")))
	return nil
}

func (w *way) connect(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := w.dial(ctx)
	w.note(err)
	return conn, err
}

func (w *way) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = err
}

// close ends what the client has left open.
func (w *way) close() {
	w.mu.Lock()
	open := make([]*sshConn, 0, len(w.ssh))
	for c := range w.ssh {
		open = append(open, c)
	}
	w.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // it tells nothing that anybody could use
	}
}

// explain says why the engine does not answer, and what to do.
func (w *way) explain(err error) error {
	w.mu.Lock()
	if w.failed != nil && !errors.Is(err, context.Canceled) {
		err = w.failed
	}
	w.mu.Unlock()
	why, do := w.cause(err)
	return hint.Add(fmt.Errorf("engine mock: Docker at %s does not answer: %w", w.host, why), do)
}

func isSocketFile(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().Type() == fs.ModeSocket // what cannot be looked at may be one
}

func (w *way) cause(err error) (why error, do string) {
	path, isSocket := strings.CutPrefix(w.host, "unix://")
	var refused *sshError
	switch {
	case errors.As(err, &refused):
		return refused, refused.advice()
	case isSocket && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no socket %s", path),
			fmt.Sprintf("start the engine, mount its socket when the builder runs in a container (--volume %s:%s), or set builder.docker.host", path, path)
	case isSocket && !isSocketFile(path): // Docker makes a directory of what it is to mount and does not find
		return fmt.Errorf("%s is no socket", path), "mount the engine's own socket there (in compose DOCKER_SOCKET names it), or set builder.docker.host"
	case isSocket && errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("user %d may not open the socket %s", os.Getuid(), path), socketGroup(path)
	case isSocket && refusesConnections(err):
		return fmt.Errorf("nobody listens on the socket %s", path), "start the engine (systemctl start docker)"
	}
	return tlsCause(err, w.tls)
}
