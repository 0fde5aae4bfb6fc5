package ready_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/ready"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func notYet(w http.ResponseWriter, _ *http.Request) {
	httpd.Problemf(http.StatusServiceUnavailable, "wait for it", "NATS does not answer").Write(w)
}

func TestAsk(t *testing.T) {
	t.Parallel()
	is := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %s", r.URL)
		}
	})
	none := httptest.NewServer(http.NotFoundHandler())
	none.Close()
	for _, tt := range []struct {
		url, what, do string
		state         doctor.State
	}{
		{is, "", "", doctor.OK},
		{serve(t, notYet), "listener at URL is not ready: NATS does not answer", "wait for it", doctor.Failed},
		{serve(t, http.NotFound), "the server at URL answers 404 Not Found",
			"correct the address: that is not a listener", doctor.Failed},
		{none.URL, "listener at URL does not answer", "start it, or look into its log", doctor.Skipped},
		{"http://[", "listener at URL", "", doctor.Failed},
	} {
		err := ready.Ask(t.Context(), "listener", tt.url)
		what, do := "", ""
		if err != nil {
			what, do = hint.Split(err)
		}
		if !strings.HasPrefix(what, strings.Replace(tt.what, "URL", tt.url, 1)) || tt.what == "" && err != nil ||
			do != tt.do {
			t.Errorf("%s: %v, hint %q", tt.url, err, do)
		}
		for _, mayBeDown := range []bool{true, false} {
			want := tt.state
			if want == doctor.Skipped && !mayBeDown {
				want = doctor.Failed
			}
			report := doctor.Examine(t.Context(), "test", func() ([]doctor.Check, error) {
				return []doctor.Check{ready.Check("listener", tt.url, mayBeDown)}, nil
			})
			if len(report.Checks) != 1 || report.Checks[0].State != want {
				t.Errorf("%s, may be down %t: %+v, want %s", tt.url, mayBeDown, report, want)
			}
		}
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 {
			notYet(w, r)
		}
	})
	testkit.Must(t, ready.Wait(t.Context(), "listener", url))
	if asked.Load() != 3 {
		t.Errorf("asked %d times", asked.Load())
	}

	never := serve(t, notYet)
	given := errors.New("given up")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, given)
	defer cancel()
	if err := ready.Wait(ctx, "listener", never); !errors.Is(err, given) {
		t.Errorf("it never becomes ready: %v", err)
	}
}
