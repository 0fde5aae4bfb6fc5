package mock

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/docker/docker/api/types/versions"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// minAPI is Docker Engine 20.10's.
const minAPI = "1.41"

func refusesConnections(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// socketGroup says which group may open the socket.
func socketGroup(path string) string {
	do := "run the builder in the group that owns the socket"
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err == nil && st.Gid != 0 {
		return fmt.Sprintf("%s, %d (in a container: --group-add %d, in compose: group_add)", do, st.Gid, st.Gid)
	}
	return do + ", or give the socket to a group with more members than root (dockerd --group)"
}

// tlsCause sorts what goes wrong on the way to an engine behind TCP.
func tlsCause(err error, withTLS bool) (why error, do string) {
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return err, "the engine's certificate is not trusted for this name: put the certificate of its authority into ca.pem in builder.docker.cert_path, and use a name that is in the certificate"
	case strings.Contains(err.Error(), "remote error: tls:"): // alerts have no type of their own
		return err, "the engine does not take our certificate: put cert.pem and key.pem that its authority has signed into builder.docker.cert_path"
	case errors.Is(err, http.ErrSchemeMismatch), strings.Contains(err.Error(), "first record does not look like a TLS handshake"):
		return err, "the engine speaks no TLS there: use its port with TLS, or leave builder.docker.cert_path and DOCKER_CERT_PATH empty"
	case !withTLS && (strings.Contains(err.Error(), "HTTP request to an HTTPS server") || strings.Contains(err.Error(), "malformed HTTP response")):
		return err, "the engine wants TLS: set builder.docker.cert_path"
	case !withTLS && errors.Is(err, io.EOF):
		return err, "correct builder.docker.host, or set builder.docker.cert_path when the engine wants TLS there"
	case refusesConnections(err):
		return err, "start the engine, or correct builder.docker.host"
	}
	return err, "start it, or correct builder.docker.host"
}

// machines are the engine's names of the machines on which an architecture of RPM's runs. One that is not here runs on
// the machine of its own name.
func machines(arch string) []string {
	switch arch {
	case "i386", "i486", "i586", "i686":
		return []string{"i386", "i686", "x86_64"}
	case "x86_64_v2", "x86_64_v3", "x86_64_v4":
		return []string{"x86_64"}
	case "armv6hl", "armv7hl", "armhfp":
		return []string{"armv7l", "armv8l", "aarch64"}
	}
	return []string{arch}
}

// checkMachine says whether the engine can build for all architectures whose builds are taken.
func checkMachine(host, machine string, archs []string) error {
	for _, arch := range archs {
		fits := false
		for _, m := range machines(arch) {
			fits = fits || m == machine
		}
		if !fits {
			return hint.Add(fmt.Errorf("engine mock: Docker at %s runs on %s, and cannot build for %s", host, machine, arch),
				fmt.Sprintf("set builder.archs to %s, or builder.docker.host to an engine on %s", machine, arch))
		}
	}
	return nil
}

func checkAPI(host, version string) error {
	if version != "" && versions.LessThan(version, minAPI) {
		return hint.Add(fmt.Errorf("engine mock: Docker at %s speaks version %s of the API, which is too old", host, version), "install Docker Engine 20.10 or later (API "+minAPI+")")
	}
	return nil
}

// missingImage tells how to get a target's image.
func missingImage(t rpmflow.Target) error {
	get := "docker pull " + t.Image
	if t.Image == defaultImage {
		get = "docker build --tag " + t.Image + " deploy/images/mock, in the top directory of rpmflow's checkout (in deploy/compose: ../images/mock)"
	}
	return hint.Add(fmt.Errorf("image %s %w", t.Image, ErrNoImage),
		get+"; or docker load --input FILE with one that was saved elsewhere; or set the target's image")
}

// defaultImage has its recipe beside the source code.
const defaultImage = "rpmflow/mock:latest"

// ownSocket reports whether the engine may be on this machine.
func (w *way) ownSocket() bool {
	path, ok := strings.CutPrefix(w.host, "unix://")
	if !ok {
		return false
	}
	_, err := os.Stat(path)
	return err == nil
}
