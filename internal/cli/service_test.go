package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/builderd"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/doctor"
)

// command runs a program's command line.
func command(t *testing.T, program config.Program, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := cli.Service{
		Program: program, Short: "x", Long: "x", Sections: []string{"", "log", "nats", "s3", string(program)},
		Run: func(context.Context, context.Context, *config.Config, *slog.Logger) error {
			t.Error("the program itself was started")
			return nil
		},
		Address: func(cfg *config.Config) (string, error) {
			if program == config.ForBuilder {
				return builderd.StatusAddress(cfg)
			}
			return cfg.Listener.Listen, nil
		},
		Checks: func(*config.Config) []doctor.Check { return nil },
	}.Command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// Health finds the program on its machine by its own configuration, and needs none of the secrets in it.
func TestHealth(t *testing.T) {
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	well := true
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		if !well {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":"the disk is full","hint":"free some space"}`)
		}
	}))
	defer s.Close()
	address := strings.TrimPrefix(s.URL, "http://127.0.0.1") // every interface
	t.Setenv("RPMFLOW_CONFIG", "")
	t.Setenv("RPMFLOW_LISTENER_LISTEN", address)
	t.Setenv("RPMFLOW_BUILDER_STATUS_LISTEN", address)
	t.Setenv("RPMFLOW_NATS_USER", "x")
	t.Setenv("RPMFLOW_NATS_PASSWORD_FILE", "/nonexistent/secret")
	t.Setenv("RPMFLOW_S3_SECRET_KEY_ENV", "NOT_THERE")
	for _, program := range []config.Program{config.ForListener, config.ForBuilder} {
		well = true
		if out, err := command(t, program, "health"); err != nil || out != "" {
			t.Errorf("%s: %q, %v", program, out, err)
		}
		well = false
		if _, err := command(t, program, "health"); err == nil || !strings.HasSuffix(err.Error(),
			"is not ready: the disk is full: free some space") {
			t.Errorf("%s: %v", program, err)
		}
	}
	t.Setenv("RPMFLOW_BUILDER_STATUS_LISTEN", "")
	if _, err := command(t, config.ForBuilder, "health"); err == nil || !strings.Contains(err.Error(),
		"builder.status_listen is empty") {
		t.Error(err)
	}
	s.Close()
	if _, err := command(t, config.ForListener, "health"); err == nil ||
		!strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
}

// A configuration that cannot be read is a finding like others.
func TestDoctor(t *testing.T) {
	t.Setenv("RPMFLOW_CONFIG", "")
	t.Setenv("RPMFLOW_NATS_ULR", "x")
	out, err := command(t, config.ForListener, "doctor", "--json")
	if err == nil {
		t.Error("all is well")
	}
	var r struct {
		OK     bool
		Checks []struct{ Name, State, Found string }
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.OK || len(r.Checks) != 1 ||
		r.Checks[0].State != "failed" ||
		!strings.Contains(r.Checks[0].Found, "RPMFLOW_NATS_URL") {
		t.Errorf("%s, %v", out, err)
	}
}
