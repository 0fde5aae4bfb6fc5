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

const rebuildSpec = `Name: bench
Version: 1
Release: 1
Summary: s
License: MIT
BuildRequires: gcc
%global debug_package %{nil}
%description
d
%prep
%build
echo 'int main(void) { return 0; }' >x.c && gcc -o x x.c
%install
install -D x %{buildroot}/usr/bin/bench
%files
/usr/bin/bench
`

// plain is mock as it is used without rpmflow: one container that lives on, with its own root cache on a volume, which
// no storage driver slows down.
const plain = `cat /c/conf.d/$T.cfg - >/c/$T.cfg <<'E'

config_opts['isolation'] = 'simple'
config_opts['use_bootstrap_image'] = False
E
one() { mock --configdir /c -r /c/$T.cfg --uniqueext "$1" --resultdir /tmp/out-$1 --rebuild /c/bench.src.rpm >/tmp/log-$1 2>&1 || { tail /tmp/log-$1; exit 1; }; }
now() { date +%s.%N; }
chmod -R a+rX /c
chown -R 1000:135 /tmp /var/cache/mock /var/lib/mock; chmod 2775 /var/cache/mock /var/lib/mock
one fill; one again
a=$(now); one alone1; one alone2; one alone3; b=$(now)
(for i in 1 2 3 4; do one left$i; done) & left=$!
for i in 1 2 3 4; do one right$i; done; wait $left
c=$(now); echo "RESULT $a $b $c"`

