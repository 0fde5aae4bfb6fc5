package listener_test

import (
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/listener"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	type limits struct {
		authorized, quiet bool
		timeout           time.Duration
		drain             int64
	}
	of := func(g httpd.Group) limits { return limits{g.Authorize != nil, g.Quiet, g.Timeout, g.Drain} }
	o := listener.Options{RequestTimeout: time.Second, MaxBody: 10}
	for _, test := range []struct {
		route api.Route
		want  limits
	}{
		{api.Route{Access: api.Public}, limits{timeout: time.Second}},
		{api.Route{Access: api.Signed, Body: &api.Body{}}, limits{timeout: time.Second}},
		{api.Route{Access: api.Token}, limits{authorized: true, timeout: time.Second}},
		{api.Route{Access: api.Probe}, limits{quiet: true, timeout: time.Second}},
		{api.Route{Access: api.Public, Transfer: true}, limits{}},
		{api.Route{Access: api.Token, Transfer: true, Body: &api.Body{}}, limits{authorized: true, drain: 10}},
	} {
		if g, err := listener.Group(o, test.route); err != nil || of(g) != test.want {
			t.Errorf("%s: %+v, %v, want %+v", test.route.Access, of(g), err, test.want)
		}
	}
	for _, access := range []api.Access{"", "tokens"} {
		if _, err := listener.Group(o, api.Route{Name: "x", Access: access}); err == nil {
			t.Errorf("access %q: everybody may use the route", access)
		}
	}
}
