package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
)

// builds is a package whose build follows the test's instructions.
const builds = "Name: bench\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: " +
	"noarch\n%%description\nd\n%%build\nset +x\n%s\n%%files\n"

// startBuilding starts all but the builders, with the project bench, whose package's %build is this.
func startBuilding(ctx context.Context, bin, dir, build, targets string) (*apart, error) {
	if _, err := repository(ctx, filepath.Join(dir, "bench.git"), filepath.Join(dir, "tree"),
		fmt.Sprintf(builds, build)); err != nil {
		return nil, err
	}
	return startApart(ctx, bin, dir,
		"targets:\n"+targets+"projects:\n- name: bench\n  url: "+dir+"/bench.git\n  layout: standard\n")
}

// build starts a builder, and submits a build.
func (a *apart) build(ctx context.Context, engine string) (builder *exec.Cmd, id string, err error) {
	if builder, err = a.start(ctx, "builder", "builder", "--engine", engine); err != nil {
		return nil, "", err
	}
	id, err = a.submit(ctx)
	return builder, id, err
}

// killed measures the time from a builder's SIGKILL to the outcome by another one, with the settings as they are by
// default.
func killed(ctx context.Context, bin, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	gate := filepath.Join(dir, "gate")
	a, err := startBuilding(ctx, bin, dir, "while [ ! -e "+gate+" ]; do sleep 0.1; done", "- name: host\n")
	if err != nil {
		return err
	}
	defer a.close()
	first, id, err := a.build(ctx, "rpmbuild")
	if err != nil {
		return err
	}
	if _, err := a.until(ctx, id, func(b rpmflow.Build) bool { return b.Phase == rpmflow.PhaseRPMs }); err != nil {
		return err
	}
	if _, err := a.start(ctx, "builder", "second", "--engine", "rpmbuild"); err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(gate+".new", nil, 0o600), first.Process.Signal(syscall.SIGKILL)); err != nil {
		return err
	}
	begun := time.Now()
	if err := os.Rename(gate+".new", gate); err != nil {
		return err
	}
	started, err := a.until(ctx, id, func(b rpmflow.Build) bool { return b.Attempt == 2 })
	if err != nil {
		return err
	}
	ended, err := a.until(ctx, id, func(b rpmflow.Build) bool { return b.State == rpmflow.Finished })
	if err != nil {
		return err
	}
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
	fmt.Printf("  %-10s %s to the next claim, and %s for the build itself; at worst ack_wait + poll = 63 s to the "+
		"claim\n", "rpmbuild",
		round(ended.Build.StartedAt.Sub(begun)), round(ended.Time.Sub(*started.Build.StartedAt)))
	return nil
}

// lines is how many lines of a log are timed.
const lines = 200

// logLatency measures the time from a line of the package's own code to a subscriber of its live log. The lines tell
// when they were written.
func logLatency(ctx context.Context, bin, dir, engine, targets string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	a, err := startBuilding(ctx, bin, dir,
		fmt.Sprintf("for i in $(seq %d); do echo stamp=$(date +%%%%s%%%%N); sleep 0.0$((i %%%% 10))7; done", lines),
		targets)
	if err != nil {
		return err
	}
	defer a.close()
	_, id, err := a.build(ctx, engine)
	if err != nil {
		return err
	}
	var rest []byte
	var took []time.Duration
	err = events.FollowLog(ctx, a.js, id, true, func(p []byte) error {
		now := time.Now()
		rest = append(rest, p...)
		for {
			line, more, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				return nil
			}
			rest = more
			if stamp, ok := strings.CutPrefix(string(line), "stamp="); ok {
				if n, err := strconv.ParseInt(stamp, 10, 64); err == nil {
					took = append(took, now.Sub(time.Unix(0, n)))
				}
			}
		}
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil || len(took) < lines*9/10 {
		return fmt.Errorf("%d of %d lines seen: %w", len(took), lines, err)
	}
	fmt.Printf("  %-10s %s   of %d lines\n", engine, quantiles(took, time.Millisecond), len(took))
	return nil
}

// logSize is that of a large log, in MB.
const logSize = 200

// logMemory reads what a builder needs at most while a package writes a large log.
func logMemory(ctx context.Context, bin, dir, engine, targets string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	a, err := startBuilding(ctx, bin, dir,
		fmt.Sprintf("yes 'cc -O2 -g -Wall -Werror -o a-file-like-many-others.o -c a-file-like-many-others.c' | head "+
			"-c %d000000", logSize), targets)
	if err != nil {
		return err
	}
	defer a.close()
	p, id, err := a.build(ctx, engine)
	if err != nil {
		return err
	}
	if _, err := a.until(ctx, id, func(b rpmflow.Build) bool { return b.Phase == rpmflow.PhaseRPMs }); err != nil {
		return err
	}
	before, err := memory(p, "VmRSS")
	if err != nil {
		return err
	}
	ended, err := a.until(ctx, id, func(b rpmflow.Build) bool { return b.State == rpmflow.Finished })
	if err != nil {
		return err
	}
	most, err := memory(p, "VmHWM")
	if err != nil {
		return err
	}
	stored, err := a.logSize(ctx, id)
	fmt.Printf("  %-10s %s before, %s at most; the build %s after %s, its stored log has %d MB\n", engine, before, most,
		ended.Build.Outcome.Result,
		ended.Time.Sub(*ended.Build.StartedAt).Round(time.Second), stored/1e6)
	return err
}

// builderFigures prints what is measured of builders as programs of their own.
func builderFigures(ctx context.Context, bin, dir string, m mockSettings) {
	engines := map[string]string{"rpmbuild": "- name: host\n", "mock": m.yaml()}
	measure := func(title string, what func(engine, targets string) error) {
		fmt.Println("\n" + title)
		for _, engine := range []string{"rpmbuild", "mock"} {
			if m.image == "" && engine == "mock" {
				continue
			}
			if err := what(engine, engines[engine]); err != nil {
				fmt.Printf("  %-10s not measured: %v\n", engine, err)
			}
		}
	}
	measure("a line of the package's own code → a subscriber of its live log", func(engine, targets string) error {
		return logLatency(ctx, bin, filepath.Join(dir, "latency-"+engine), engine, targets)
	})
	measure(fmt.Sprintf("resident memory of a builder while a package writes %d MB of log", logSize),
		func(engine, targets string) error {
			return logMemory(ctx, bin, filepath.Join(dir, "log-"+engine), engine, targets)
		})
	fmt.Println("\na builder is killed → the outcome, by another one, with default settings")
	if err := killed(ctx, bin, filepath.Join(dir, "killed")); err != nil {
		fmt.Printf("  %-10s not measured: %v\n", "rpmbuild", err)
	}
}
