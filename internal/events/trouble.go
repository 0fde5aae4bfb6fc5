package events

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/rpmflow/rpmflow/internal/hint"
)

// Connected says whether the connection is there now and, if not, why and what to do.
func Connected(nc *nats.Conn) error {
	if nc.IsConnected() {
		return nil
	}
	err := nc.LastError()
	switch {
	case err == nil:
		return hint.Add(fmt.Errorf("NATS is not connected: %s", nc.Status()), "check the NATS server and nats.url")
	case refused(err):
		return hint.Add(fmt.Errorf("NATS is not connected: %w", err), "check the NATS user and its secret: the server does not take them (any more)")
	}
	return hint.Add(fmt.Errorf("NATS is not connected: %w", err), "check the NATS server and nats.url")
}

// Denied says what this user may not do, of an error with which the server has refused it; any other error it gives back.
func (a Access) Denied(err error) error {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return err
	}
	verb, subject := violation(err)
	return hint.Add(fmt.Errorf("the NATS user %s may not %s %s", a.who(), verb, subject), "use the accounts of `rpmflow config nats`")
}
