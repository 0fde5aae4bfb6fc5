package rpmflow

import (
	"fmt"
	"net/netip"
	"strings"
)

// ParseAddressRule reads one element of a list of servers: a range of addresses, an address, or a host's name, which is lower case then.
// The range is invalid (its zero value) for a host.
func ParseAddressRule(rule string) (host string, addresses netip.Prefix, err error) {
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
		return "", netip.Prefix{}, fmt.Errorf("%q is neither a host name nor an address nor a range such as 10.1.0.0/16", rule)
	}
	return host, netip.Prefix{}, nil
}
