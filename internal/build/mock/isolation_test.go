package mock

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocktest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// newSession opens an attempt on the engine, with the stand-in's image.
func newSession(t *testing.T, s Settings) *session {
	t.Helper()
	image := testkit.Standin(t)
	s.Installation, s.Logger = rpmflow.Digest([]byte(t.Name())), quiet
	e, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := e.Open(t.Context(), build.Job{
		Build: rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: rpmflow.BuildID(t.Name(), "p", "standin-1-x86_64"),
			Target: "standin-1-x86_64"}, Attempt: 1},
		Target: rpmflow.Target{Name: "standin-1-x86_64", Arch: "x86_64", Config: "standin-1-x86_64", Image: image},
		Epoch: time.Unix(1_700_000_000,
			0), Dir: t.TempDir(), Log: io.Discard, OnContainer: func(string) {}, OnRoot: func(rpmflow.BuildRoot) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := errors.Join(opened.Close(ctx), e.Shut()); err != nil {
			t.Error(err)
		}
	})
	return opened.(*session)
}

// TestContainersAreConfined looks at the containers as the engine made them.
func TestContainersAreConfined(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	s := newSession(t, Settings{Network: "bridge", Memory: 256 << 20, CPUs: 1.5, PIDs: 99, Disk: 1 << 30,
		AppArmor: "unconfined"})
	for _, network := range []bool{false, true} {
		st := step{image: s.image, network: network, script: "true", env: []string{"A=b"}}
		if network { // as those that leave an image
			st.name = s.e.images.LockName("confined")
		}
		id, err := s.create(t.Context(), st)
		if err != nil {
			t.Fatal(err)
		}
		s.containers = append(s.containers, id)
		var infos []container.InspectResponse
		testkit.Must(t, json.Unmarshal([]byte(mocktest.Docker(t, "inspect", id)), &infos))
		info := infos[0]
		h := info.HostConfig
		want := container.NetworkMode("none")
		if network {
			want = "bridge"
		}
		if h.NetworkMode != want {
			t.Errorf("network %s, want %s", h.NetworkMode, want)
		}
		added := slices.Clone(h.CapAdd)
		for i := range added {
			added[i] = strings.TrimPrefix(added[i], "CAP_")
		}
		if h.Privileged || !slices.Equal(h.CapDrop, []string{"ALL"}) ||
			!slices.Equal(slices.Sorted(slices.Values(added)),
				slices.Sorted(slices.Values(capabilities))) {
			t.Errorf("privileged %v, without %v, with %v", h.Privileged, h.CapDrop, h.CapAdd)
		}
		// and so the engine's own seccomp profile
		if !slices.Equal(h.SecurityOpt, []string{"no-new-privileges", "apparmor=unconfined"}) {
			t.Errorf("security options %v", h.SecurityOpt)
		}
		if len(h.Binds)+len(h.VolumesFrom)+len(h.Devices)+len(h.DeviceRequests)+len(h.Links)+
			len(h.ExtraHosts)+len(h.PortBindings)+len(h.GroupAdd) > 0 {
			t.Errorf("it is given something of the host's: %+v", h)
		}
		for _, m := range info.Mounts {
			if !network || m.Type != "volume" || m.Driver != "local" || m.Destination != inWork {
				t.Errorf("mount %+v", m)
			}
		}
		if h.PidMode != "" || h.IpcMode.IsHost() || h.IpcMode.IsContainer() || h.UTSMode != "" || h.UsernsMode != "" ||
			h.CgroupnsMode.IsHost() && info.HostConfig.CgroupParent != "" {
			t.Errorf("namespaces: %q %q %q %q", h.PidMode, h.IpcMode, h.UTSMode, h.UsernsMode)
		}
		if len(h.MaskedPaths) == 0 || len(h.ReadonlyPaths) == 0 {
			t.Error("nothing of /proc is masked")
		}
		if h.Memory != 256<<20 || h.MemorySwap != h.Memory || h.NanoCPUs != 15e8 || h.PidsLimit == nil ||
			*h.PidsLimit != 99 {
			t.Errorf("limits: %+v", h.Resources)
		}
		if len(h.Ulimits) != 1 || h.Ulimits[0].Name != "fsize" || h.Ulimits[0].Hard != 1<<30 {
			t.Errorf("ulimits: %v", h.Ulimits)
		}
		for _, e := range info.Config.Env {
			if name, _, _ := strings.Cut(e, "="); !slices.Contains([]string{"LANG", "LC_ALL", "TERM", "A", "PATH"},
				name) {
				t.Errorf("environment: %s", e)
			}
		}
	}
}

