package up_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/builderd"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/listenerd"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/up"
)

const password = "correct horse"

// doctorFixture is a system to be examined: NATS and S3 with the roles' own accounts.
type doctorFixture struct {
	t    *testing.T
	nats *server.Server
	s3   storagetest.Roles
	dir  string // of the gateway
}

func newDoctorFixture(t *testing.T, natsConfig string) *doctorFixture {
	t.Helper()
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	c := &doctorFixture{t: t, dir: t.TempDir()}
	if natsConfig == "" {
		natsConfig = fmt.Sprintf("jetstream { store_dir: %q }\n", t.TempDir()) +
			events.Accounts{Login: func(user string) string {
				return fmt.Sprintf("user: %q, password: %q", user,
					password)
			}}.Config()
	}
	file := filepath.Join(t.TempDir(), "nats.conf")
	testkit.Must(c.t, os.WriteFile(file, []byte("listen: \"127.0.0.1:-1\"\n"+natsConfig), 0o600))
	c.nats = eventstest.Serve(t, file)
	c.s3 = storagetest.StartRoles(t, c.dir, "secret-", nil)
	return c
}

// connect is a connection as a role; the listener's makes the streams.
func (c *doctorFixture) connect(role rpmflow.Role, s events.StreamSettings) (*nats.Conn, jetstream.JetStream) {
	c.t.Helper()
	connect := events.Attach
	if role == rpmflow.RoleListener {
		connect = events.Connect
	}
	nc, js, err := connect(c.t.Context(), events.Access{URL: c.nats.ClientURL(), User: string(role), Password: password,
		Role: role, Streams: s}, slog.New(slog.DiscardHandler))
	testkit.Must(c.t, err)
	c.t.Cleanup(nc.Close)
	return nc, js
}

// load is a program's configuration: what is right, with lines that change it.
func (c *doctorFixture) load(role rpmflow.Role, more ...string) func() (*config.Config, error) {
	c.t.Helper()
	s3 := c.s3.Configs[role]
	values := map[string]string{
		"data_dir": filepath.Join(c.t.TempDir(), "data"), "listener.listen": "127.0.0.1:1",
		"nats.url": c.nats.ClientURL(), "nats.user": string(role), "nats.password": password,
		"s3.endpoint": s3.Endpoint, "s3.bucket": s3.Bucket, "s3.access_key": s3.AccessKey,
		"s3.secret_key":  s3.SecretKey,
		"builder.engine": "mock",
	}
	for _, line := range more {
		k, v, _ := strings.Cut(line, "=")
		values[k] = v
	}
	var env []string
	for k, v := range values {
		env = append(env, "RPMFLOW_"+strings.ToUpper(strings.ReplaceAll(k, ".", "_"))+"="+v)
	}
	return func() (*config.Config, error) { return config.Load(config.Source{Env: env, For: config.ForOperator}) }
}

func (c *doctorFixture) examine(program config.Program, load func() (*config.Config, error)) doctor.Report {
	c.t.Helper()
	r := doctor.Examine(c.t.Context(), string(program), func() ([]doctor.Check, error) {
		cfg, err := load()
		switch {
		case err != nil:
			return nil, err
		case program == config.ForListener:
			return listenerd.Checks(cfg), nil
		case program == config.ForBuilder:
			return builderd.Checks(cfg, ""), nil
		}
		return up.Checks(cfg, ""), nil
	})
	c.t.Cleanup(func() {
		if c.t.Failed() {
			var b bytes.Buffer
			_ = r.WriteText(&b)
			c.t.Logf("%s:\n%s", program, &b)
		}
	})
	return r
}

// says wants a check in a state, with these words in what was found and in what to do.
func (c *doctorFixture) says(r doctor.Report, name string, state doctor.State, found, do string) {
	c.t.Helper()
	for _, check := range r.Checks {
		if check.Name == name && check.State == state && strings.Contains(check.Found, found) &&
			strings.Contains(check.Do, do) {
			return
		}
	}
	c.t.Errorf("no %s %q with %q -> %q", state, name, found, do)
}

