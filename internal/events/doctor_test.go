package events_test

import (
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/events"
)

// Doctor asks with each program's own rights for what that program needs, and for nothing more.
func TestCheckWithAccounts(t *testing.T) {
	t.Parallel()
	s := serve(t, node(t)+withPasswords().Config())
	as(t, s, "listener", events.StreamSettings{}) // makes the streams
	for _, role := range []rpmflow.Role{rpmflow.RoleListener, rpmflow.RoleBuilder, rpmflow.RolePublisher} {
		a := events.Access{URL: s.ClientURL(), User: string(role), Password: password, Role: role,
			Streams: events.StreamSettings{Replicas: 1}}
		r := doctor.Examine(t.Context(), string(role), func() ([]doctor.Check, error) {
			return []doctor.Check{a.Check}, nil
		})
		for _, c := range r.Checks {
			if c.State != doctor.OK {
				t.Errorf("%s: %+v", role, c)
			}
		}
		if len(r.Checks) < 4 {
			t.Errorf("%s: %d checks", role, len(r.Checks))
		}
	}
}
