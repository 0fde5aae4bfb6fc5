package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

const anyPorts = "--listen 127.0.0.1:0 --embedded-nats-listen 127.0.0.1:0 --embedded-s3-listen 127.0.0.1:0"

// TestReadingWhileUpDrains: after a first signal builds in hand go on, and can be watched until they are over.
func TestReadingWhileUpDrains(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	dir := t.TempDir()
	r := system.NewRepository(t)
	gate := gateFor(t)
	slow := strings.Replace(greetSpec, "%build\n", "%build\nwhile [ ! -e "+gate+" ]; do sleep 0.1; done\n", 1)
	testkit.Write(t, filepath.Join(dir, "rpmflow.yaml"),
		"builder:\n  engine: rpmbuild\n  drain_time: 10m\ntargets:\n- name: host\nprojects:\n"+
			r.Project("greet", "  layout: in-tree\n"))
	r.Push(t, map[string]string{"greet.spec": slow, "notes.txt": notes, "greet.c": greetC, "Makefile": greetMakefile})
	up := run(t, dir, nil, "rpmflow", append([]string{"up"}, strings.Fields(anyPorts)...)...)
	up.says(t, "rpmflow is up")
	client(t, dir, "submit", "greet")
	running := func() bool { return strings.Contains(client(t, dir, "list"), "running (rpms)") }
	testkit.EventuallyWithin(t, system.Patience, "running build", running)
	if err := up.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	up.says(t, "the build may continue for the drain time")
	if !running() {
		t.Error("the build is not in the list any more")
	}
	testkit.Write(t, gate, "")
	testkit.Receive(t, "the end of up after its last build", up.done)
	if code := up.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(up.log.String(), "build finished") {
		t.Errorf("exit code %d", code)
	}
}

// TestUpEndsWithAllItStarted kills `rpmflow up` in the middle of a build, and starts it again on what was left: nothing
// is left running, nothing is lost, and the build has one outcome.
func TestUpEndsWithAllItStarted(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	dir := t.TempDir()
	r := system.NewRepository(t)
	gate := gateFor(t)
	// A build that waits for a file: it can be interrupted at a known place.
	slow := strings.Replace(greetSpec, "%build\n", "%build\nwhile [ ! -e "+gate+" ]; do sleep 0.1; done\n", 1)
	testkit.Write(t, filepath.Join(dir, "rpmflow.yaml"),
		"builder:\n  engine: rpmbuild\n  ack_wait: 3s\n  poll: 500ms\ntargets:\n- name: host\n"+
			"projects:\n"+r.Project("greet",
			"  layout: in-tree\n"))
	r.Push(t, map[string]string{"greet.spec": slow, "notes.txt": notes, "greet.c": greetC, "Makefile": greetMakefile})

	up := run(t, dir, nil, "rpmflow", append([]string{"up"}, strings.Fields(anyPorts)...)...)
	up.says(t, "rpmflow is up")
	client(t, dir, "submit", "greet")
	testkit.EventuallyWithin(t, system.Patience, "running build",
		func() bool { return strings.Contains(client(t, dir, "list"), "running (rpms)") })
	var below []int
	testkit.EventuallyWithin(t, system.Patience, "S3, the supervisor, rpmbuild and its shell", func() bool {
		below = children(t, up.cmd.Process.Pid)
		return len(below) >= 4
	})
	up.end(t, syscall.SIGKILL)
	testkit.EventuallyWithin(t, 20*time.Second, "end of every child",
		func() bool { return len(filter(below, alive)) == 0 })

	testkit.Write(t, gate, "")
	up = run(t, dir, nil, "rpmflow", append([]string{"up"}, strings.Fields(anyPorts)...)...)
	up.says(t, "rpmflow is up")
	testkit.EventuallyWithin(t, system.Patience, "outcome",
		func() bool { return strings.Contains(client(t, dir, "list"), "succeeded") })
	id := regexp.MustCompile(`"id": "([^"]+)"`).FindStringSubmatch(client(t, dir, "list", "--json"))[1]
	if shown := client(t, dir, "show", id); !strings.Contains(shown, "attempt 1 was interrupted") ||
		!strings.Contains(shown, "greet-1:1.2-3") {
		t.Errorf("show: %s", shown)
	}
	if log := client(t, dir, "logs", id); !strings.Contains(log, "cc -o greet greet.c") {
		t.Errorf("logs: %s", log)
	}
	below = children(t, up.cmd.Process.Pid)
	up.end(t, syscall.SIGINT)
	if code := up.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after Ctrl-C", code)
	}
	if left := filter(below, alive); len(left) > 0 {
		t.Errorf("left running: %v", left)
	}
	if _, err := os.Stat(filepath.Join(dir, ".rpmflow", "client.yaml")); err == nil {
		t.Error("the command line would still look for the server")
	}
}

