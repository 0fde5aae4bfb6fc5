package listener

import (
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/httpd"
)

// UntilFinished is what ends a stream of a live log.
var UntilFinished = untilFinished

// Group gives who may use a route, and its limits.
func Group(o Options, r api.Route) (httpd.Group, error) { return (&Listener{o: o}).group(r) }
