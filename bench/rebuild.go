package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/mock"
)

const rebuildSpec = `Name: %NAME%
Version: 1
Release: 1
Summary: s
License: MIT
BuildRequires: %REQUIRES%
%global debug_package %{nil}
%description
d
%prep
%build
echo 'int main(void) { return 0; }' >x.c && gcc -o x x.c
%install
install -D x %{buildroot}/usr/bin/%{name}
%files
/usr/bin/%{name}
`

// plain is mock as it is used without rpmflow: one container that lives on, with its own root cache on a volume, which
// no storage driver slows down. It says how long things took, in seconds.
const plain = `cat /c/conf.d/$T.cfg - >/c/$T.cfg <<'E'

config_opts['isolation'] = 'simple'
config_opts['use_bootstrap_image'] = False
E
one() {
    mock --configdir /c -r /c/$T.cfg --uniqueext "$1" --resultdir /tmp/out-$1 --rebuild /c/$2.src.rpm \
        >/tmp/log-$1 2>&1 || { tail /tmp/log-$1; exit 1; }
}
now() { date +%s.%N; }
chmod -R a+rX /c
chown -R 1000:135 /tmp /var/cache/mock /var/lib/mock; chmod 2775 /var/cache/mock /var/lib/mock
one fill small; one again small
a=$(now); one alone1 small; one alone2 small; one alone3 small; b=$(now)
(for i in 1 2 3 4; do one left$i small; done) & left=$!
for i in 1 2 3 4; do one right$i small; done; wait $left
c=$(now); one first large; d=$(now); one second large; e=$(now)
echo "RESULT $a $b $c $d $e"`

// times are those of one way to build.
type times struct{ alone, many, first, second time.Duration }

const alone, many = 3, 8 // builds, as in the script plain

func rebuildsAlone(ctx context.Context, m mockSettings, requires string) error {
	dir, err := os.MkdirTemp("", "rpmflow-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fmt.Println("rebuilds of source packages, by mock with its own root cache and by the engine with its shared " +
		"images, in one run")
	return rebuilds(ctx, dir, m, requires)
}