// TestBuildersAreReplaceable runs the programs apart. The listener and the builder start before NATS and S3 are there,
// say so, and wait. A builder is killed in the middle of a build in a container; another one on the same engine builds
// it again, and removes what the dead one has left.
func TestBuildersAreReplaceable(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	_, targetYAML := system.MockTarget(t)
	dir := t.TempDir()
	r := system.NewRepository(t)
	gateSpec := strings.Replace(greetSpec, "%build\n", "%build\n[ ! -e wait ] || sleep 600\n", 1)
	files := map[string]string{"greet.spec": gateSpec, "notes.txt": notes, "greet.c": greetC, "Makefile": greetMakefile,
		"wait": "yes\n"}
	r.Push(t, files)

	natsPort := system.FreePort(t)
	s3 := storagetest.Start(t)
	yaml := fmt.Sprintf("nats:\n  url: nats://127.0.0.1:%d\ns3:\n  endpoint: %s\n  bucket: %s\n  access_key: %s\n  "+
		"secret_key: %s\nlistener:\n  listen: 127.0.0.1:%d\nbuilder:\n  engine: mock\n  ack_wait: 3s\n  poll: "+
		"500ms\n  "+
		"drain_time: 1s\ntargets:\n%sprojects:\n%s",
		natsPort, s3.Endpoint, s3.Bucket, s3.AccessKey, s3.SecretKey, system.FreePort(t), targetYAML,
		r.Project("greet", "  layout: in-tree\n"))
	file := filepath.Join(dir, "rpmflow.yaml")
	testkit.Write(t, file, yaml)
	if _, err := config.Load(config.Source{File: file, For: config.ForOperator}); err != nil {
		t.Fatal(err)
	}
	listener := run(t, dir, nil, "listener", "--data-dir", filepath.Join(dir, "l"))
	first := run(t, dir, nil, "builder", "--name", "first", "--data-dir", filepath.Join(dir, "b1"))
	listener.says(t, "NATS is not ready, trying again")
	first.says(t, "NATS is not ready, trying again")
	startNATS(t, natsPort)
	first.says(t, "waiting for builds")
	testkit.EventuallyWithin(t, system.Patience, "ready listener", func() bool {
		return exec.Command(program(t, "rpmflow"), "health", "--config", file).Run() == nil
	})

	nc, js, err := events.Dial(events.Access{URL: fmt.Sprintf("nats://127.0.0.1:%d", natsPort)}, system.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	system.ForgetRoots(t, js)
	nc.Close()

	client(t, dir, "submit", "greet")
	running := func(builder string) bool {
		shown := client(t, dir, "list", "--json")
		return strings.Contains(shown, `"phase": "rpms"`) && strings.Contains(shown, `"builder": "`+builder+`"`)
	}
	testkit.EventuallyWithin(t, system.Patience, "running build", func() bool { return running("first") })
	id := regexp.MustCompile(`"id": "([^"]+)"`).FindStringSubmatch(client(t, dir, "list", "--json"))[1]
	testkit.EventuallyWithin(t, system.Patience, "container with the build",
		func() bool { return len(containers(t, id)) > 0 })
	old := containers(t, id)
	// A later reader can follow the container's own log from its start.
	testkit.EventuallyWithin(t, system.Patience, "beginning of the build in the container's own log", func() bool {
		out, err := exec.Command("docker", "logs", old[0]).CombinedOutput()
		return err == nil && strings.Contains(string(out), "Start")
	})
	first.end(t, syscall.SIGKILL)

	// The commit hangs for everybody: the second attempt is handed back when its builder is stopped.
	second := run(t, dir, nil, "builder", "--name", "second", "--data-dir", filepath.Join(dir, "b2"))
	testkit.EventuallyWithin(t, system.Patience, "second attempt", func() bool { return running("second") })
	testkit.EventuallyWithin(t, system.Patience, "end of the dead builder's containers", func() bool {
		for _, c := range containers(t, id) {
			for _, o := range old {
				if c == o {
					return false
				}
			}
		}
		return true
	})
	second.end(t, syscall.SIGTERM)
	second.says(t, "build handed back")
	if left := containers(t, id); len(left) > 0 {
		t.Errorf("containers after the drain: %v", left)
	}
	shown := strings.Join(strings.Fields(client(t, dir, "show", id)), " ")
	if !strings.Contains(shown, "state queued") || !strings.Contains(shown, "attempt 1 was interrupted") ||
		!strings.Contains(shown, "attempt 2 was interrupted") {
		t.Errorf("after the drain: %s", shown)
	}
}

// TestStorageComesLate starts a builder before S3 is there: it says so, and takes builds once S3 is.
func TestStorageComesLate(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	dir := t.TempDir()
	natsPort := system.FreePort(t)
	startNATS(t, natsPort)
	// as a listener does
	nc, _, err := events.Connect(t.Context(), events.Access{URL: fmt.Sprintf("nats://127.0.0.1:%d", natsPort)},
		system.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	yaml := fmt.Sprintf("nats:\n  url: nats://127.0.0.1:%d\ns3:\n  endpoint: http://127.0.0.1:%d\n  access_key: a\n  "+
		"secret_key: wrong-but-long\nbuilder:\n  engine: rpmbuild\n", natsPort, system.FreePort(t))
	testkit.Write(t, filepath.Join(dir, "rpmflow.yaml"), yaml)
	b := run(t, dir, nil, "builder")
	b.says(t, "the storage is not ready, trying again")
	b.end(t, syscall.SIGTERM)
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}

	// The wrong key is said in words, too.
	s3 := storagetest.Start(t)
	yaml = fmt.Sprintf("nats:\n  url: nats://127.0.0.1:%d\ns3:\n  endpoint: %s\n  bucket: %s\n  access_key: %s\n  "+
		"secret_key: not-the-secret\nbuilder:\n  engine: rpmbuild\n", natsPort, s3.Endpoint, s3.Bucket, s3.AccessKey)
	testkit.Write(t, filepath.Join(dir, "rpmflow.yaml"), yaml)
	b = run(t, dir, nil, "builder")
	b.says(t, storage.ErrCredentials.Error())
	b.end(t, syscall.SIGTERM)
}

// TestImageAppears submits a build whose mock image is not there: it waits, and goes on by itself when the image is.
func TestImageAppears(t *testing.T) {
	t.Parallel()
	target, targetYAML := system.MockTarget(t)
	_, image, _ := strings.Cut(targetYAML, "image: ")
	image, _, _ = strings.Cut(image, "\n")
	absent := "rpmflow-e2e/absent:" + strconv.FormatInt(time.Now().UnixNano(), 36)
	dir := t.TempDir()
	r := system.NewRepository(t)
	r.Push(t, inTree())
	testkit.Write(t, filepath.Join(dir, "rpmflow.yaml"),
		"builder:\n  poll: 500ms\ntargets:\n"+strings.Replace(targetYAML, image, absent,
			1)+"projects:\n"+r.Project("greet",
			""))
	up := run(t, dir, nil, "rpmflow", append([]string{"up"}, strings.Fields(anyPorts)...)...)
	up.says(t, "rpmflow is up")
	client(t, dir, "submit", "greet")
	testkit.EventuallyWithin(t, time.Minute, "the reason",
		func() bool { return strings.Contains(client(t, dir, "list"), absent+" is not on the engine") })
	docker := func(args ...string) {
		if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
			t.Errorf("docker %v: %v: %s", args, err, out)
		}
	}
	docker("tag", image, absent)
	defer docker("rmi", absent)
	testkit.EventuallyWithin(t, 30*time.Second, "its start",
		func() bool { return strings.Contains(client(t, dir, "list"), "running") })
	testkit.EventuallyWithin(t, 10*time.Minute, "its end",
		func() bool { return strings.Contains(client(t, dir, "list"), "succeeded") })
	if shown := client(t, dir, "list", "--json"); !strings.Contains(shown, `"attempt": 1`) ||
		!strings.Contains(shown, target) || strings.Contains(shown, `"waiting"`) {
		t.Errorf("list: %s", shown)
	}
	up.end(t, syscall.SIGTERM)
}

