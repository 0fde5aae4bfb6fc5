package listenerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/ready"
)

// Listen opens the listener's socket. Its error says who uses the address, and which one is free.
func Listen(cfg *config.Config) (net.Listener, error) {
	address := cfg.Listener.Listen
	socket, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return socket, nil
	case errors.Is(err, unix.EADDRINUSE):
		return nil, hint.Add(fmt.Errorf("listener: %s is in use by %s", address, userOf(address)),
			"stop that, or take another address with --listen, RPMFLOW_LISTENER_LISTEN or listener.listen"+
				freeNear(address))
	}
	return nil, hint.Add(fmt.Errorf("listen on %s: %w", address, err),
		"set listener.listen to an address of this machine")
}

// userOf returns what answers at an address of this machine that is in use.
func userOf(address string) string {
	url := config.LocalURL(address).String()
	if err := ready.Ask(context.Background(), string(config.ForListener), strings.TrimRight(url, "/")); err == nil {
		return "another rpmflow, which answers at " + url
	}
	return "another program"
}

// freeNear names a free port, as the end of a message.
func freeNear(address string) string {
	host, port, err := net.SplitHostPort(address)
	n, nerr := strconv.Atoi(port)
	if err != nil || nerr != nil {
		return ""
	}
	for p := n + 1; p < min(n+100, 1<<16); p++ {
		near := net.JoinHostPort(host, strconv.Itoa(p))
		if l, err := net.Listen("tcp", near); err == nil {
			_ = l.Close() // it was opened only to see whether it is free
			return ": " + near + " is free"
		}
	}
	return ""
}