func rebuilds(ctx context.Context, dir string, m mockSettings, requires string) error {
	e, err := mock.New(mock.Settings{Network: "bridge", PIDs: 4096, Installation: rpmflow.DeriveID("bench", dir),
		Cache: 1 << 40, Packages: 1 << 40, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { _ = e.Shut() }()
	defer func() { removeShared(context.WithoutCancel(ctx), e) }()
	b := &engineBench{e: e, dir: dir, target: rpmflow.Target{Name: m.target, Arch: rpmflow.HostArch(), Config: m.target,
		ConfigDir: m.configDir, Image: m.image, MaxAge: time.Hour}}

	begun := time.Now()
	small, err := b.srpm(ctx, "small", "gcc")
	if err != nil {
		return err
	}
	fmt.Printf("  %-52s %6.1f s\n", "engine: the root, and the first source package in it", time.Since(begun).Seconds())
	large, err := b.srpm(ctx, "large", requires)
	if err != nil {
		return err
	}
	plain, err := plainMock(ctx, m, small, large)
	if err != nil {
		return err
	}
	ours, inside, err := b.measure(ctx, small, large)
	if err != nil {
		return err
	}
	refresh := time.Now()
	if _, err := e.Refresh(ctx, b.target, io.Discard); err != nil {
		return err
	}
	checked := time.Since(refresh)

	fmt.Printf("  %-52s %8s %8s %6s\n", "", "mock", "engine", "ratio")
	row := func(what string, a, b time.Duration) {
		fmt.Printf("  %-52s %6.2f s %6.2f s %6.1f\n", what, a.Seconds(), b.Seconds(), a.Seconds()/b.Seconds())
	}
	row("one at a time, each", plain.alone, ours.alone)
	row(fmt.Sprintf("%d builds, 2 at a time, all", many), plain.many, ours.many)
	row(fmt.Sprintf("%d BuildRequires, the first time", len(strings.Fields(requires))), plain.first, ours.first)
	row("the same, the second time", plain.second, ours.second)
	fmt.Printf("  %-52s %17.2f s\n", "engine: of a build outside of its containers", (ours.alone - inside).Seconds())
	fmt.Printf("  %-52s %17.2f s\n", "engine: comparison with the repositories, no news", checked.Seconds())
	return nil
}

// measure rebuilds the packages; inside is how long the containers of a build ran.
func (b *engineBench) measure(ctx context.Context, small, large string) (t times, inside time.Duration, err error) {
	if _, err := b.rebuild(ctx, "warm-up", small); err != nil {
		return t, 0, err
	}
	begun := time.Now()
	for i := range alone {
		in, err := b.rebuild(ctx, fmt.Sprint("alone", i), small)
		if err != nil {
			return t, 0, err
		}
		inside += in / alone
	}
	t.alone = time.Since(begun) / alone
	begun = time.Now()
	var wait sync.WaitGroup
	errs := make([]error, 2)
	for w := range errs {
		wait.Go(func() {
			for i := range many / 2 {
				_, err := b.rebuild(ctx, fmt.Sprint("many", w, i), small)
				errs[w] = errors.Join(errs[w], err)
			}
		})
	}
	wait.Wait()
	t.many = time.Since(begun)
	err = errors.Join(errs...)
	for _, took := range []*time.Duration{&t.first, &t.second} {
		begun = time.Now()
		_, lerr := b.rebuild(ctx, fmt.Sprint("large", took == &t.second), large)
		err = errors.Join(err, lerr)
		*took = time.Since(begun)
	}
	return t, inside, err
}

// engineBench takes packages through the engine's steps.
type engineBench struct {
	e      *mock.Engine
	dir    string
	target rpmflow.Target
}

// open begins an attempt whose root is ready.
func (b *engineBench) open(ctx context.Context, name string, containers *[]string) (build.Session, error) {
	out := filepath.Join(b.dir, name)
	if err := os.Mkdir(out, 0o755); err != nil {
		return nil, err
	}
	s, err := b.e.Open(ctx, build.Job{
		Build: rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: rpmflow.DeriveID("bench", out), Project: "bench",
			Package: "bench"}, Attempt: 1},
		Target: b.target, Epoch: time.Unix(1700000000, 0), Dir: out, Log: io.Discard,
		OnContainer: func(id string) { *containers = append(*containers, id) }, OnRoot: func(rpmflow.BuildRoot) {},
	})
	if err != nil {
		return nil, err
	}
	if err := s.Root(ctx); err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (b *engineBench) srpm(ctx context.Context, name, requires string) (file string, err error) {
	sources, spec := filepath.Join(b.dir, name+"-sources"), filepath.Join(b.dir, name+".spec")
	text := strings.NewReplacer("%NAME%", name, "%REQUIRES%", requires).Replace(rebuildSpec)
	if err := errors.Join(os.Mkdir(sources, 0o755), os.WriteFile(spec, []byte(text), 0o644)); err != nil {
		return "", err
	}
	s, err := b.open(ctx, name+"-srpm", new([]string))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	return s.SRPM(ctx, spec, sources)
}

// rebuild builds from a source package, and says how long its containers ran.
func (b *engineBench) rebuild(ctx context.Context, name, srpm string) (inside time.Duration, err error) {
	var containers []string
	s, err := b.open(ctx, name, &containers)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	if err := s.Dependencies(ctx, srpm); err != nil {
		return 0, err
	}
	if _, err := s.RPMs(ctx, srpm); err != nil {
		return 0, err
	}
	for _, id := range containers {
		out, err := exec.CommandContext(ctx, "docker", "inspect", "--format",
			"{{.State.StartedAt}} {{.State.FinishedAt}}",
			id).Output()
		times := strings.Fields(string(out))
		if err != nil || len(times) != 2 {
			continue // removed already: it made a shared image
		}
		started, err1 := time.Parse(time.RFC3339Nano, times[0])
		finished, err2 := time.Parse(time.RFC3339Nano, times[1])
		if errors.Join(err1, err2) == nil {
			inside += finished.Sub(started)
		}
	}
	return inside, nil
}

func plainMock(ctx context.Context, m mockSettings, small, large string) (t times, err error) {
	args := []string{"create", "--network", "bridge", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "-v",
		"/var/lib/mock", "-v", "/var/cache/mock", "-v", "/tmp",
		"-e", "SUDO_UID=1000", "-e", "SUDO_GID=135", "-e", "T=" + m.target, "--entrypoint", "/bin/bash"}
	for _, c := range []string{"SYS_ADMIN", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "SETUID", "SETGID",
		"SYS_CHROOT"} {
		args = append(args, "--cap-add", c)
	}
	out, err := exec.CommandContext(ctx, "docker", append(args, m.image, "-euc", plain)...).Output()
	if err != nil {
		return t, fmt.Errorf("create a container of %s: %w", m.image, err)
	}
	id := strings.TrimSpace(string(out))
	defer func() { _ = exec.CommandContext(context.WithoutCancel(ctx), "docker", "rm", "-fv", id).Run() }()
	stage := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(small))), "c")
	config := m.configDir
	if config == "" {
		return t, errors.New("plain mock is measured with a configuration directory of your own only: name " +
			"-mock-configdir")
	}
	for _, cmd := range [][]string{{"mkdir", "-p", stage}, {"cp", "-r", config + "/.", stage},
		{"cp", "-r", config, stage + "/conf.d"}, {"cp", small, stage + "/small.src.rpm"},
		{"cp", large, stage + "/large.src.rpm"}, {"docker", "cp", stage, id + ":/c"}} {
		if out, err := exec.CommandContext(ctx, cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			return t, fmt.Errorf("%v: %w: %s", cmd, err, out)
		}
	}
	said, err := exec.CommandContext(ctx, "docker", "start", "-a", id).CombinedOutput()
	if err != nil {
		return t, fmt.Errorf("plain mock: %w: %s", err, said)
	}
	_, result, _ := strings.Cut(string(said), "RESULT ")
	var at [5]float64
	if _, err := fmt.Sscan(result, &at[0], &at[1], &at[2], &at[3], &at[4]); err != nil {
		return t, fmt.Errorf("plain mock says %q: %w", said, err)
	}
	took := func(i int) time.Duration { return time.Duration((at[i+1] - at[i]) * float64(time.Second)) }
	return times{alone: took(0) / alone, many: took(1), first: took(2), second: took(3)}, nil
}

func removeShared(ctx context.Context, e *mock.Engine) {
	kept, err := e.Images().List(ctx)
	if err != nil {
		return
	}
	for _, k := range kept {
		_ = exec.CommandContext(ctx, "docker", "rmi", "-f", k.Name).Run()
	}
	_ = e.Images().RemoveDownloads(ctx)
}
