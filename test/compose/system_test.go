package compose_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/test/system"
)

// TestSystem takes one installation, with TLS, through an operator's week.
func TestSystem(t *testing.T) {
	t.Parallel() // most of it is waiting
	needCompose(t)
	needImages(t)
	address := system.Bridge(t)
	r := serveRepository(t, address)
	h := newHost(t)
	h.init(t, nil, "tls", address)
	h.init(t, nil)
	h.own(t, address)
	h.configure(t, r)
	r.announce(t, h)

	// The order of starting must not matter, so it is the worst one.
	h.compose(t, "up", "--detach", "--scale", "builder=2", "builder")
	for _, service := range []string{"publisher", "nats", "s3", "listener"} {
		h.compose(t, "up", "--detach", "--no-deps", service)
	}
	h.healthy(t, 1, "nats")
	h.healthy(t, 1, "s3")
	h.healthy(t, 1, "listener")
	h.healthy(t, 1, "publisher")
	h.healthy(t, 2, "builder")
	h.confined(t)
	for _, args := range [][]string{{"rpmflow", "config", "check"}, {"listener", "doctor"}, {"builder", "doctor"},
		{"publisher", "doctor"}} {
		h.compose(t, append([]string{"run", "--rm", "-T"}, args...)...)
	}

	s := h.subscribe(t)
	var all []string
	push := func(seconds int) string {
		all = append(all, r.push(t, seconds))
		return all[len(all)-1]
	}

	first := push(0)
	built := s.finished(t, first)
	checkPackages(t, built)
	checkRepository(t, h, built)
	h.compose(t, "run", "--rm", "-T", "repo", "verify", built.Project, built.Target)

	// More builders come while builds run.
	commits := []string{push(5), push(5)}
	h.running(t, commits[0])
	h.compose(t, "up", "--detach", "--no-recreate", "--scale", "builder=4", "builder")
	for _, c := range commits {
		if b := s.finished(t, c); b.Attempt != 1 {
			t.Errorf("build of %s took %d attempts", c, b.Attempt)
		}
	}
	h.healthy(t, 4, "builder")

	// Builders that are stopped end what they have begun.
	stopped := push(5)
	h.running(t, stopped)
	h.compose(t, "stop", "builder")
	if b := s.finished(t, stopped); b.Attempt != 1 || b.LostAttempts != 0 {
		t.Errorf("a stopped builder's build: attempt %d, %d lost", b.Attempt, b.LostAttempts)
	}
	for _, id := range strings.Fields(docker(t, "ps", "--all", "--quiet", "--filter",
		"label=com.docker.compose.project="+h.project, "--filter", "label=com.docker.compose.service=builder")) {
		if code := docker(t, "inspect", "--format", "{{.State.ExitCode}}", id); code != "0" {
			t.Errorf("a stopped builder ended with %s", code)
		}
	}
	h.compose(t, "up", "--detach", "--scale", "builder=2", "builder")

	// A builder is killed: another one takes its build.
	killed := push(5)
	docker(t, "kill", h.running(t, killed).Builder)
	if b := s.finished(t, killed); b.Attempt != 2 || b.LostAttempts != 1 {
		t.Errorf("a killed builder's build: attempt %d, %d lost", b.Attempt, b.LostAttempts)
	}

	// Containers go and come, what they keep stays.
	s.stop()
	h.compose(t, "down", "--timeout", "60")
	h.compose(t, "up", "--detach")
	h.healthy(t, 1, "listener")
	again := h.subscribe(t)
	after := push(0)
	again.finished(t, after)
	kept := h.builds(t)
	if len(kept) != len(all) {
		t.Errorf("%d builds, pushed were %d", len(kept), len(all))
	}
	for _, b := range kept {
		if b.Commit == first {
			checkPackages(t, b)
		}
	}
	for _, c := range all[:len(all)-1] {
		if n := len(s.of(c)) + len(again.of(c)); n != 1 {
			t.Errorf("%d outcomes of %s", n, c)
		}
	}

	t.Run("another host builds", func(t *testing.T) { anotherHost(t, h, r, again, address) })
	if list := h.compose(t, "run", "--rm", "-T", "rpmflow", "list"); !strings.Contains(list, "greet") {
		t.Errorf("rpmflow list: %s", list)
	}
}

