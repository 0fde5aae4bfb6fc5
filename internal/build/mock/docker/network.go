package docker

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/docker/docker/api/types/network"
)

// LocalAddress is the address of this machine, or of the container that this program runs in, at which containers in a
// network of the engine reach it.
func (c *Client) LocalAddress(ctx context.Context, name string) (string, error) {
	if !strings.HasPrefix(c.conn.host, "unix://") {
		return "", fmt.Errorf("the engine at %s is another machine", c.conn.host)
	}
	ctx, cancel := context.WithTimeout(ctx, CallWait)
	defer cancel()
	info, err := c.api.NetworkInspect(ctx, name, network.InspectOptions{})
	if err != nil {
		return "", failed(err, "network %s", name)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("addresses of this machine: %w", err)
	}
	for _, part := range info.IPAM.Config {
		subnet, err := netip.ParsePrefix(part.Subnet)
		if err != nil || !subnet.Addr().Is4() {
			continue
		}
		for _, a := range addresses {
			own, err := netip.ParsePrefix(a.String())
			if err == nil && subnet.Contains(own.Addr()) {
				return own.Addr().String(), nil
			}
		}
	}
	return "", fmt.Errorf("this machine has no address in the engine's network %s", name)
}
