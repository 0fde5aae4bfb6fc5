package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestRefused has the client's user as the one who reads: the hint is a setting of the command, not of HTTP.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		want   []string
	}{
		{http.StatusUnauthorized, []string{"the token is missing: set RPMFLOW_LISTENER_TOKEN", "listener.token_file",
			"LISTENER_TOKEN in its .env"}},
		{http.StatusForbidden, []string{"the token is missing: set listener.token where http://127.0.0.1:",
			"RPMFLOW_LISTENER_TOKEN"}},
		{http.StatusNotFound, []string{"the token is missing: send it as Authorization"}},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(test.status)
			fmt.Fprint(w, `{"error": "the token is missing", "hint": "send it as Authorization: Bearer …"}`)
		}))
		defer s.Close()
		c := api.NewClient(s.URL, "")
		c.Explain = explain(s.URL)
		_, err := c.Build(t.Context(), "x")
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d: %v, want %q", test.status, err, want)
			}
		}
	}
}

// An empty variable is not taken for a path.
func TestBuildIDs(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"show", ""}, {"logs", ""}, {"retry", ""}, {"cancel", "9be5ef82", ".."}} {
		cmd, rest, err := command().Find(args)
		testkit.Must(t, err)
		if err := cmd.Args(cmd, rest); err == nil || !strings.Contains(err.Error(), "is not a build id") {
			t.Errorf("%q: %v", args, err)
		}
	}
	if err := buildIDs(nil, []string{"9be5ef82"}); err != nil {
		t.Error(err)
	}
}
