package main

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

var update = flag.Bool("update", false, "write the deployed accounts again")

func configNATS(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := command()
	cmd.SetArgs(append([]string{"config", "nats"}, args...))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// The accounts that the containers start with are what the command prints.
func TestDeployedAccounts(t *testing.T) {
	t.Parallel()
	const file = "../../deploy/compose/nats/accounts.conf"
	got, err := configNATS(t)
	testkit.Must(t, err)
	if *update {
		testkit.Must(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	testkit.Must(t, err)
	if got != string(want) {
		t.Errorf("%s is not what `rpmflow config nats` prints: go test ./cmd/rpmflow -run DeployedAccounts -update",
			file)
	}
}

// environ reads a .env file.
func environ(t *testing.T, dir, user string) map[string]string {
	t.Helper()
	file := filepath.Join(dir, user+".env")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", file, info, err)
	}
	env := map[string]string{}
	for line := range strings.Lines(read(t, file)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(k, "#") {
			env[k] = v
		}
	}
	return env
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	testkit.Must(t, err)
	return string(raw)
}

func access(t *testing.T, dir, user string) events.Access {
	t.Helper()
	env := environ(t, dir, user)
	a := events.Access{User: env["RPMFLOW_NATS_USER"], Password: env["RPMFLOW_NATS_PASSWORD"], Role: rpmflow.Role(user)}
	if file := env["RPMFLOW_NATS_NKEY_FILE"]; file != "" {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
		a.NKey = strings.TrimSpace(read(t, file))
	}
	return a
}

// Each user can log in with the files of the command. Existing secrets are kept; only --force makes new ones.
func TestAccountsWithSecrets(t *testing.T) {
	t.Parallel()
	for _, auth := range []string{"password", "nkey"} {
		t.Run(auth, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "nats")
			out, err := configNATS(t, "--auth", auth, "--out", dir, "--subscriber", "mirror")
			testkit.Must(t, err)
			for _, words := range []string{dir, "accounts.conf", "builder.env", "Next: ",
				"listener.subscribers to mirror"} {
				if !strings.Contains(out, words) {
					t.Errorf("%q is not in %s", words, out)
				}
			}
			secret := func() string { a := access(t, dir, "builder"); return a.Password + a.NKey }
			before := secret()
			if out, err = configNATS(t, "--auth", auth, "--out", dir, "--subscriber", "mirror", "--subscriber",
				"mail"); err != nil || !strings.Contains(out, "kept: ") {
				t.Fatal(out, err)
			}
			if secret() != before {
				t.Error("the builder has another secret")
			}
			accounts := read(t, filepath.Join(dir, "accounts.conf"))
			config := filepath.Join(t.TempDir(), "nats.conf")
			testkit.Must(t, os.WriteFile(config, fmt.Appendf(nil,
				"listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q }\n%s", t.TempDir(), accounts),
				0o600))
			url := eventstest.Serve(t, config).ClientURL()
			for _, user := range []string{"listener", "builder", "publisher", "admin", "system", "mirror", "mail"} {
				a := access(t, dir, user)
				for _, s := range []string{a.Password, a.NKey} {
					if s != "" && strings.Contains(accounts+out, s) {
						t.Errorf("the secret of %s is where all see it", user)
					}
				}
				a.URL = url
				nc, _, err := events.Dial(a, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Errorf("%s: %v", user, err)
					continue
				}
				nc.Close()
			}
			other := map[string]string{"password": "nkey", "nkey": "password"}[auth]
			if _, err := configNATS(t, "--auth", other, "--out", dir); err == nil ||
				!strings.Contains(err.Error(), "--force") {
				t.Errorf("over secrets of another kind: %v", err)
			}
			if secret() != before {
				t.Error("the builder's secret is overwritten")
			}
			if _, err := configNATS(t, "--auth", auth, "--out", dir, "--force"); err != nil {
				t.Fatal(err)
			}
			if secret() == before {
				t.Error("--force leaves the old secret")
			}
		})
	}
}

func TestAccountsRefused(t *testing.T) {
	t.Parallel()
	for words, args := range map[string][]string{
		"write env, password or nkey": {"--auth", "token"},
		"--out":                       {"--auth", "nkey"},
		"there is such a user":        {"--subscriber", "builder"},
		"write letters":               {"--subscriber", "a b"},
		"NATS_A_B_PASSWORD":           {"--subscriber", "a.b", "--subscriber", "a-b"},
	} {
		if _, err := configNATS(t, args...); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v: %v, without %q", args, err, words)
		}
	}
}
