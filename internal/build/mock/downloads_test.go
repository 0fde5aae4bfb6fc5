package mock

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestDownloadsAreKept: what one build's dependencies have downloaded, those of another package find there, as long as it is what the
// repository says; and what a container that installs writes there reaches nobody.
func TestDownloadsAreKept(t *testing.T) {
	h := newHost(t)
	docker(t, "exec", h.repository, "sh", "-c", `cd /repo && echo the package >gcc.rpm && sha256sum gcc.rpm | while read -r sum file; do echo "gcc $sum $file"; done >repodata/standin-packages`)
	fetched := func() int { return strings.Count(docker(t, "logs", h.repository), "GET /gcc.rpm ") }
	settle := func(e *Engine) { e.burials.wait.Wait() }
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
		settle(e)
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
	kept := docker(t, "run", "--rm", "-v", e.volumeOf("ours")+":/v", h.image, "sh", "-c", "cd /v && find . -type f | sed s/-[0-9a-f]*.packages/-/ && echo bad >$(find . -name gcc.rpm)")
	if !strings.HasSuffix(kept, "/gcc.rpm") || strings.Count(kept, "\n") != 0 {
		t.Errorf("the volume holds %q", kept)
	}
	third := build("third")
	if n := fetched(); n != 2 {
		t.Errorf("downloaded %d times: one that was spoiled is to be downloaded again", n)
	}
	for _, image := range images(t, h.installation) {
		if out := docker(t, "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", "find / -xdev -name '*.rpm'"); out != "" {
			t.Errorf("%s holds downloads: %s", image, out)
		}
	}

	st := third.s.step("root", step{name: e.lockName("try"), image: third.s.image, network: true, script: "! touch /rpmflow/packages/x", files: third.s.config.files})
	id, err := third.s.create(t.Context(), st)
	must(t, err)
	end, err := third.s.run(t.Context(), id, st)
	must(t, err)
	if said := strings.Join(end.output, "\n"); end.exitCode != 0 || !strings.Contains(said, "Read-only file system") {
		t.Errorf("a container that installs packages writes into the downloads of others: exit code %d: %s", end.exitCode, said)
	}
}

// TestOldDownloadsGo: beyond the limit the oldest go first.
func TestOldDownloadsGo(t *testing.T) {
	h := newHost(t)
	e := h.engine(t)
	e.s.Packages = 3 << 20
	add := func(file string) {
		t.Helper()
		source := docker(t, "run", "-d", "-v", "/rpmflow/work", h.image, "sh", "-c", "mkdir -p /rpmflow/work/packages/a/dnf/r && head -c 2097152 /dev/zero >/rpmflow/work/packages/a/dnf/r/"+file)
		defer docker(t, "rm", "-fv", source)
		docker(t, "wait", source)
		must(t, e.collected(t.Context(), source, h.image, "ours"))
	}
	add("one.rpm")
	add("two.rpm")
	if left := docker(t, "run", "--rm", "-v", e.volumeOf("ours")+":/v", h.image, "find", "/v", "-type", "f"); left != "/v/a/dnf/r/two.rpm" {
		t.Errorf("left: %q", left)
	}
}

// TestShutDoesNotCollect: a builder that ends does not put downloads away first, which may take long; its containers are removed.
func TestShutDoesNotCollect(t *testing.T) {
	h := newHost(t)
	e := h.engine(t)
	source := docker(t, "run", "-d", "-v", "/rpmflow/work", h.image, "sh", "-c", "mkdir -p /rpmflow/work/packages/a/dnf/r && echo x >/rpmflow/work/packages/a/dnf/r/x.rpm")
	docker(t, "wait", source)
	e.burials.end()
	e.buryAfter(source, func() { e.collect(source, h.image, "ours") })
	must(t, e.Shut())
	if left := docker(t, "ps", "-aq", "--no-trunc", "--filter", "id="+source); left != "" {
		t.Errorf("container %s is left", left)
	}
	if volumes := docker(t, "volume", "ls", "-q", "--filter", "label="+LabelInstallation+"="+h.installation); volumes != "" {
		t.Errorf("packages were put away: %s", volumes)
	}
}

func TestOnlyPackagesAreTaken(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Name: "packages/", Typeflag: tar.TypeDir},
		{Name: "packages/root/dnf/r/a.rpm", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7},
		{Name: "packages/root/dnf/r/link.rpm", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		{Name: "packages/root/dnf/r/device.rpm", Typeflag: tar.TypeChar},
		{Name: "packages/root/dnf/r/notes.txt", Typeflag: tar.TypeReg},
		{Name: "packages/root/dnf/b.rpm", Typeflag: tar.TypeReg},
		{Name: "packages/root/dnf/r/deep/c.rpm", Typeflag: tar.TypeReg},
		{Name: "packages/../../../../../d.rpm", Typeflag: tar.TypeReg},
		{Name: "packages/root/dnf/s/e.rpm", Typeflag: tar.TypeReg},
	} {
		must(t, w.WriteHeader(h))
	}
	must(t, w.Close())
	in := tar.NewReader(&b)
	first, err := nextPackage(in)
	must(t, err)
	var out bytes.Buffer
	must(t, copyPackages(&out, in, first))
	var names []string
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		names = append(names, h.Name)
		if h.Mode != 0o644 || h.Uid != 0 {
			t.Errorf("%s has mode %o, owner %d", h.Name, h.Mode, h.Uid)
		}
	}
	if got := strings.Join(names, " "); got != "root/dnf/r/a.rpm root/dnf/s/e.rpm" {
		t.Errorf("taken: %s", got)
	}
}
