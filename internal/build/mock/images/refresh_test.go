package images

import (
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
)

func TestRefresherForgets(t *testing.T) {
	t.Parallel()
	r := NewRefresher(time.Hour, nil, nil)
	r.Used(rpmflow.Target{Name: "a"}, rpmflow.Options{})
	if n := len(r.lately()); n != 1 {
		t.Errorf("%d targets were used lately", n)
	}
	var key string
	for key = range r.lately() {
	}
	if !r.changed(key, true) || r.changed(key, true) || !r.changed(key, false) {
		t.Error("only a change is reported")
	}
	r.period = 0
	if n := len(r.lately()); n != 0 || r.changed(key, true) {
		t.Errorf("%d targets are remembered", n)
	}
}