func rebuildsAlone(ctx context.Context, m mockSettings) error {
	dir, err := os.MkdirTemp("", "rpmflow-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fmt.Println("rebuilds of one small package")
	return rebuilds(ctx, dir, m)
}

// rebuilds measures the same package by plain mock with its root cache, and by the engine with its shared images, in one run.
func rebuilds(ctx context.Context, dir string, m mockSettings) error {
	const alone, many = 3, 8 // as in the script plain
	e, err := mock.New(mock.Settings{Network: "bridge", PIDs: 4096, Installation: rpmflow.DeriveID("bench", dir), Cache: 1 << 40, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { _ = e.Shut() }()
	defer func() { removeShared(context.WithoutCancel(ctx), e) }()
	b := &engineBench{e: e, dir: dir, target: rpmflow.Target{Name: m.target, Arch: rpmflow.HostArch(), Config: m.target, ConfigDir: m.configDir, Image: m.image, MaxAge: time.Minute}}
	first := time.Now()
	srpm, _, err := b.one(ctx, 0)
	if err != nil {
		return err
	}
	fmt.Printf("  %-44s %6.1f s\n", "engine, nothing there yet", time.Since(first).Seconds())
	plainAlone, plainMany, err := plainMock(ctx, m, srpm, alone)
	if err != nil {
		return err
	}
	if _, _, err := b.one(ctx, 1); err != nil { // its root may have become too old in the meantime
		return err
	}
	var inside time.Duration
	begun := time.Now()
	for i := range alone {
		_, in, err := b.one(ctx, 10+i)
		if err != nil {
			return err
		}
		inside += in
	}
	engineAlone := time.Since(begun) / alone
	begun = time.Now()
	var wait sync.WaitGroup
	errs := make([]error, 2)
	for w := range errs {
		wait.Go(func() {
			for i := range many / 2 {
				_, _, err := b.one(ctx, 100*(w+1)+i)
				errs[w] = errors.Join(errs[w], err)
			}
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	engineMany := time.Since(begun)
	fmt.Printf("  %-44s %6.2f s  %6.2f s  ratio %.1f\n", "one at a time: plain mock, engine", plainAlone.Seconds(), engineAlone.Seconds(), plainAlone.Seconds()/engineAlone.Seconds())
	fmt.Printf("  %-44s %6.2f s  %6.2f s  ratio %.1f\n", "8 builds, 2 at a time: plain mock, engine", plainMany.Seconds(), engineMany.Seconds(), plainMany.Seconds()/engineMany.Seconds())
	fmt.Printf("  %-44s %6.2f s\n", "of the engine's, outside of its containers", (engineAlone - inside/alone).Seconds())
	return nil
}

// engineBench takes the package through the engine's steps, from the spec.
type engineBench struct {
	e      *mock.Engine
	dir    string
	target rpmflow.Target
}

func (b *engineBench) one(ctx context.Context, n int) (srpm string, inside time.Duration, err error) {
	dir := filepath.Join(b.dir, fmt.Sprint("rebuild-", n))
	sources := filepath.Join(dir, "sources")
	spec := filepath.Join(dir, "bench.spec")
	if err := errors.Join(os.MkdirAll(sources, 0o755), os.Mkdir(filepath.Join(dir, "out"), 0o755), os.WriteFile(spec, []byte(rebuildSpec), 0o644)); err != nil {
		return "", 0, err
	}
	var containers []string
	s, err := b.e.Open(ctx, build.Job{
		Build:  rpmflow.Build{ID: rpmflow.DeriveID("bench", dir), Project: "bench", Package: "bench", Attempt: 1},
		Target: b.target, Epoch: time.Unix(1700000000, 0), Dir: filepath.Join(dir, "out"), Log: io.Discard,
		OnContainer: func(id string) { containers = append(containers, id) }, OnRoot: func(rpmflow.BuildRoot) {},
	})
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	if err := s.Root(ctx); err != nil {
		return "", 0, err
	}
	if srpm, err = s.SRPM(ctx, spec, sources); err != nil {
		return "", 0, err
	}
	if err := s.Dependencies(ctx, srpm); err != nil {
		return "", 0, err
	}
	if _, err := s.RPMs(ctx, srpm); err != nil {
		return "", 0, err
	}
	for _, id := range containers {
		out, err := exec.CommandContext(ctx, "docker", "inspect", "--format", "{{.State.StartedAt}} {{.State.FinishedAt}}", id).Output()
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
	return srpm, inside, nil
}

func plainMock(ctx context.Context, m mockSettings, srpm string, alone int) (one, all time.Duration, err error) {
	args := []string{"create", "--network", "bridge", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "-v", "/var/lib/mock", "-v", "/var/cache/mock", "-v", "/tmp",
		"-e", "SUDO_UID=1000", "-e", "SUDO_GID=135", "-e", "T=" + m.target, "--entrypoint", "/bin/bash"}
	for _, c := range []string{"SYS_ADMIN", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "SETUID", "SETGID", "SYS_CHROOT"} {
		args = append(args, "--cap-add", c)
	}
	out, err := exec.CommandContext(ctx, "docker", append(args, m.image, "-euc", plain)...).Output()
	if err != nil {
		return 0, 0, fmt.Errorf("create a container of %s: %w", m.image, err)
	}
	id := strings.TrimSpace(string(out))
	defer func() { _ = exec.CommandContext(context.WithoutCancel(ctx), "docker", "rm", "-fv", id).Run() }()
	stage := filepath.Join(filepath.Dir(filepath.Dir(srpm)), "c")
	config := m.configDir
	if config == "" {
		return 0, 0, errors.New("plain mock is measured with a configuration directory of your own only: name -mock-configdir")
	}
	for _, cmd := range [][]string{{"mkdir", "-p", stage}, {"cp", "-r", config + "/.", stage}, {"cp", "-r", config, stage + "/conf.d"}, {"cp", srpm, stage + "/bench.src.rpm"}, {"docker", "cp", stage, id + ":/c"}} {
		if out, err := exec.CommandContext(ctx, cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			return 0, 0, fmt.Errorf("%v: %w: %s", cmd, err, out)
		}
	}
	said, err := exec.CommandContext(ctx, "docker", "start", "-a", id).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("plain mock: %w: %s", err, said)
	}
	_, result, _ := strings.Cut(string(said), "RESULT ")
	var a, b, c float64
	if _, err := fmt.Sscan(result, &a, &b, &c); err != nil {
		return 0, 0, fmt.Errorf("plain mock says %q: %w", said, err)
	}
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return seconds((b - a) / float64(alone)), seconds(c - b), nil
}

func removeShared(ctx context.Context, e *mock.Engine) {
	kept, err := e.Kept(ctx)
	if err != nil {
		return
	}
	for _, k := range kept {
		_ = exec.CommandContext(ctx, "docker", "rmi", "-f", k.Name).Run()
	}
}