func (c *doctorFixture) none(r doctor.Report, state doctor.State, but ...string) {
	c.t.Helper()
next:
	for _, check := range r.Checks {
		for _, name := range but {
			if strings.HasPrefix(check.Name, name) {
				continue next
			}
		}
		if check.State == state {
			c.t.Errorf("%s: %+v", r.Program, check)
		}
	}
}

// Each program's rights are enough for its examination, which leaves nothing behind.
func TestDoctor(t *testing.T) {
	t.Parallel()
	c := newDoctorFixture(t, "")
	_, js := c.connect(rpmflow.RoleListener, events.StreamSettings{MaxBytes: 1 << 20})
	for _, role := range []rpmflow.Role{rpmflow.RoleListener, rpmflow.RoleBuilder} {
		program := config.Program(role)
		r := c.examine(program, c.load(role, "builder.docker.host=unix:///nonexistent.sock"))
		c.none(r, doctor.Failed, "container engine")
		c.none(r, doctor.Warning, "targets")
		c.says(r, "NATS rights", doctor.OK, string(role), "")
		c.says(r, "stream EVENTS", doctor.OK, "0 messages", "")
		c.says(r, "S3", doctor.OK, "can be read", "")
		c.says(r, "clock of S3", doctor.OK, "agrees", "")
		c.says(r, "clock of NATS", doctor.OK, "agrees", "")
	}
	for _, name := range []string{events.StreamPushes, events.StreamBuilds, events.StreamEvents, events.StreamLogs} {
		s, err := js.Stream(t.Context(), name)
		testkit.Must(c.t, err)
		if s.CachedInfo().State.LastSeq != 0 {
			t.Errorf("stream %s: %+v", name, s.CachedInfo().State)
		}
	}
	testkit.Must(c.t, filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(path, "/"+storagetest.Bucket+"/") {
			t.Errorf("left behind: %s", path)
		}
		return err
	}))
}

func TestDoctorNATS(t *testing.T) {
	t.Parallel()
	c := newDoctorFixture(t, "")
	r := c.examine(config.ForBuilder, c.load(rpmflow.RoleBuilder))
	c.says(r, "stream EVENTS", doctor.Failed, "is not there", "start a listener")
	r = c.examine(config.ForListener, c.load(rpmflow.RoleListener))
	c.says(r, "stream EVENTS", doctor.Warning, "is not there", "start a listener")

	nc, js := c.connect(rpmflow.RoleListener, events.StreamSettings{MaxBytes: 1 << 20})
	_, err := js.Publish(t.Context(), "rpmflow.pushes.a.b.received", make([]byte, 900<<10))
	testkit.Must(c.t, err)
	r = c.examine(config.ForListener, c.load(rpmflow.RoleListener, "nats.replicas=3"))
	c.says(r, "stream PUSHES", doctor.Warning, "(8", "raise nats.max_bytes")
	c.says(r, "stream EVENTS", doctor.Warning, "replicas: 1", "nats.replicas is 3")
	nc.Close()

	// A listener's user does not do for a builder, and what it may not do is named.
	r = c.examine(config.ForBuilder, c.load(rpmflow.RoleListener))
	if r.OK {
		t.Error("well with another program's user")
	}

	r = c.examine(config.ForListener, c.load(rpmflow.RoleListener, "nats.password=wrong"))
	c.says(r, "NATS", doctor.Failed, "iolation", "nats.password")
	c.says(r, "streams", doctor.Skipped, "", "")
	if r.OK {
		t.Error("well with a wrong password")
	}
	r = c.examine(config.ForListener, c.load(rpmflow.RoleListener, "nats.url=nats://127.0.0.1:1"))
	c.says(r, "NATS", doctor.Failed, "nats://127.0.0.1:1", "is nats.url right?")
}

