package events_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Log and readiness show that a password was changed while a program runs, and that the old one is valid again.
func TestPasswordChanged(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nats.conf")
	with := func(password string) {
		t.Helper()
		config := fmt.Sprintf("listen: \"127.0.0.1:-1\"\nauthorization { user: builder, password: %q }\n", password)
		testkit.Must(t, os.WriteFile(file, []byte(config), 0o600))
	}
	with(password)
	s := eventstest.Serve(t, file)
	var log testkit.Log
	nc, _, err := events.Dial(events.Access{URL: s.ClientURL(), User: "builder", Password: password, Name: "builder"},
		log.Logger())
	testkit.Must(t, err)
	defer nc.Close()
	if err := events.Connected(nc); err != nil {
		t.Error(err)
	}
	until := func(what string, is func(error) bool) {
		t.Helper()
		testkit.Until(t, func() error {
			err := events.Connected(nc)
			if is(err) {
				return nil
			}
			return fmt.Errorf("not %s: %v\n%s", what, err, &log)
		})
	}
	with("another")
	testkit.Must(t, s.Reload())
	until("refused", func(err error) bool {
		if err == nil {
			return false
		}
		_, do := hint.Split(err)
		return strings.Contains(do, "check the NATS user and its secret")
	})
	log.Until(t, "check nats.user (builder) and nats.password")
	with(password)
	testkit.Must(t, s.Reload())
	until("connected again", func(err error) bool { return err == nil })
}
