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
)

// allowed is what an operator lets downloads connect to besides public addresses.
type allowed struct {
	hosts  []string // lower case
	ranges []netip.Prefix
	permit string   // as of Options
	doors  []string // host:port, lower case: what the operator has named himself
}

func parseAllowed(rules []string, permit string) (*allowed, error) {
	a := &allowed{permit: permit}
	for _, rule := range rules {
		host, addresses, err := rpmflow.ParseAddressRule(rule)
		if err != nil {
			return nil, err
		}
		if host != "" {
			a.hosts = append(a.hosts, host)
		} else {
			a.ranges = append(a.ranges, addresses)
		}
	}
	return a, nil
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
	if !slices.Contains(a.hosts, strings.ToLower(strings.TrimSuffix(host, "."))) && !slices.Contains(a.doors, strings.ToLower(address)) {
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
	if public(ip) || slices.ContainsFunc(a.ranges, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) || p.Contains(ip) }) {
		return nil
	}
	return rpmflow.Fail(rpmflow.FailureSource, "use a public server, or "+a.permit,
		"%s is at %s, which is not a public address: nothing is downloaded from there", host, ip)
}

// special are the IPv4 ranges that are not for everybody (IANA's registry of special-purpose addresses), and one that is public in
// form only.
func special() []netip.Prefix {
	var list []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
		"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"168.63.129.16/32", // the host's side of Azure's virtual machines
	} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

// special6 are ranges within IPv6's global unicast ones that are not public, or that lead into IPv4 unseen.
func special6() []netip.Prefix {
	var list []netip.Prefix
	for _, s := range []string{"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

// public reports whether an address is one of the internet's. What is not known to be so is not.
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	within := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	if ip.Is4() {
		return !within(special())
	}
	if nat64 := netip.MustParsePrefix("64:ff9b::/96"); nat64.Contains(ip) { // an IPv4 address in disguise
		b := ip.As16()
		return public(netip.AddrFrom4([4]byte(b[12:])))
	}
	return netip.MustParsePrefix("2000::/3").Contains(ip) && !within(special6())
}
