package compose_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	testkit.Must(t, err)
	return string(raw)
}

// TestVariables sees to it that docker-compose.yml, .env.example and init speak of the same variables and the same
// defaults.
func TestVariables(t *testing.T) {
	documented := variables(readFile(t, filepath.Join(deploy, ".env.example")))
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`\$\{([A-Z0-9_]+)(?::([-?])([^}]*))?\}`).FindAllStringSubmatch(readFile(t,
		filepath.Join(deploy, "docker-compose.yml")), -1) {
		name, kind, value := m[1], m[2], m[3]
		used[name] = true
		is, ok := documented[name]
		switch {
		case !ok:
			t.Errorf("%s is not in .env.example", name)
		case kind == "":
			t.Errorf("%s has neither a default nor an error: Compose warns when it is not set", name)
		case kind == "-" && is != value && (is != "" || value != `"`):
			t.Errorf("%s is %q in .env.example, the default is %q", name, is, value)
		}
	}
	ofCompose := []string{"COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"}
	for name := range documented {
		if !used[name] && !slices.Contains(ofCompose, name) {
			t.Errorf("%s of .env.example is not used", name)
		}
	}
	for _, m := range regexp.MustCompile(`values\[([A-Z0-9_]+)\]=`).FindAllStringSubmatch(readFile(t,
		filepath.Join(deploy, "init")), -1) {
		if _, ok := documented[m[1]]; !ok {
			t.Errorf("init sets %s, which is not in .env.example", m[1])
		}
	}
}

// TestRepositoriesOfTheHost has what reads repositories see the host's, at the path that the documents name.
func TestRepositoriesOfTheHost(t *testing.T) {
	yaml := readFile(t, filepath.Join(deploy, "docker-compose.yml"))
	for _, service := range []string{"listener", "builder"} {
		_, text, _ := strings.Cut(yaml, "\n  "+service+":\n")
		text, _, _ = strings.Cut(text, "\n\n")
		if !strings.Contains(text, "- ${REPOSITORIES_DIR:-./git}:/srv/git:ro\n") {
			t.Errorf("%s does not see the repositories of the host:\n%s", service, text)
		}
	}
	for _, file := range []string{"docs/operations.md", "deploy/compose/rpmflow.example.yaml"} {
		if !strings.Contains(readFile(t, filepath.Join("../..", file)), "/srv/git/hello.git") {
			t.Errorf("%s does not say how repositories of the host are named", file)
		}
	}
}

// TestInit makes each kind of host, and sees what init must not do.
func TestInit(t *testing.T) {
	needCompose(t)
	quiet := func(t *testing.T, h *host) {
		t.Helper()
		for _, profile := range []string{"", "server", "nats", "cluster", "builder", "tools",
			"server,nats,cluster,builder,tools"} {
			env := []string{"COMPOSE_PROFILES=" + profile}
			// Compose says what it warns of on standard error: both are looked at.
			if out, err := output(time.Minute, h.dir, env, "sh", "-c", "docker-compose config -q 2>&1"); err != nil ||
				out != "" {
				t.Errorf("docker-compose config with the profiles %q: %v: %s", profile, err, out)
			}
		}
	}

	t.Run("without", func(t *testing.T) {
		if _, err := output(time.Minute, newHost(t).dir, nil, "docker-compose", "config", "-q"); err == nil ||
			!strings.Contains(err.Error(), "run ./init") {
			t.Errorf("without .env: %v", err)
		}
	})
	t.Run("server", func(t *testing.T) {
		h := newHost(t)
		h.init(t, nil)
		quiet(t, h)
		if info, err := os.Stat(filepath.Join(h.dir, ".env")); err != nil || info.Mode() != 0o600 {
			t.Errorf(".env: %v %v", info.Mode(), err)
		}
		made := variables(readFile(t, filepath.Join(h.dir, ".env")))
		secrets := map[string]bool{}
		for name, value := range made {
			if !regexp.MustCompile(`_PASSWORD$|_SECRET_KEY$|_TOKEN$`).MatchString(name) {
				continue
			}
			if !regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{31}$`).MatchString(value) || secrets[value] {
				t.Errorf("%s is not a good secret", name)
			}
			secrets[value] = true
		}
		if len(secrets) != 11 {
			t.Errorf("%d secrets", len(secrets))
		}
		before := readFile(t, filepath.Join(h.dir, ".env"))
		if _, err := output(time.Minute, h.dir, nil, "./init", "cluster"); err == nil ||
			!strings.Contains(err.Error(), "is there already") {
			t.Errorf("a second init: %v", err)
		}
		if readFile(t, filepath.Join(h.dir, ".env")) != before {
			t.Error("a second init has changed .env")
		}
	})
	t.Run("cluster with TLS", func(t *testing.T) {
		h := newHost(t)
		h.init(t, nil, "tls", "rpm.example.com", "192.0.2.7")
		h.init(t, nil, "cluster")
		quiet(t, h)
		if h.get(t, "NATS_REPLICAS") != "3" || h.get(t, "NATS_TLS") != "-tls" ||
			!strings.HasPrefix(h.get(t, "S3_ENDPOINT"), "https:") {
			t.Errorf(".env: %s", readFile(t, filepath.Join(h.dir, ".env")))
		}
		testkit.Value(output(time.Minute, h.dir, nil, "openssl", "verify", "-CAfile", "config/ca.crt",
			"-verify_hostname",
			"rpm.example.com", "tls/server.crt"))(t)
		testkit.Value(output(time.Minute, h.dir, nil, "openssl", "verify", "-CAfile", "config/ca.crt", "-verify_ip",
			"192.0.2.7",
			"tls/server.crt"))(t)
		if _, err := output(time.Minute, h.dir, nil, "./init", "tls", "other.example.com"); err == nil ||
			!strings.Contains(err.Error(), "is there already") {
			t.Errorf("a second certificate: %v", err)
		}
		if _, err := os.Stat(filepath.Join(h.dir, "tls", "ca.key")); err == nil {
			t.Error("the CA's key is where the servers see it")
		}
	})
	t.Run("builder", func(t *testing.T) {
		h := newHost(t)
		if _, err := output(time.Minute, h.dir, nil, "./init", "builder"); err == nil ||
			!strings.Contains(err.Error(), "NATS_URL is not set") {
			t.Errorf("without variables: %v", err)
		}
		h.init(t, []string{"NATS_URL=tls://n:4222", "S3_ENDPOINT=https://s", "NATS_BUILDER_PASSWORD=a",
			"S3_BUILDER_SECRET_KEY=b"}, "builder")
		quiet(t, h)
		if h.get(t, "COMPOSE_PROFILES") != "builder" || h.get(t, "NATS_ADMIN_PASSWORD") != "" {
			t.Errorf(".env: %s", readFile(t, filepath.Join(h.dir, ".env")))
		}
	})
}
