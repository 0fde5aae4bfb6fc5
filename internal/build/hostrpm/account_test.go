package hostrpm_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/hostrpm"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// apart returns a directory that every user can reach, as /var/tmp is, which is what a server that runs as root uses.
func apart(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: only root can run commands as other users")
	}
	dir, err := os.MkdirTemp("/var/tmp", "rpmflow-test-")
	testkit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	testkit.Must(t, os.Chmod(dir, 0o755|os.ModeSticky))
	return dir
}

// hostile tries what a package's code must not be able to do.
const hostile = `%%global who %%(id -u; cat %[1]s/secrets.json)
%%description
x

%%build
echo SPEC: %%{who}
echo BUILD: $(id -u) $(id -g) $(id -G)
cat %[1]s/secrets.json || echo no secrets
ls %[1]s || echo no data directory
ls %[2]s/ || echo no list
ls %[2]s/rpmflow-build-60601 || echo no other attempt
grep NoNewPrivs /proc/self/status
(setsid sleep 4242 &)
rm -rf %%{_topdir}/SRPMS; ln -s %[1]s %%{_topdir}/SRPMS

%%install
mkdir -p %%{buildroot}/usr/share/hello; cp %%{SOURCE0} %%{buildroot}/usr/share/hello/x
ln -s %[1]s/secrets.json %%{_rpmdir}/secret-1-1.noarch.rpm ||
mkdir -p %%{_rpmdir} && ln -sf %[1]s/secrets.json %%{_rpmdir}/secret-1-1.noarch.rpm

%%files
/usr/share/hello
`

// On a server that runs as root a package's code is neither root nor another attempt's user, and cannot read the
// server's files.
func TestUserOfItsOwn(t *testing.T) {
	parent, data := apart(t), t.TempDir()
	secrets := filepath.Join(data, "secrets.json")
	testkit.Must(t, os.WriteFile(secrets, []byte("hunter2"), 0o600))
	b := newFixture(t, filepath.Join(data, "work"), "", "")
	testkit.Must(b.t, os.WriteFile(b.spec, []byte("Name: hello\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\n"+
		"Source0: hello.txt\nBuildArch: noarch\n"+fmt.Sprintf(hostile, data, parent)), 0o600))
	var err error
	b.engine, err = hostrpm.New(t.Context(), parent)
	testkit.Must(b.t, err)
	testkit.Must(b.t, os.MkdirAll(filepath.Join(data, "work", "second"), 0o700))
	open := func(dir string) build.Session {
		s, err := b.engine.Open(t.Context(), build.Job{Dir: filepath.Join(data, "work", dir), Epoch: time.Unix(1e9, 0),
			Log: &b.log, OnContainer: func(string) {}})
		testkit.Must(b.t, err)
		t.Cleanup(func() { testkit.Must(b.t, s.Close(context.Background())) })
		return s
	}
	b.session = open("results")
	open("second") // runs at the same time
	files, err := b.build(t.Context())
	testkit.Must(b.t, err)
	log := b.log.String()
	for _, want := range []string{"SPEC: 60600", "BUILD: 60600 60600 60600", "no secrets", "no data directory",
		"no other attempt", "NoNewPrivs:\t1"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, bad := range []string{"hunter2", "\n0\n"} {
		if strings.Contains(log, bad) {
			t.Errorf("the log has %q", bad)
		}
	}
	names := ""
	for _, f := range files {
		names += filepath.Base(f) + " "
		if !strings.HasPrefix(f, data) {
			t.Errorf("%s is the user's", f)
		}
	}
	if names != "hello-1.0-1.src.rpm hello-1.0-1.noarch.rpm " {
		t.Errorf("packages %s", names)
	}
	running, err := filepath.Glob("/proc/[0-9]*/cmdline")
	testkit.Must(b.t, err)
	for _, file := range running {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "sleep\x004242") {
			t.Errorf("still running: %s", file)
		}
	}
	testkit.Must(b.t, b.session.Close(t.Context()))
	left, err := os.ReadDir(filepath.Join(parent, "rpmflow-build-60600"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if t.Failed() {
		t.Logf("%s", log)
	}
}

// The next builder that takes the user removes the files of a killed builder; files of another process are not used.
func TestUserIsTakenAgain(t *testing.T) {
	parent := apart(t)
	left := filepath.Join(parent, "rpmflow-build-60600", "b", "BUILD")
	foreign := filepath.Join(parent, "rpmflow-build-60601")
	for _, dir := range []string{left, foreign} {
		testkit.Must(t, os.MkdirAll(dir, 0o755))
	}
	testkit.Must(t, os.Chown(foreign, 4711, 4711))
	engine, err := hostrpm.New(t.Context(), parent)
	testkit.Must(t, err)
	var users []string
	for range 2 {
		s, err := engine.Open(t.Context(), build.Job{Dir: t.TempDir(), Build: rpmflow.Build{}})
		testkit.Must(t, err)
		defer func() { _ = s.Close(context.Background()) }()
	}
	for _, uid := range []int{60600, 60601, 60602} {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(parent, "rpmflow-build-"+strconv.Itoa(uid), "b"), &st) == nil {
			users = append(users, fmt.Sprint(st.Uid))
		}
	}
	if got := strings.Join(users, " "); got != "60600 60602" {
		t.Errorf("users %s", got)
	}
	if entries, err := os.ReadDir(left); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
