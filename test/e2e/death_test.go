package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// apart is the programs apart from each other: NATS and S3 in this process, a listener, and builders that come and go.
type apart struct {
	t        *testing.T
	dir, url string
	js       jetstream.JetStream
	ledger   *events.Ledger
	docker   []string // the command, with the engine that it asks; nil: no containers
	builds   []string // that were submitted
}

// newApart starts all but the builders. The package's build waits until the gate is there.
func newApart(t *testing.T, docker []string, builder, targets, gate string) *apart {
	t.Helper()
	system.NeedRPM(t)
	r := system.NewRepository(t)
	waits := strings.Replace(greetSpec, "%build\n", "%build\nwhile [ ! -e "+gate+" ]; do sleep 0.1; done\n", 1)
	r.Push(t, map[string]string{"greet.spec": waits, "notes.txt": notes, "greet.c": greetC, "Makefile": greetMakefile})
	natsPort, port, s3 := system.FreePort(t), system.FreePort(t), storagetest.Start(t)
	a := &apart{t: t, docker: docker, dir: t.TempDir(), url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	testkit.Write(t, filepath.Join(a.dir, "rpmflow.yaml"),
		fmt.Sprintf("nats:\n  url: nats://127.0.0.1:%d\ns3:\n  endpoint: %s\n  bucket: %s\n  access_key: %s\n  "+
			"secret_key: "+
			"%s\nlistener:\n  listen: 127.0.0.1:%d\nbuilder:\n  ack_wait: 3s\n  poll: 500ms\n  retry_delay: "+
			"1s\n%stargets:\n%sprojects:\n%s",
			natsPort, s3.Endpoint, s3.Bucket, s3.AccessKey, s3.SecretKey, port, builder, targets,
			r.Project("greet", "  layout: in-tree\n")))
	t.Cleanup(a.sweep) // when all programs have ended
	startNATS(t, natsPort)
	run(t, a.dir, nil, "listener", "--data-dir", filepath.Join(a.dir, "listener")).says(t, "listening")
	nc, js, err := events.Dial(events.Access{URL: fmt.Sprintf("nats://127.0.0.1:%d", natsPort), Name: "test"},
		system.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	a.js = js
	if a.ledger, err = events.NewLedger(t.Context(), js); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *apart) builder(name string, flags ...string) *process {
	a.t.Helper()
	p := run(a.t, a.dir, nil, "builder", append([]string{"--name", name, "--data-dir", filepath.Join(a.dir, name)},
		flags...)...)
	p.says(a.t, "waiting for builds")
	return p
}

// sweep removes what a failed test has left on the engine: nothing else would.
func (a *apart) sweep() {
	for _, id := range a.builds {
		for _, what := range [][]string{{"ps", "-aq", "rm"}, {"images", "-aq", "rmi"}} {
			if a.docker == nil || !a.t.Failed() {
				return
			}
			out, _ := command(a.docker, what[0], what[1], "--filter", "label=dev.rpmflow.build="+id).Output()
			for _, left := range strings.Fields(string(out)) {
				_ = command(a.docker, what[2], "--force", left).Run()
			}
		}
	}
}

// submit requests a build and returns its id.
func (a *apart) submit() string {
	a.t.Helper()
	res, err := http.Post(a.url+"/api/v1/builds", "application/json", strings.NewReader(`{"project": "greet"}`))
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Builds []struct{ ID string } }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || len(answer.Builds) != 1 {
		a.t.Fatalf("%s: %v: %+v", res.Status, err, answer)
	}
	a.builds = append(a.builds, answer.Builds[0].ID)
	return answer.Builds[0].ID
}

// until waits for a state of the build.
func (a *apart) until(id, what string, is func(b rpmflow.Build) bool) (b rpmflow.Build) {
	a.t.Helper()
	testkit.EventuallyWithin(a.t, system.Patience, what, func() bool {
		last, err := a.ledger.LastOf(a.t.Context(), id)
		b = last.Build
		if err == nil && b.State == rpmflow.Finished && !is(b) {
			a.t.Fatalf("no %s: %+v, %+v, notes %q", what, b.Outcome, b, b.Notes)
		}
		return err == nil && is(b)
	})
	return b
}

// waits waits until the package's own code is run by that builder.
func (a *apart) waits(id, builder string, attempt int) rpmflow.Build {
	a.t.Helper()
	return a.until(id, fmt.Sprintf("attempt %d by %s", attempt, builder), func(b rpmflow.Build) bool {
		return b.Phase == rpmflow.PhaseRPMs && b.Builder == builder && b.Attempt == attempt
	})
}

// ends waits for the build's one good end.
func (a *apart) ends(id string) rpmflow.Build {
	a.t.Helper()
	b := a.until(id, "outcome", func(b rpmflow.Build) bool { return b.State == rpmflow.Finished })
	if b.Outcome.Result != rpmflow.Succeeded || len(b.Packages) != 3 {
		a.t.Errorf("%+v: %+v", b.Outcome, b)
	}
	stream, err := a.js.Stream(a.t.Context(), events.StreamEvents)
	if err != nil {
		a.t.Fatal(err)
	}
	subjects := "rpmflow.events.*.*." + id + ".finished"
	info, err := stream.Info(a.t.Context(), jetstream.WithSubjectFilter(subjects))
	if err != nil {
		a.t.Fatal(err)
	}
	for subject, n := range info.State.Subjects {
		if n != 1 {
			a.t.Errorf("%d events of %s", n, subject)
		}
	}
	testkit.EventuallyWithin(a.t, system.Patience, "empty queue", func() bool {
		s, err := a.js.Stream(a.t.Context(), events.StreamBuilds)
		return err == nil && s.CachedInfo().State.Msgs == 0
	})
	return b
}

// dockerStop ends a program as `docker stop` does: SIGTERM, and SIGKILL ten seconds later. It reports whether the
// second was needed.
func dockerStop(t *testing.T, p *process) (killed bool) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
		return false
	case <-time.After(10 * time.Second):
		p.end(t, syscall.SIGKILL)
		return true
	}
}

