package hostile_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	rpm "github.com/sassoftware/go-rpmutils"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// hostile is one package, and the outcome that it must have.
type hostile struct {
	name    string
	spec    spec
	timeout time.Duration // zero: ample
	kind    rpmflow.FailureKind
	others  []rpmflow.FailureKind // that are as right
	phase   rpmflow.Phase
	said    string // in message, hint or excerpt
}

func cases(call string) []hostile {
	const files = "i=0; while [ $i -lt %d ]; do head -c 20M /dev/zero >f$i; i=$((i+1)); done; sleep 600"
	amount := 16
	if realMock() {
		amount = 150
	}
	return []hostile{
		{name: "forever", spec: spec{build: "echo " + eternity + " $(date +%%s%%N)\nsleep 600"}, timeout: enough(),
			kind: rpmflow.FailureTimeout, phase: rpmflow.PhaseRPMs, said: "took longer than"},
		{name: "disk", spec: spec{build: fmt.Sprintf("echo filling\n"+files, amount)}, kind: rpmflow.FailureBuild,
			phase: rpmflow.PhaseRPMs, said: "filled the disk: more than"},
		{name: "curious", spec: curious(call)},
		{name: "forks", spec: spec{build: "while :; do sleep " + sleeper + " & done"}, kind: rpmflow.FailureBuild,
			others: []rpmflow.FailureKind{rpmflow.FailureTimeout}, phase: rpmflow.PhaseRPMs},
		{name: "prints", spec: spec{build: "while :; do echo and again and again; done"}, kind: rpmflow.FailureBuild,
			phase: rpmflow.PhaseRPMs, said: "bytes of output"},
		{name: "longline", spec: spec{build: "head -c 10G /dev/zero | tr '\\0' x"}, kind: rpmflow.FailureBuild,
			phase: rpmflow.PhaseRPMs, said: "bytes of output"},
		{name: "parse", spec: spec{parse: "yes"}, kind: rpmflow.FailureBuild,
			others: []rpmflow.FailureKind{rpmflow.FailureSpec}, phase: rpmflow.PhaseSRPM, said: "512 MiB"},
		{name: "path", spec: spec{parse: "echo x", install: "touch %{buildroot}/usr/share/hostile/x\n"},
			kind: rpmflow.FailureBuild, phase: rpmflow.PhaseRPMs, said: "evil.rpm"},
		{name: "link", spec: spec{install: "ln -s /etc/passwd /builddir/build/RPMS/evil.rpm"},
			kind:  rpmflow.FailureBuild,
			phase: rpmflow.PhaseRPMs, said: "evil.rpm"},
	}
}