// TestNoEngine asks for mock where Docker is not: the builder says so, takes nothing, and the build waits.
func TestNoEngine(t *testing.T) {
	t.Parallel()
	system.NeedRPM(t)
	dir := t.TempDir()
	r := system.NewRepository(t)
	r.Push(t, inTree())
	testkit.Write(t, filepath.Join(dir, "rpmflow.yaml"),
		"builder:\n  engine: mock\n  poll: 200ms\n  docker:\n    host: unix:///nonexistent/docker.sock\ntargets:\n- "+
			"name: "+
			"fedora-43-x86_64\nprojects:\n"+r.Project("greet", ""))
	up := run(t, dir, nil, "rpmflow", append([]string{"up"}, strings.Fields(anyPorts)...)...)
	up.says(t, "rpmflow is up")
	client(t, dir, "submit", "greet")
	up.says(t, "taking no builds for now")
	waits := func(why string) {
		t.Helper()
		testkit.EventuallyWithin(t, system.Patience, "the reason in the list: "+why, func() bool {
			shown := client(t, dir, "list")
			return strings.Contains(shown, "queued") && strings.Contains(shown, why)
		})
	}
	waits("Docker")
	up.end(t, syscall.SIGTERM)

	// auto is mock on a server, and the host's rpmbuild does not build for Fedora.
	up = run(t, dir, []string{"RPMFLOW_BUILDER_ENGINE=auto"}, "rpmflow", append([]string{"up"},
		strings.Fields(anyPorts)...)...)
	up.says(t, "taking no builds for now")
	up.end(t, syscall.SIGTERM)
	up = run(t, dir, []string{"RPMFLOW_BUILDER_ENGINE=rpmbuild"}, "rpmflow",
		append([]string{"up"}, strings.Fields(anyPorts)...)...)
	up.says(t, "NOT IN A CLEAN ROOT")
	waits("the host's rpmbuild does not build for")
	up.end(t, syscall.SIGTERM)
}