// seems is a step that looks in every log as if the package's build had failed, if it is let.
const seems = `trap 'exit 1' TERM
printf 'error: Bad exit status from /var/tmp/rpm-tmp.x (%%build)\nChild return code was: 1\n' >"$OUT/build.log"
printf '1 - Start: build phase for x\n1 - Finish: build phase for x\n' >"$OUT/state.log"
echo ready
`

// TestStoppedByOthers ends containers as another program on the engine would: whatever the logs say, it is not the
// packager's failure.
func TestStoppedByOthers(t *testing.T) {
	t.Parallel()
	s := newSession(t, Settings{Network: "bridge"})
	var f *rpmflow.Failure
	if _, err := s.phase(t.Context(), rpmflow.PhaseRPMs, step{image: s.image, files: s.config.files, script: seems +
		"exit 1"}); !errors.As(err, &f) || f.Kind != rpmflow.FailureBuild {
		t.Fatalf("left alone: %v", err)
	}
	for _, how := range [][]string{{"kill", "--signal", "TERM"}, {"kill"}, {"stop", "--time", "1"},
		{"restart", "--time",
			"0"}} {
		t.Run(strings.Join(how, " "), func(t *testing.T) {
			var id string
			s.job.OnContainer = func(made string) { id = made }
			done := make(chan error, 1)
			end := sync.OnceFunc(func() { done <- exec.Command("docker", append(how, id)...).Run() })
			s.job.Log = &trigger{word: "ready", do: func() { go end() }} // a second time after a restart
			_, err := s.phase(t.Context(), rpmflow.PhaseRPMs, step{image: s.image, files: s.config.files,
				script: seems +
					"sleep 60 & wait"})
			testkit.Must(t, testkit.Receive(t, "the end of docker "+how[0], done))
			if f = nil; err == nil || errors.As(err, &f) {
				t.Fatalf("%v (%+v), want a failure of ours", err, f)
			}
			t.Log(err)
		})
	}
}

// TestOutOfMemory lets the kernel end what needs too much.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	s := newSession(t, Settings{Network: "bridge", Memory: 64 << 20})
	const hungry = `python3 -c 'x = b"x" * (1 << 30)' || exit 1`
	var f *rpmflow.Failure
	_, err := s.phase(t.Context(), rpmflow.PhaseRPMs, step{image: s.image, files: s.config.files, script: hungry})
	if !errors.As(err, &f) || f.Kind != rpmflow.FailureBuild || !strings.Contains(f.Message, "64 MiB") {
		t.Errorf("the package's own code: %v", err)
	}
	if _, err = s.phase(t.Context(), rpmflow.PhaseDependencies, step{image: s.image, files: s.config.files,
		script: hungry}); err == nil {
		t.Errorf("installing packages: %v", err)
	}
	if f = nil; errors.As(err, &f) {
		t.Errorf("installing packages: %v is called the packager's", err)
	}
}

// TestStoppedBuildsKeepTheirLogs stops a step by its context, as a timeout does.
func TestStoppedBuildsKeepTheirLogs(t *testing.T) {
	t.Parallel()
	s := newSession(t, Settings{Network: "bridge"})
	for _, why := range []error{rpmflow.Fail(rpmflow.FailureTimeout, "hurry", "too late"), errors.New("handed back")} {
		ctx, cancel := context.WithCancelCause(t.Context())
		seen := &trigger{word: "ready", do: func() { cancel(why) }}
		s.job.Log = seen
		_, err := s.phase(ctx, rpmflow.PhaseRPMs, step{image: s.image, files: s.config.files, script: seems +
			"echo data >\"$OUT/x.rpm\"; sleep 60"})
		if !errors.Is(err, why) {
			t.Errorf("%v, want %v", err, why)
		}
		var f *rpmflow.Failure
		logs := s.Logs()
		if outcome := errors.As(why, &f); outcome != (len(logs) == 2) {
			t.Errorf("%v: logs %v", why, logs)
		}
		if isFile(s.dir(rpmflow.PhaseRPMs) + "/x.rpm") {
			t.Error("a package of a build that was stopped")
		}
		if err := exec.Command("rm", "-rf", s.dir(rpmflow.PhaseRPMs)).Run(); err != nil {
			t.Fatal(err)
		}
	}
}

// trigger does something when a word is written.
type trigger struct {
	word string
	do   func()
}

func (w *trigger) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.word) {
		w.do()
	}
	return len(p), nil
}
