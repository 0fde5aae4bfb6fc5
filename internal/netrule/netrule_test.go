package netrule_test

import (
	"net/netip"
	"testing"

	"github.com/rpmflow/rpmflow/internal/netrule"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestPublic(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "172.32.0.1", "100.128.0.1",
	} {
		if !netrule.Public(netip.MustParseAddr(address)) {
			t.Errorf("%s is not public", address)
		}
	}
	for _, address := range []string{
		"127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"169.254.169.254",
		"100.64.0.1", "100.100.100.200",
		"224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.2.1", "168.63.129.16",
		"::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "::ffff:127.0.0.1",
		"::ffff:10.0.0.1", "::127.0.0.1",
		"64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::", "2001:db8::1", "100::1",
	} {
		if netrule.Public(netip.MustParseAddr(address)) {
			t.Errorf("%s is public", address)
		}
	}
	if netrule.Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		address   string
		loopback  bool
		reachable string
	}{
		{"localhost:80", true, "localhost:80"}, {"127.0.0.1:80", true, "127.0.0.1:80"},
		{"127.1.2.3:80", true, "127.1.2.3:80"}, {"[::1]:80", true, "[::1]:80"},
		{"[::ffff:127.0.0.1]:80", true, "[::ffff:127.0.0.1]:80"},
		{":80", false, "127.0.0.1:80"}, {"0.0.0.0:80", false, "127.0.0.1:80"}, {"[::]:80", false, "127.0.0.1:80"},
		{"10.0.0.1:80", false, "10.0.0.1:80"}, {"host.example:80", false, "host.example:80"},
		{"localhost.example:80", false, "localhost.example:80"},
		{"localhost", false, "localhost"}, {"127.0.0.1", false, "127.0.0.1"}, {"", false, ""},
		{"/run/socket", false, "/run/socket"},
	} {
		if got := netrule.Loopback(tt.address); got != tt.loopback {
			t.Errorf("%s: loopback %t", tt.address, got)
		}
		if got := netrule.Reachable(tt.address); got != tt.reachable {
			t.Errorf("%s: reached as %s, want %s", tt.address, got, tt.reachable)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	r, err := netrule.Parse([]string{"Cache.Example.", "10.1.0.0/16", "::ffff:192.168.0.1", "fd00::/8"})
	testkit.Must(t, err)
	for host, want := range map[string]bool{"cache.example": true, "CACHE.example.": true, "example": false,
		"10.1.0.0": false} {
		if r.AllowsHost(host) != want {
			t.Errorf("%s: allowed %t", host, !want)
		}
	}
	for address, want := range map[string]bool{
		"8.8.8.8": true, "10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "192.168.0.1": true,
		"192.168.0.2": false, "fd12::1%eth0": true, "fe80::1": false,
	} {
		if r.Allows(netip.MustParseAddr(address)) != want {
			t.Errorf("%s: allowed %t", address, !want)
		}
	}
	if none := (netrule.Rules{}); none.AllowsHost("") || none.Allows(netip.MustParseAddr("10.1.2.3")) ||
		!none.Allows(netip.MustParseAddr("8.8.8.8")) {
		t.Error("no rules allow something else than public addresses")
	}
	for _, bad := range []string{"", ".", "a b", "10.1.0.0/33", "http://host", "host:80", "fe80::1%eth0", "*"} {
		if netrule.Check(bad) == nil {
			t.Errorf("%q is a rule", bad)
		}
		if _, err := netrule.Parse([]string{bad}); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
