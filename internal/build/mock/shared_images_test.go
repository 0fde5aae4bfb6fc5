package mock

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocktest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestRootsAreComparedAheadOfTime: the root of a target that builds use is asked for before it is too old for them.
func TestRootsAreComparedAheadOfTime(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	e := h.engineWith(t, Settings{KeepFresh: time.Hour})
	target := h.target
	target.MaxAge = 20 * time.Second // the shortest for which that is done
	root := h.ready(t, e, "build", target).root
	testkit.Must(t, e.Warm(t.Context(), build.Job{
		Target: target, Dir: t.TempDir(), Log: io.Discard, OnContainer: func(string) {},
		OnRoot: func(rpmflow.BuildRoot) {},
	}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.KeepFresh(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	h.serve(t, "two")
	key := h.open(t, e, "look", target).s.rootKey()
	testkit.Eventually(t, "a newer root", func() bool {
		c := testkit.Value(e.images.Newest(t.Context(), images.Root, key))(t)
		return c != nil && c.ID != root.Image && c.Repositories()["r"] != root.Repositories["r"]
	})
}

// TestDownloadsAreKept: what one build's dependencies have downloaded, those of another package find there, as long as
// it is what the repository says; and what a container that installs writes there reaches no other build.
func TestDownloadsAreKept(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	mocktest.Docker(t, "exec", h.repository, "sh", "-c", `cd /repo && echo the package >gcc.rpm && sha256sum gcc.rpm |`+
		` while read -r sum file; do echo "gcc $sum $file"; done >repodata/standin-packages`)
	fetched := func() int { return strings.Count(mocktest.Docker(t, "logs", h.repository), "GET /gcc.rpm ") }
	e := h.engine(t)
	build := func(project string) *attempt {
		t.Helper()
		a := h.open(t, e, project, h.target)
		a.s.job.Build.Project = project
		if err := a.Root(t.Context()); err != nil {
			t.Fatal(err)
		}
		if containers, err := a.build(t, "1", "gcc", "true"); err != nil || containers != 1 {
			t.Fatalf("%s: %d containers for the dependencies: %v", project, containers, err)
		}
		e.images.Wait()
		return a
	}
	build("first")
	if n := fetched(); n != 1 {
		t.Fatalf("downloaded %d times", n)
	}
	build("second")
	if n := fetched(); n != 1 {
		t.Errorf("downloaded %d times, the second time though it was there", n)
	}
	volume := mocktest.Docker(t, "volume", "ls", "-q", "--filter", "label="+images.LabelInstallation+"="+h.installation)
	kept := mocktest.Docker(t, "run", "--rm", "-v", volume+":/v", h.image, "sh", "-c",
		"cd /v && find . -type f | sed s/-[0-9a-f]*.packages/-/ && echo bad >$(find . -name gcc.rpm)")
	if !strings.HasSuffix(kept, "/gcc.rpm") || strings.Count(kept, "\n") != 0 {
		t.Errorf("the volume holds %q", kept)
	}
	third := build("third")
	if n := fetched(); n != 2 {
		t.Errorf("downloaded %d times: one that was spoiled is to be downloaded again", n)
	}
	for _, image := range mocktest.Images(t, h.installation) {
		if out := mocktest.Docker(t, "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c",
			"find / -xdev -name '*.rpm'"); out != "" {
			t.Errorf("%s holds downloads: %s", image, out)
		}
	}

	st := third.s.step("root", step{name: e.images.LockName("try"), image: third.s.image, network: true,
		script: "! touch /rpmflow/packages/x", files: third.s.config.files})
	id, err := third.s.create(t.Context(), st)
	testkit.Must(t, err)
	third.s.containers = append(third.s.containers, id)
	end, err := third.s.run(t.Context(), id, st)
	testkit.Must(t, err)
	if said := strings.Join(end.output, "\n"); end.Code != 0 || !strings.Contains(said, "Read-only file system") {
		t.Errorf("a container that installs packages writes into the downloads of others: exit code %d: %s", end.Code,
			said)
	}
}