func TestDoctorNATSWithoutRights(t *testing.T) {
	t.Parallel()
	c := newDoctorFixture(t, fmt.Sprintf("max_payload: 64KB\njetstream { store_dir: %q }\n"+
		"authorization { users: [ { user: builder, password: %q, permissions: { publish: { deny: "+
		"[\"rpmflow.events.>\", \"$JS.API.STREAM.INFO.LOGS\"] } } } ] }\n", t.TempDir(), password))
	r := c.examine(config.ForBuilder, c.load(rpmflow.RoleBuilder))
	c.says(r, "NATS rights", doctor.Failed,
		"the NATS user builder may not publish to rpmflow.events.doctor.doctor.doctor.started", "`rpmflow config nats`")
	c.says(r, "stream LOGS", doctor.Failed, "the NATS user builder may not publish to $JS.API.STREAM.INFO.LOGS",
		"`rpmflow config nats`")
	c.says(r, "NATS", doctor.Warning, "64", "max_payload")

	c = newDoctorFixture(t, "")
	c.nats.Shutdown()
	c = newDoctorFixture(t, fmt.Sprintf("authorization { user: builder, password: %q }\n", password))
	r = c.examine(config.ForBuilder, c.load(rpmflow.RoleBuilder))
	c.says(r, "JetStream", doctor.Failed, "is not there", "switch it on")
}

func TestDoctorStorage(t *testing.T) {
	t.Parallel()
	c := newDoctorFixture(t, "")
	for _, bad := range []struct{ change, found, do string }{
		{"s3.secret_key=wrong-secret", "refuses the keys", "correct s3.secret_key"},
		{"s3.access_key=nobody", "refuses the keys", "correct s3.access_key"},
		{"s3.endpoint=http://127.0.0.1:1", "connection refused", "correct s3.endpoint"},
	} {
		c.says(c.examine(config.ForListener, c.load(rpmflow.RoleListener, bad.change)), "S3", doctor.Failed, bad.found,
			bad.do)
	}
	c.says(c.examine(config.ForBuilder, c.load(rpmflow.RoleListener)), "S3", doctor.Failed, "builds/", "policy")
	c.says(c.examine(config.ForListener, c.load(rpmflow.RoleListener, "s3.bucket=another")), "S3", doctor.Warning,
		"no such bucket", "start a builder")
	c.says(c.examine(config.ForListener, c.load(rpmflow.RoleListener, "s3.bucket=another", "s3.create_bucket=false")),
		"S3", doctor.Failed, "no such bucket", "make it")
}

func TestDoctorLocal(t *testing.T) {
	t.Parallel()
	c := newDoctorFixture(t, "")
	c.connect(rpmflow.RoleListener, events.StreamSettings{MaxBytes: 1 << 20})
	r := c.examine(config.ForBuilder,
		func() (*config.Config, error) { return nil, errors.New("x: unknown key\ny: too") })
	c.says(r, "configuration", doctor.Failed, "x: unknown key", "")
	c.says(r, "configuration", doctor.Failed, "y: too", "")
	if len(r.Checks) != 2 || r.OK {
		t.Errorf("%+v", r)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(c.t, err)
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":"the disk is full","hint":"free some space"}`)
		}))
	}()
	defer l.Close()
	socket := "builder.docker.host=unix:///nonexistent/docker.sock"
	r = c.examine(config.ForBuilder, c.load(rpmflow.RoleBuilder, socket, "builder.status_listen="+l.Addr().String()))
	c.says(r, "builder", doctor.Failed, "the disk is full", "free some space")
	c.says(r, "container engine", doctor.Failed, "there is no socket /nonexistent/docker.sock", "--volume")
	c.says(r, "data directory", doctor.OK, "is made at the start", "")
	c.says(r, "targets", doctor.Warning, "there is none", "")
	c.says(r, "git", doctor.OK, "git version", "")
	// Seen from somewhere, what only a builder needs fails nothing.
	r = c.examine("", c.load(rpmflow.RoleBuilder, socket, "public_url=http://"+l.Addr().String()))
	c.says(r, "container engine", doctor.Warning, "there is no socket", "if builds are to run here")
	c.says(r, "listener", doctor.Failed, "the disk is full", "free some space")
	r = c.examine(config.ForListener, c.load(rpmflow.RoleListener))
	c.says(r, "listener", doctor.Skipped, "does not run here", "")
	r = c.examine(config.ForListener, c.load(rpmflow.RoleListener, "data_dir=/proc/1/nothing"))
	c.says(r, "data directory", doctor.Failed, "/proc/1", "data_dir")
}
