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

// allowed is what an operator lets downloads connect to besides public addresses.
type allowed struct {
	rules  netrule.Rules
	permit string   // as of Options
	doors  []string // host:port, lower case: what the operator has named himself
}

func parseAllowed(rules []string, permit string) (*allowed, error) {
	parsed, err := netrule.Parse(rules)
	return &allowed{rules: parsed, permit: permit}, err
}

// dial connects to a public address, or to what is allowed. The address is looked at when it is connected to, after the name was
// resolved, so that no second answer of a name server can slip in.
func (a *allowed) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return a.dialAs(ctx, host, network, address)
}

// dialAs connects to the address for somebody who asked for the host.
func (a *allowed) dialAs(ctx context.Context, host, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	if !a.rules.AllowsHost(host) && !slices.Contains(a.doors, strings.ToLower(address)) {
		d.ControlContext = func(_ context.Context, network, address string, _ syscall.RawConn) error {
			return a.check(host, network, address)
		}
	}
	conn, err := d.DialContext(ctx, network, address)
	var refused *rpmflow.Failure
	if errors.As(err, &refused) {
		return nil, refused
	}
	return conn, err
}

func (a *allowed) check(host, network, address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return fmt.Errorf("connecting to %s by %s: not an internet address", address, network)
	}
	ip := at.Addr().WithZone("")
	if a.rules.Allows(ip) {
		return nil
	}
	return rpmflow.Fail(rpmflow.FailureSource, "use a public server, or "+a.permit,
		"%s is at %s, which is not a public address: nothing is downloaded from there", host, ip)
}
