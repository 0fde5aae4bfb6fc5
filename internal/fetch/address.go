package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/netrule"
)

// dialer connects to public addresses and to what is allowed besides.
type dialer struct {
	rules   netrule.Rules
	permit  string   // as in Advice
	servers []string // host:port in small letters: those that the operator has named
}

// dial connects to a server. The address is checked when it is connected to, after the name was resolved, so that a
// second answer of a name server cannot replace it.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return d.dialAs(ctx, host, network, address)
}

// dialAs connects to the address for a request that names the host.
func (d *dialer) dialAs(ctx context.Context, host, network, address string) (net.Conn, error) {
	plain := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	if !d.rules.AllowsHost(host) && !slices.Contains(d.servers, strings.ToLower(address)) {
		plain.ControlContext = func(_ context.Context, network, address string, _ syscall.RawConn) error {
			return d.check(host, network, address)
		}
	}
	conn, err := plain.DialContext(ctx, network, address)
	var refused *rpmflow.Failure
	if errors.As(err, &refused) {
		return nil, refused
	}
	return conn, err
}

func (d *dialer) check(host, network, address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return fmt.Errorf("connecting to %s by %s: not an internet address", address, network)
	}
	if ip := at.Addr().WithZone(""); !d.rules.Allows(ip) {
		return rpmflow.Fail(rpmflow.FailureSource, "use a public server, or "+d.permit,
			"%s is at %s, which is not a public address: nothing is downloaded from there", host, ip)
	}
	return nil
}
