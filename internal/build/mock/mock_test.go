package mock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocktest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestRootIsMadeOnceAndKeptUpToDate(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	engines := []*Engine{h.engine(t), h.engine(t)}
	var first []*attempt
	var wait sync.WaitGroup
	for i := range 4 {
		a := h.open(t, engines[i%2], fmt.Sprint("first", i), h.target)
		first = append(first, a)
		wait.Go(func() {
			if err := a.Root(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	made := 0
	for _, a := range first {
		made += a.containers
		if a.root.Image != first[0].root.Image || a.root.Stale || len(a.root.Repositories) != 1 ||
			len(a.root.Repositories["r"]) != 64 || a.root.Config == "" {
			t.Fatalf("root %+v, another has %+v", a.root, first[0].root)
		}
	}
	if made != 1 {
		t.Errorf("%d containers ran for four builds at once", made)
	}
	root, e, strict := first[0].root, engines[0], h.target
	strict.MaxAge = time.Nanosecond

	if a := h.ready(t, e, "again", h.target); a.containers != 0 || a.root.Image != root.Image {
		t.Errorf("%d containers, root %+v; it was %+v", a.containers, a.root, root)
	}
	if a := h.ready(t, e, "checked", strict); a.containers != 1 || a.root.Image != root.Image ||
		a.root.Checked.Before(root.Checked) {
		t.Errorf("%d containers, root %+v; it was %+v, and nothing had changed", a.containers, a.root, root)
	}
	h.serve(t, "two")
	changed := h.ready(t, e, "changed", strict).root
	if changed.Image == root.Image || changed.Repositories["r"] == root.Repositories["r"] ||
		changed.Config != root.Config || changed.MockImage != root.MockImage {
		t.Errorf("root %+v; it was %+v, and the repository has changed since", changed, root)
	}
	if names := mocktest.Images(t, h.installation); len(names) != 1 {
		t.Errorf("images: %q", names)
	}

	h.serve(t, "")
	var failure *rpmflow.Failure
	if err := h.open(t, e, "unreachable", strict).Root(t.Context()); err == nil || errors.As(err, &failure) ||
		!strings.Contains(err.Error(), "repo") {
		t.Errorf("with the repository out of reach: %v", err)
	}
	strict.AllowStale = true
	if a := h.ready(t, e, "stale", strict); !a.root.Stale || a.root.Image != changed.Image {
		t.Errorf("root %+v; a stale one is allowed", a.root)
	}
	h.serve(t, "two")
	if a := h.ready(t, e, "reachable", strict); a.root.Stale || a.root.Image != changed.Image {
		t.Errorf("root %+v", a.root)
	}
}

// TestDeadOwner: a builder that dies while it makes a root does not delay others for long.
func TestDeadOwner(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	e := h.engine(t)
	a := h.open(t, e, "build", h.target)
	earlier := h.open(t, e, "build", h.target)
	earlier.s.job.Build.Attempt = 1
	st := earlier.s.step(rpmflow.PhaseRoot,
		step{name: e.images.LockName(a.s.rootKey()), image: a.s.image, script: "exec sleep 1000"})
	if _, err := earlier.s.create(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.Root(ctx); err != nil {
		t.Error(err)
	}
}

const packageSpec = `Name: p
Version: %VERSION%
Release: 1
Summary: A package
License: MIT
BuildArch: noarch
BuildRequires: %REQUIRES%
%description
A package.
%prep
%build
%BUILD%
%install
install -D /dev/null %{buildroot}/usr/share/p/%{version}
%files
/usr/share/p
`

func TestDependenciesAreInstalledOnce(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	e := h.engine(t)
	for i, c := range []struct {
		name, version, requires, repomd string
		project                         string
		containers                      int
	}{
		{name: "first", version: "1", requires: "gcc", containers: 1},
		{name: "another revision", version: "2", requires: "gcc"},
		{name: "another version is asked for", version: "2", requires: "gcc >= 2", containers: 1},
		{name: "more is asked for", version: "3", requires: "gcc zstd", containers: 1},
		{name: "what the root has", version: "4", requires: "make", containers: 1},
		{name: "what the root has, again", version: "5", requires: "make"},
		{name: "another project", version: "1", requires: "gcc", project: "q", containers: 1},
		{name: "the repository has changed", version: "6", requires: "gcc", repomd: "two", containers: 1},
	} {
		target := h.target
		if c.repomd != "" {
			h.serve(t, c.repomd)
			target.MaxAge = time.Nanosecond
		}
		a := h.open(t, e, fmt.Sprint(i), target)
		if c.project != "" {
			a.s.job.Build.Project = c.project
		}
		if err := a.Root(t.Context()); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		containers, err := a.build(t, c.version, c.requires, "true")
		if err != nil || containers != c.containers {
			t.Errorf("%s: %d containers for the dependencies, want %d: %v", c.name, containers, c.containers, err)
		}
		log, err := os.ReadFile(filepath.Join(a.s.dir(rpmflow.PhaseRPMs), "root.log"))
		if err != nil || !strings.Contains(string(log), "was installed with the root's dependencies") {
			t.Errorf("%s: dnf looked again for what was installed: %v\n%s", c.name, err, log)
		}
	}
	var failure *rpmflow.Failure
	if _, err := h.ready(t, e, "unknown", h.target).build(t, "1", "nosuch-devel", "true"); !errors.As(err, &failure) ||
		failure.Kind != rpmflow.FailureDependencies {
		t.Errorf("an unknown package: %v", err)
	}
	for _, name := range mocktest.Images(t, h.installation) {
		if out := mocktest.Docker(t, "run", "--rm", "--network", "none", "--entrypoint", "sh", name, "-c",
			"ls -A /rpmflow/work; find / -xdev -name 'p-*.src.rpm'"); out != "" {
			t.Errorf("%s holds what a build has left: %s", name, out)
		}
	}
}

// TestForeignSourcePackage: what a source package requires was decided where it was made; what counts is what its spec
// requires here.
func TestForeignSourcePackage(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	e := h.engine(t)
	foreign := func(name, requires string) (string, *attempt) {
		t.Helper()
		dir := t.TempDir()
		testkit.Write(t, filepath.Join(dir, "p.spec"), strings.NewReplacer("%VERSION%", "1", "%REQUIRES%", requires,
			"%BUILD%", "test -e /usr/bin/zstd").Replace(packageSpec))
		mocktest.Docker(t, "run", "--rm", "-v", dir+":/d", "-w", "/d", h.image, "rpmbuild", "-bs", "--nodeps",
			"--define",
			"elsewhere 1", "--define", "_srcrpmdir /d", "p.spec")
		return filepath.Join(dir, "p-1-1.src.rpm"), h.ready(t, e, name, h.target)
	}
	srpm, a := foreign("decided again", "%{?elsewhere:nosuch-devel}%{!?elsewhere:zstd}")
	testkit.Must(t, a.Dependencies(t.Context(), srpm))
	if rpms, err := a.RPMs(t.Context(), srpm); err != nil || len(rpms) != 1 {
		t.Errorf("packages %q: %v", rpms, err)
	}
	srpm, a = foreign("not to be had", "nosuch-devel")
	testkit.Must(t, a.Dependencies(t.Context(), srpm))
	var failure *rpmflow.Failure
	if _, err := a.RPMs(t.Context(), srpm); !errors.As(err, &failure) || failure.Kind != rpmflow.FailureDependencies ||
		!strings.Contains(err.Error(), "nosuch-devel") {
		t.Errorf("a package that is not to be had: %v", err)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	e := h.engine(t)
	target := h.target
	target.MaxAge = time.Nanosecond
	before := h.ready(t, e, "before", target)
	if _, err := before.build(t, "1", "gcc", "true"); err != nil {
		t.Fatal(err)
	}
	if err := before.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.serve(t, "two")
	current, err := e.Refresh(t.Context(), h.target, before.log)
	if err != nil || current.Image == before.root.Image {
		t.Fatalf("refreshed to %+v from %+v: %v", current, before.root, err)
	}
	check := func(what string, budget int64, want ...string) {
		t.Helper()
		if _, err := e.images.Prune(t.Context(), budget); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		kept, err := e.images.List(t.Context())
		var got []string
		for _, k := range kept {
			if k.Size <= 0 || k.Target != h.target.Name {
				t.Errorf("%s: %+v", what, k)
			}
			got = append(got, fmt.Sprintf("dependencies=%t outdated=%t", k.Dependencies, k.Outdated))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q: %v", what, got, want, err)
		}
	}
	// age lets all of a kind be unused for an hour.
	age := func(k images.Kind, key string) {
		t.Helper()
		c, err := e.images.Newest(t.Context(), k, key)
		if err != nil || c == nil {
			t.Fatalf("%v, %v", c, err)
		}
		if _, err := e.images.Touch(t.Context(), k, *c, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	const root, outdated = "dependencies=false outdated=false", "dependencies=true outdated=true"
	check("just used", 1, outdated, root)
	age(images.Dependencies, before.s.deps.Key)
	check("outdated", 1<<40, root)
	age(images.Root, before.s.rootKey())
	holds := mocktest.Docker(t, "create", "--label", images.LabelInstallation+"="+h.installation, current.Image)
	check("a container is made from it", 1, root)
	mocktest.Docker(t, "rm", holds)
	check("too much", 1)
	if out := mocktest.Docker(t, "images", "-aq", "--filter",
		"label="+images.LabelInstallation+"="+h.installation); out != "" {
		t.Errorf("left: %s", out)
	}
}

// TestNothingIsSharedBetweenBuilds runs two revisions of a package at the same time that plant files wherever they may;
// neither they nor the next build find any.
func TestNothingIsSharedBetweenBuilds(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	e := h.engine(t)
	const look = "planted=$(find / -xdev -name 'planted*' 2>/dev/null); test -z \"$planted\" || { echo \"found " +
		"$planted\"; exit 1; }\n" +
		"! grep -s planted ~/.rpmmacros ~/.bashrc ~/.bash_profile\n"
	const plant = look + "for d in $(find / -xdev -type d -writable 2>/dev/null); do touch $d/planted 2>/dev/null || " +
		":; " +
		"done\n" +
		"echo '%planted 1' >>~/.rpmmacros; echo 'touch /tmp/planted-by-profile' >>~/.bashrc; cp ~/.bashrc " +
		"~/.bash_profile\n" +
		"test -e /tmp/planted && test -e /var/tmp/planted && test -e ~/planted"
	var wait sync.WaitGroup
	for _, version := range []string{"1", "2"} {
		a := h.ready(t, e, "plants"+version, h.target)
		wait.Go(func() {
			if _, err := a.build(t, version, "gcc", plant); err != nil {
				t.Errorf("revision %s: %v", version, err)
			}
		})
	}
	wait.Wait()
	if _, err := h.ready(t, e, "looks", h.target).build(t, "3", "gcc", look); err != nil {
		t.Errorf("the next build: %v", err)
	}
}
