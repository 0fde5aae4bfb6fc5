package docker

import (
	"net"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/build/mock/mocktest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestLocalAddress has a container connect to this machine at the address that it is to use.
func TestLocalAddress(t *testing.T) {
	t.Parallel()
	image := testkit.Standin(t)
	c := open(t, "", "")
	address, err := c.LocalAddress(t.Context(), "bridge")
	testkit.Must(t, err)
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	testkit.Must(t, err)
	testkit.Serve(t, l, func(conn net.Conn) { _, _ = conn.Write([]byte("reached")) })
	host, port, _ := net.SplitHostPort(l.Addr().String())
	out := mocktest.Docker(t, "run", "--rm", image, "python3", "-c",
		"import socket; print(socket.create_connection(('"+host+"', "+port+")).recv(100).decode())")
	if out != "reached" {
		t.Errorf("the container gets %q", out)
	}
	for _, name := range []string{"none", "nosuch"} {
		if address, err := c.LocalAddress(t.Context(), name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("network %s: %q %v", name, address, err)
		}
	}
	if _, err := open(t, "tcp://192.0.2.1:2375", "").LocalAddress(t.Context(), "bridge"); err == nil {
		t.Error("an engine on another machine")
	}
}
