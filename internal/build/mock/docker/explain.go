package docker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/hint"
)

// explain returns why the engine does not answer, and what to do.
func (c *connection) explain(err error) error {
	c.mu.Lock()
	if c.failed != nil && !errors.Is(err, context.Canceled) {
		err = c.failed
	}
	c.mu.Unlock()
	why, do := c.reason(err)
	return hint.Add(fmt.Errorf("the Docker engine at %s does not answer: %w", c.host, why), do)
}

func isSocketFile(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().Type() == fs.ModeSocket // one that cannot be examined may be a socket
}

// reason returns the error to show, and what to do about it.
func (c *connection) reason(err error) (why error, do string) {
	path, isSocket := strings.CutPrefix(c.host, "unix://")
	var refused *sshError
	switch {
	case errors.As(err, &refused):
		return refused, refused.advice()
	case isSocket && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no socket %s", path),
			fmt.Sprintf("start the engine, mount its socket if the builder runs in a container (--volume %s:%s), or "+
				"set builder.docker.host",
				path, path)
	case isSocket && !isSocketFile(path): // Docker makes a directory if a file that it mounts does not exist
		return fmt.Errorf("%s is not a socket", path),
			"mount the engine's own socket there (in compose DOCKER_SOCKET names it), or set builder.docker.host"
	case isSocket && errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("user %d may not open the socket %s", os.Getuid(), path), socketGroup(path)
	case isSocket && refusesConnections(err):
		return fmt.Errorf("no engine listens on the socket %s", path), "start the engine (systemctl start docker)"
	}
	return tcpReason(err, c.tls)
}

func refusesConnections(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// socketGroup returns which group may open the socket.
func socketGroup(path string) string {
	do := "run the builder in the group that owns the socket"
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err == nil && st.Gid != 0 {
		return fmt.Sprintf("%s, %d (in a container: --group-add %d, in compose: group_add)", do, st.Gid, st.Gid)
	}
	return do + ", or give the socket to a group with more members than root (dockerd --group)"
}

// tcpReason is reason for an engine behind TCP.
func tcpReason(err error, withTLS bool) (why error, do string) {
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return err, "the engine's certificate is not trusted for this name: put the certificate of its authority " +
			"into ca.pem in builder.docker.cert_path, and use a name that is in the certificate"
	case strings.Contains(err.Error(), "remote error: tls:"): // alerts have no type of their own
		return err, "the engine does not accept our certificate: put cert.pem and key.pem that its authority has " +
			"signed into builder.docker.cert_path"
	case errors.Is(err, http.ErrSchemeMismatch), strings.Contains(err.Error(),
		"first record does not look like a TLS handshake"):
		return err, "the engine does not use TLS on this port: use its port with TLS, or leave " +
			"builder.docker.cert_path and DOCKER_CERT_PATH empty"
	case !withTLS && (strings.Contains(err.Error(), "HTTP request to an HTTPS server") ||
		strings.Contains(err.Error(), "malformed HTTP response")):
		return err, "the engine requires TLS: set builder.docker.cert_path"
	case !withTLS && errors.Is(err, io.EOF):
		return err, "correct builder.docker.host, or set builder.docker.cert_path if the engine requires TLS there"
	case refusesConnections(err):
		return err, "start the engine, or correct builder.docker.host"
	}
	return err, "start it, or correct builder.docker.host"
}