func TestHostilePackages(t *testing.T) {
	const secret = "c4n4ry-of-the-environment"
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("RPMFLOW_HOSTILE_TOKEN", secret)
	c := newCanary(t)
	all := cases(c.calling(t))
	var projects []string
	repositories := map[string]*system.Repository{}
	for _, h := range append(all, hostile{name: "innocent"}) {
		r := system.NewRepository(t)
		timeout := ""
		if h.timeout > 0 {
			timeout = fmt.Sprintf("  timeout: %s\n", h.timeout)
		}
		repositories[h.name] = r
		projects = append(projects, r.Project(h.name, timeout))
	}
	s := system.StartWith(t, "mock", limits(), projects...)
	another(t, s)
	host := snapshot(t, s)
	for _, h := range all {
		repositories[h.name].Announce(t, s, h.name)
		text := h.spec.String()
		if h.name == "path" { // the package's file is to land elsewhere
			text = "%global _rpmfilename ../../../../../../rpmflow/out/rpms/evil.rpm\n" + text
		}
		repositories[h.name].Push(t, map[string]string{"hostile.spec": text})
	}
	watched := make(chan struct{})
	watching, unwatch := context.WithCancel(t.Context()) // builds have a time limit, their turn comes when it comes
	defer unwatch()
	go func() { defer close(watched); watch(watching, t, s) }()

	done := map[string]rpmflow.Build{}
	for range all {
		b := s.Finished(t).Build
		done[b.Project] = b
	}
	<-watched
	for _, h := range all {
		t.Run(h.name, func(t *testing.T) { check(t, s, h, done[h.name]) })
	}

	repositories["innocent"].Announce(t, s, "innocent")
	repositories["innocent"].Push(t, map[string]string{"hostile.spec": innocent.String()})
	b := s.Finished(t).Build
	if b.Outcome.Result != rpmflow.Succeeded {
		t.Errorf("the next package: %+v", *b.Outcome)
	}
	if log := system.FetchLog(t, s, b); !strings.Contains(log, "before ") || !strings.Contains(log, "after\n") {
		t.Errorf("build.log around what is not text:\n%q", log)
	}
	done["innocent"] = b

	if n := c.calls.Load(); n > 0 {
		t.Errorf("packages reached this machine's network %d times", n)
	}
	secrets := []string{secret, string(s.Config.S3.SecretKey), string(s.Config.NATS.Password)}
	for _, r := range repositories {
		secrets = append(secrets, r.Secret)
	}
	noSecrets(t, s, secrets, done)
	for name, sum := range snapshot(t, s) {
		if host[name] != sum {
			t.Errorf("%s was changed", name)
		}
	}
	system.NothingLeft(t, s)
	if left, err := filepath.Glob(filepath.Join(s.Dir, "another", "work", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left in the other builder's work directory: %v %v", left, err)
	}
	if left := marked(t, "sleep "+sleeper); len(left) > 0 {
		t.Errorf("processes that outlived their build: %q", left)
	}
}

// watch follows the live log of the build without end: what it says is seen while it runs.
func watch(ctx context.Context, t *testing.T, s *system.System) {
	var id string
	testkit.Eventually(t, "the build without end", func() bool {
		for _, b := range system.List(t, s, "?project=forever") {
			id = b.ID
		}
		return id != "" || ctx.Err() != nil
	})
	var seen strings.Builder
	written := regexp.MustCompile(eternity + ` (\d{19})`) // both streams come in no certain order, torn into pieces
	err := events.FollowLog(ctx, s.JS, id, true, func(p []byte) error {
		seen.Write(p)
		line := written.FindStringSubmatch(seen.String())
		if line == nil {
			return nil
		}
		if nanoseconds, err := strconv.ParseInt(line[1], 10, 64); err == nil {
			t.Logf("a line was seen %s after it was written", time.Since(time.Unix(0, nanoseconds)))
		}
		return io.EOF
	})
	if ctx.Err() != nil {
		return
	}
	for _, b := range system.List(t, s, "?project=forever") {
		if err != io.EOF || b.State != rpmflow.Running {
			t.Errorf("the live log, when the build was %s: %v\n%s", b.State, err, seen.String())
		}
	}
}

func check(t *testing.T, s *system.System, h hostile, b rpmflow.Build) {
	o := b.Outcome
	said := strings.Join(append([]string{o.Message, o.Hint}, o.Excerpt...), "\n")
	if o.Kind != h.kind && !slices.Contains(h.others, o.Kind) || o.Phase != h.phase || b.Attempt != 1 {
		t.Errorf("attempt %d: %s, kind %q in phase %s, want %q in %s: %s", b.Attempt, o.Result, o.Kind, o.Phase, h.kind,
			h.phase, said)
	}
	if !strings.Contains(said, h.said) || o.Result == rpmflow.Failed && o.Hint == "" {
		t.Errorf("nothing of %q in what is printed:\n%s", h.said, said)
	}
	logs := map[string]string{}
	for _, a := range b.Artifacts {
		if a.Kind == rpmflow.KindLog {
			logs[a.Name] = system.Gunzip(t, system.Object(t, s, a.Key))
		}
	}
	for _, name := range []string{"build.log", "root.log", "state.log", "mock.cfg"} {
		if logs[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
	if h.phase != rpmflow.PhaseSRPM && logs["installed_pkgs.log"] == "" {
		t.Error("there is no installed_pkgs.log")
	}
	if !strings.Contains(logs["mock.cfg"], "config_opts['isolation'] = 'simple'") ||
		!strings.Contains(logs["mock.cfg"], "SOURCE_DATE_EPOCH") {
		t.Errorf("mock.cfg is not what was in effect:\n%s", logs["mock.cfg"])
	}
	if h.name == "forever" && !strings.Contains(logs["build.log"], eternity) || h.name == "disk" &&
		!strings.Contains(logs["build.log"], "filling") {
		t.Errorf("build.log lacks what the build said before it was stopped:\n%s", logs["build.log"])
	}
	if h.name == "curious" {
		checkCurious(t, s, b)
	}
}

// checkCurious looks at what the curious package has found.
func checkCurious(t *testing.T, s *system.System, b rpmflow.Build) {
	found := map[string]string{}
	for _, a := range b.Artifacts {
		if a.Kind != rpmflow.KindRPM {
			continue
		}
		p, err := rpm.ReadRpm(bytes.NewReader(system.Object(t, s, a.Key)))
		testkit.Must(t, err)
		dir := t.TempDir()
		testkit.Must(t, p.ExpandPayload(dir))
		for _, part := range []string{"parse", "prep", "build", "install"} {
			text, err := os.ReadFile(filepath.Join(dir, "usr/share/hostile", part+".txt"))
			testkit.Must(t, err)
			found[part] = string(text)
		}
	}
	for _, part := range []string{"parse", "prep", "build", "install"} {
		text := found[part]
		if !strings.Contains(text, "SOURCE_DATE_EPOCH") || !strings.Contains(text, "\nlo\n") &&
			!strings.Contains(text, " lo\n") {
			t.Errorf("in %%%s it has not looked at all: %q", part, text)
		}
		if strings.Contains(text, got) || strings.Contains(text, "eth0") {
			t.Errorf("in %%%s it got what it reached for:\n%s", part, text)
		}
	}
}

// noSecrets looks for them in all that a build leaves: events, live logs, artifacts and their contents.
func noSecrets(t *testing.T, s *system.System, secrets []string, builds map[string]rpmflow.Build) {
	t.Helper()
	search := func(where string, content []byte) {
		for _, secret := range secrets {
			if len(secret) < 8 {
				t.Fatalf("%q is not a secret", secret)
			}
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s has a secret in it", where)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	caughtUp := false
	_ = events.Replay(ctx, s.JS, 0, func() { caughtUp = true; cancel() },
		func(e events.Event) error { search("an event", e.Raw); return nil })
	if !caughtUp {
		t.Error("not all events were searched")
	}
	for name, b := range builds {
		err := events.FollowLog(t.Context(), s.JS, b.ID, true,
			func(p []byte) error { search("the live log of "+name, p); return nil })
		if err != nil {
			t.Error(err)
		}
		for _, a := range b.Artifacts {
			content := system.Object(t, s, a.Key)
			if a.ContentEncoding == "gzip" {
				content = []byte(system.Gunzip(t, content))
			}
			search(name+": "+a.Name, content)
			if a.Kind == rpmflow.KindRPM {
				p, err := rpm.ReadRpm(bytes.NewReader(content))
				testkit.Must(t, err)
				dir := t.TempDir()
				testkit.Must(t, p.ExpandPayload(dir))
				// exit code 1: nothing found
				out, _ := exec.Command("grep", "-rlF", strings.Join(secrets, "\n"), dir).Output()
				if len(out) > 0 {
					t.Errorf("%s: secrets in %s", name, out)
				}
			}
		}
		search(name+": build.json", system.Object(t, s, b.Prefix()+"build.json"))
	}
}

// snapshot reads what packages reach for, as it is on this machine.
func snapshot(t *testing.T, s *system.System) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for _, name := range []string{"/etc/passwd", "/etc/shadow", "/etc/hosts", "/usr/bin/rpmbuild", "/usr/bin/gcc",
		filepath.Join(s.Dir, "rpmflow.yaml")} {
		raw, err := os.ReadFile(name)
		sums[name] = fmt.Sprintf("%s %v", rpmflow.Digest(raw), err)
	}
	entries, err := os.ReadDir("/")
	sums["/"] = fmt.Sprint(entries, err)
	return sums
}