// TestSignals ends one builder after the other in the middle of one build, in every way that a signal can. What was
// handed back costs nothing, what was killed counts as lost, and there is one outcome.
func TestSignals(t *testing.T) {
	t.Parallel()
	gate := gateFor(t)
	a := newApart(t, nil, "  engine: rpmbuild\n", "- name: host\n", gate)
	one := a.builder("one")
	id := a.submit()
	a.waits(id, "one", 1)
	if err := one.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	one.says(t, "shutting down")
	if last, err := a.ledger.LastOf(t.Context(), id); err != nil || last.Build.State != rpmflow.Running {
		t.Errorf("after the first signal: %v, %v", last.Build.State, err)
	}
	one.end(t, syscall.SIGTERM)
	if code := one.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after the second signal", code)
	}
	if last, err := a.ledger.LastOf(t.Context(), id); err != nil || last.Build.State != rpmflow.Queued {
		t.Errorf("after the second signal: %v, %v", last.Build.State, err)
	}

	two := a.builder("two")
	if b := a.waits(id, "two", 2); b.LostAttempts+b.InfrastructureFailures != 0 {
		t.Errorf("handed back: %+v", b)
	}
	if !dockerStop(t, two) {
		t.Error("a builder with a long drain time has not waited")
	}

	three := a.builder("three", "--drain-time", "1s")
	if b := a.waits(id, "three", 3); b.LostAttempts != 1 || b.InfrastructureFailures != 0 {
		t.Errorf("killed: %+v", b)
	}
	if dockerStop(t, three) {
		t.Error("a builder with a short drain time had to be killed")
	}

	testkit.Write(t, gate, "")
	a.builder("four")
	if b := a.ends(id); b.Attempt != 4 || b.Builder != "four" || b.LostAttempts != 1 || b.InfrastructureFailures != 0 {
		t.Errorf("%+v", b)
	}
}

// container returns the one in which an attempt's code runs; docker is the command, with the engine that it asks.
func container(t *testing.T, docker []string, b rpmflow.Build) (id string) {
	t.Helper()
	testkit.EventuallyWithin(t, system.Patience, fmt.Sprintf("container of attempt %d that waits", b.Attempt),
		func() bool {
			out, err := command(docker, "ps", "-q", "--no-trunc", "--filter", "label=dev.rpmflow.build="+b.ID,
				"--filter",
				fmt.Sprintf("label=dev.rpmflow.attempt=%d", b.Attempt)).Output()
			for _, found := range strings.Fields(string(out)) {
				if log, lerr := command(docker, "logs", found).CombinedOutput(); err == nil && lerr == nil &&
					strings.Contains(string(log), "sleep 0.1") {
					id = found
				}
			}
			return id != ""
		})
	return id
}

func command(docker []string, args ...string) *exec.Cmd {
	all := append(slices.Clone(docker), args...)
	return exec.Command(all[0], all[1:]...)
}