// anotherHost is a second host with builders only, which trusts the first one's CA.
func anotherHost(t *testing.T, h *host, r *repository, s *subscriber, address string) {
	h.compose(t, "stop", "builder")
	other := newHost(t)
	other.init(t, []string{
		"NATS_URL=tls://" + h.get(t, "NATS_PORT"), "S3_ENDPOINT=https://" + h.get(t, "S3_PORT"), "PUBLIC_URL=" +
			h.listener,
		"NATS_BUILDER_PASSWORD=" + h.get(t, "NATS_BUILDER_PASSWORD"), "S3_BUILDER_SECRET_KEY=" +
			h.get(t, "S3_BUILDER_SECRET_KEY"),
		"CA_FILE=" + filepath.Join(h.dir, "tls", "ca.crt"),
	}, "builder")
	public := other.get(t, "PUBLIC_URL")
	other.own(t, address)
	other.set(t, map[string]string{"PUBLIC_URL": public})
	other.configure(t, r)
	other.compose(t, "up", "--detach")
	other.healthy(t, 1)
	b := s.finished(t, r.push(t, 0))
	if id := other.containers(t)[0].ID; !strings.HasPrefix(id, b.Builder) {
		t.Errorf("built by %s, the other host has %s", b.Builder, id)
	}
	checkPackages(t, b)
}

// confined looks at what the containers may do, and at what they know.
func (h *host) confined(t *testing.T) {
	t.Helper()
	secrets := map[string]string{}
	for name, value := range variables(readFile(t, filepath.Join(h.dir, ".env"))) {
		if strings.HasSuffix(name, "_PASSWORD") || strings.HasSuffix(name, "_SECRET_KEY") || name == "LISTENER_TOKEN" {
			secrets[value] = name
		}
	}
	known := map[string][]string{
		"nats": {"NATS_ADMIN_PASSWORD", "NATS_BUILDER_PASSWORD", "NATS_LISTENER_PASSWORD", "NATS_PUBLISHER_PASSWORD",
			"NATS_SUBSCRIBER_PASSWORD"},
		"s3": {"S3_BUILDER_SECRET_KEY", "S3_LISTENER_SECRET_KEY", "S3_PUBLISHER_SECRET_KEY",
			"S3_ROOT_SECRET_KEY"},
		"listener":  {"LISTENER_TOKEN", "NATS_LISTENER_PASSWORD", "S3_LISTENER_SECRET_KEY"},
		"publisher": {"NATS_PUBLISHER_PASSWORD", "S3_PUBLISHER_SECRET_KEY"},
		"builder":   {"NATS_BUILDER_PASSWORD", "S3_BUILDER_SECRET_KEY"},
	}
	for _, c := range h.containers(t) {
		hc := c.HostConfig
		if c.Config.User != "10001:10001" || !hc.ReadonlyRootfs || hc.Privileged || len(hc.CapAdd) > 0 ||
			!slices.Equal(hc.CapDrop, []string{"ALL"}) ||
			!slices.Contains(hc.SecurityOpt, "no-new-privileges:true") || hc.PidMode != "" ||
			hc.NetworkMode != h.project+"_default" {
			t.Errorf("%s may too much: user %q, %+v", c.Name, c.Config.User, hc)
		}
		if hc.Memory == 0 || hc.PidsLimit == nil || hc.LogConfig.Config["max-size"] == "" ||
			hc.RestartPolicy.Name != "unless-stopped" {
			t.Errorf("%s has no limits: %+v", c.Name, hc)
		}
		for _, bind := range hc.Binds {
			if strings.HasPrefix(bind, "/") && !strings.HasSuffix(bind, ":ro") &&
				(c.service() != "builder" || !strings.HasSuffix(bind, ":/var/run/docker.sock:rw")) {
				t.Errorf("%s can write to %s", c.Name, bind)
			}
		}
		var knows []string
		for _, variable := range c.Config.Env {
			_, value, _ := strings.Cut(variable, "=")
			if name, ok := secrets[strings.Trim(value, `"`)]; ok {
				knows = append(knows, name)
			}
		}
		slices.Sort(knows)
		if !slices.Equal(knows, known[c.service()]) {
			t.Errorf("%s knows %s", c.Name, fmt.Sprint(knows))
		}
	}
}
