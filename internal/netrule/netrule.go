// Package netrule decides which servers may be connected to: those with public addresses, and those that an operator
// allows. It also has the rule which addresses are this machine's own.
//
// Rules as configured and addresses come in; yes or no, or what is wrong with a rule, goes out. Who connects must
// ask with the address that the connection is made to, not with a name. It imports nothing of ours, and every package
// may import it.
package netrule

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Rules are servers that are allowed besides those with public addresses.
type Rules struct {
	hosts  []string // lower case
	ranges []netip.Prefix
}

// Parse reads rules: names of hosts, addresses and ranges of addresses.
func Parse(rules []string) (Rules, error) {
	var r Rules
	for _, rule := range rules {
		host, addresses, err := parse(rule)
		if err != nil {
			return Rules{}, err
		}
		if host != "" {
			r.hosts = append(r.hosts, host)
		} else {
			r.ranges = append(r.ranges, addresses)
		}
	}
	return r, nil
}

// Check returns what is wrong with a rule.
func Check(rule string) error {
	_, _, err := parse(rule)
	return err
}

// AllowsHost reports whether a host is allowed by its name, with any address.
func (r Rules) AllowsHost(host string) bool {
	return slices.Contains(r.hosts, strings.ToLower(strings.TrimSuffix(host, ".")))
}

// Allows reports whether an address is public or in one of the ranges.
func (r Rules) Allows(ip netip.Addr) bool {
	ip = ip.WithZone("")
	return Public(ip) || slices.ContainsFunc(r.ranges, func(p netip.Prefix) bool {
		return p.Contains(ip.Unmap()) ||
			p.Contains(ip)
	})
}

func parse(rule string) (host string, addresses netip.Prefix, err error) {
	if p, err := netip.ParsePrefix(rule); err == nil {
		return "", p.Masked(), nil
	}
	if ip, err := netip.ParseAddr(rule); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return "", netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	host = strings.ToLower(strings.TrimSuffix(rule, "."))
	if host == "" || strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}) {
		return "", netip.Prefix{}, fmt.Errorf("%q is neither a host name nor an address nor a range such as "+
			"10.1.0.0/16",
			rule)
	}
	return host, netip.Prefix{}, nil
}

// special4 are the IPv4 ranges that are not public (IANA's registry of special-purpose addresses), and one that is
// public in form only.
func special4() []netip.Prefix {
	return prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
		"192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4",
		"240.0.0.0/4", "168.63.129.16/32") // the last is the host's side of Azure's virtual machines
}

// special6 are ranges within IPv6's global unicast addresses that are not public, or that lead to IPv4 addresses.
func special6() []netip.Prefix {
	return prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

// Public reports whether an address is a public one of the internet. An unknown range is not public.
func Public(ip netip.Addr) bool {
	ip = ip.Unmap()
	within := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	if ip.Is4() {
		return !within(special4())
	}
	if nat64 := netip.MustParsePrefix("64:ff9b::/96"); nat64.Contains(ip) { // an IPv4 address written as IPv6
		b := ip.As16()
		return Public(netip.AddrFrom4([4]byte(b[12:])))
	}
	return netip.MustParsePrefix("2000::/3").Contains(ip) && !within(special6())
}

// Loopback reports whether an address, host:port, is one that only this machine reaches, or its local name.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip, _ := netip.ParseAddr(host) // a name is the zero address
	return err == nil && (host == "localhost" || ip.Unmap().IsLoopback())
}

// Reachable is the address under which this machine reaches what listens on one, both as host:port.
func Reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	ip, _ := netip.ParseAddr(host)
	if err == nil && (host == "" || ip.Unmap().IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}