// open lets the build in a container go on.
func open(t *testing.T, docker []string, container string) {
	t.Helper()
	if out, err := command(docker, "exec", container, "sh", "-c",
		`for dir in /var/lib/mock/*/root/builddir; do touch "$dir/gate"; done`).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// nothingOf waits until no container and no image of the builds is on the engine.
func nothingOf(t *testing.T, docker []string, builds ...string) {
	t.Helper()
	for _, b := range builds {
		for _, what := range [][]string{{"ps", "-aq"}, {"images", "-aq"}} {
			var out []byte
			testkit.EventuallyWithin(t, system.Patience, fmt.Sprintf("docker %v without anything of build %s", what, b),
				func() bool {
					var err error
					out, err = command(docker, append(what, "--filter",
						"label=dev.rpmflow.build="+b)...).CombinedOutput()
					return err == nil && len(bytes.TrimSpace(out)) == 0
				})
		}
	}
}

// runs reports whether a container is there and runs.
func runs(docker []string, container string) bool {
	out, err := command(docker, "inspect", "--format", "{{.State.Running}}", container).Output()
	return err == nil && strings.TrimSpace(string(out)) == "true"
}

// TestTwoBuildersOnOneEngine stops one of two builders for longer than the ack wait, as a machine does that is
// suspended, and lets it go on. The other one builds the build again and removes its old container and nothing else;
// the first one sees that it has lost, and leaves the other's container alone.
func TestTwoBuildersOnOneEngine(t *testing.T) {
	t.Parallel()
	_, target := system.MockTarget(t)
	docker := []string{"docker"}
	a := newApart(t, docker, "  engine: mock\n", target, "/builddir/gate")
	first := a.builder("first")
	lost := a.submit()
	old := container(t, docker, a.waits(lost, "first", 1))
	a.builder("second", "--jobs", "2")
	other := a.submit() // the first one has no slot for it
	parallel := container(t, docker, a.waits(other, "second", 1))

	if err := first.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	again := container(t, docker, a.waits(lost, "second", 2))
	testkit.EventuallyWithin(t, system.Patience, "end of the old container", func() bool { return !runs(docker, old) })
	if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	first.says(t, "build lost to another builder")
	a.builder("third") // looks for what dead attempts have left when it starts
	for name, id := range map[string]string{"the new attempt's": again, "the other build's": parallel} {
		if !runs(docker, id) {
			t.Errorf("%s container is gone", name)
		}
		open(t, docker, id)
	}
	if b := a.ends(other); b.Attempt != 1 || b.LostAttempts != 0 {
		t.Errorf("the other build: %+v", b)
	}
	if b := a.ends(lost); b.Attempt != 2 || b.LostAttempts != 1 || b.InfrastructureFailures != 0 {
		t.Errorf("the lost build: %+v", b)
	}
	nothingOf(t, docker, lost, other)
}

// TestContainerEndedByOthers ends containers in the middle of the package's own code: it is not the package's failure,
// and the build is built again.
func TestContainerEndedByOthers(t *testing.T) {
	t.Parallel()
	_, target := system.MockTarget(t)
	docker := []string{"docker"}
	a := newApart(t, docker, "  engine: mock\n", target, "/builddir/gate")
	a.builder("one")
	id := a.submit()
	for i, how := range [][]string{{"kill"}, {"rm", "--force"}} {
		found := container(t, docker, a.waits(id, "one", i+1))
		if out, err := command(docker, append(how, found)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	open(t, docker, container(t, docker, a.waits(id, "one", 3)))
	if b := a.ends(id); b.Attempt != 3 || b.InfrastructureFailures != 2 || b.LostAttempts != 0 {
		t.Errorf("%+v", b)
	}
	nothingOf(t, docker, id)
}

// TestEngineRestarts kills an engine in the middle of a build, and stops it as its service does; each time it comes
// again soon. The build is built again, and what the dead attempts have left is removed.
func TestEngineRestarts(t *testing.T) {
	t.Parallel()
	if os.Getenv("MOCK_IMAGE") != "" {
		t.Skip("real mock wants its repositories, and the engine of the test has no network: this is shown with the " +
			"stand-in")
	}
	_, target := system.MockTarget(t)
	e := newEngine(t)
	image := strings.TrimSpace(target[strings.Index(target, "image: ")+len("image: "):])
	image, _, _ = strings.Cut(image, "\n")
	e.load(image)
	docker := []string{"docker", "--host", e.host()}
	a := newApart(t, docker, "  engine: mock\n  docker:\n    host: "+e.host()+"\n    network: none\n", target,
		"/builddir/gate")
	a.builder("one")
	id := a.submit()
	for i, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		container(t, docker, a.waits(id, "one", i+1))
		e.end(signal)
		a.until(id, "retry", func(b rpmflow.Build) bool {
			return b.State == rpmflow.Queued &&
				b.InfrastructureFailures == i+1
		})
		e.start()
	}
	open(t, docker, container(t, docker, a.waits(id, "one", 3)))
	if b := a.ends(id); b.Attempt != 3 || b.InfrastructureFailures != 2 || b.LostAttempts != 0 {
		t.Errorf("%+v", b)
	}
	nothingOf(t, docker, id)
}
