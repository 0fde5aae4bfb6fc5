package mock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocklog"
	"github.com/rpmflow/rpmflow/internal/build/rpmlog"
)

// capabilities are those that mock needs in a container of Docker, and no others. Without SETFCAP packages with file
// capabilities cannot be unpacked, without FSETID setgid bits get lost silently.
var capabilities = []string{
	"SYS_ADMIN", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "SETUID", "SETGID", "SYS_CHROOT",
}

// step is one container: what it is made from, what it runs, and with or without network.
type step struct {
	name     string // of the container that makes a shared image; empty: any
	image    string
	network  bool
	script   string
	env      []string
	files    []docker.File
	terminal bool                             // a terminal is its standard input and output
	stdout   io.Writer                        // instead of the job's log; may be nil
	failed   func(end ended, err error) error // refines a failure that is not the packager's; may be nil
}

// ended is how a step's main process ended.
type ended struct {
	docker.Exit
	id     string
	output []string // the last lines of both streams
}

// step completes a step of a phase.
func (s *session) step(phase rpmflow.Phase, st step) step {
	st.env = append(append([]string{"OUT=" + s.out(phase)}, s.config.env...), st.env...)
	return st
}

func (s *session) out(phase rpmflow.Phase) string { return path.Join(inOut, string(phase)) }
func (s *session) dir(phase rpmflow.Phase) string { return filepath.Join(s.job.Dir, string(phase)) }

// phase runs one step in a container of its own. The container stays, for its results: Close removes it.
func (s *session) phase(ctx context.Context, phase rpmflow.Phase, st step) (ended, error) {
	st = s.step(phase, st)
	id, err := s.create(ctx, st)
	if err != nil {
		return ended{}, err
	}
	s.containers = append(s.containers, id)
	return s.perform(ctx, phase, id, st)
}

// create makes the container of a step.
func (s *session) create(ctx context.Context, st step) (string, error) {
	c := docker.Container{
		Name: st.name, Image: st.image, Command: []string{"/bin/sh", "-euc", prelude + st.script},
		Env:    append([]string{"LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=dumb"}, st.env...),
		Labels: s.e.images.Labels(s.job.Build), Hostname: "rpmflow", Terminal: st.terminal, Capabilities: capabilities,
		LogSize: "1g", // more than a build may write before it is stopped
		Memory:  s.e.s.Memory, CPUs: s.e.s.CPUs, PIDs: s.e.s.PIDs, Disk: s.e.s.Disk, AppArmor: s.e.s.AppArmor,
	}
	if st.network {
		c.Network = s.e.s.Network
	}
	// what goes in and comes out is not part of the image; in other containers it counts for the limit of the disk
	if st.name != "" {
		c.Mounts = append(c.Mounts, docker.Mount{Target: inWork})
		if downloads, kept := s.e.images.Downloads(s.job.Target.Name); st.network && kept {
			c.Mounts = append(c.Mounts, downloads)
		}
	}
	return s.e.docker.Create(ctx, c)
}

// run copies the files into a container, runs it and follows its output.
func (s *session) run(ctx context.Context, id string, st step) (ended, error) {
	if err := s.e.docker.CopyIn(ctx, id, st.files); err != nil {
		return ended{}, err
	}
	s.job.OnContainer(id)
	keep := &docker.Tail{}
	log := io.MultiWriter(s.job.Log, keep)
	stdout := log
	if st.stdout != nil { // data do not belong in the log
		stdout = st.stdout
	}
	exit, err := s.e.docker.Run(ctx, id, s.e.s.Disk, stdout, log)
	if exit.Running != nil {
		s.e.s.Logger.Warn("container not killed", "container", id, "build", s.job.Build.ID, "error", exit.Running)
	}
	return ended{Exit: exit, id: id, output: rpmlog.Lines(bytes.NewReader(keep.Bytes()), 300)}, err
}

// perform runs a step and takes its results into a directory of the phase. A failure is the packager's or the
// infrastructure's.
func (s *session) perform(ctx context.Context, phase rpmflow.Phase, id string, st step) (ended, error) {
	end, err := s.run(ctx, id, st)
	if end.Ran && (end.Stopped || err != nil || end.Code != 0) {
		s.failed = failedStep{container: id, what: "the failed root"}
	}
	if end.Stopped {
		return end, s.stopped(ctx, end, phase, err)
	}
	if end.Ran {
		err = errors.Join(err, s.copyResults(ctx, id, phase))
	}
	if ctx.Err() != nil {
		return end, context.Cause(ctx)
	}
	if err != nil || end.Code == 0 {
		return end, err
	}
	return end, s.failure(ctx, end, phase, st)
}

// The files taken out of a container are bounded, so that a build cannot fill the builder's disk.
const (
	maxResults = 20 << 30
	maxLog     = 1 << 30 // of each log of a build that was stopped
	logsWait   = time.Minute
)

func (s *session) copyResults(ctx context.Context, id string, phase rpmflow.Phase) error {
	left := int64(maxResults)
	return s.e.docker.CopyOut(ctx, id, s.out(phase), s.dir(phase), func(_ string, size int64) (int64, error) {
		if left -= size; left < 0 {
			return 0, rpmflow.Fail(rpmflow.FailureBuild, "make fewer or smaller packages",
				"the results are larger than %s", docker.Size(maxResults))
		}
		return size, nil
	})
}

// copyLogs takes the logs alone, as far as they were written; of a very long one the beginning.
func (s *session) copyLogs(ctx context.Context, id string, phase rpmflow.Phase) error {
	return s.e.docker.CopyOut(ctx, id, s.out(phase), s.dir(phase), func(name string, size int64) (int64, error) {
		if !strings.HasSuffix(name, ".log") && name != configLog {
			return 0, nil
		}
		return min(size, maxLog), nil
	})
}

// failure decides whether the end of a step is the packager's fault.
func (s *session) failure(ctx context.Context, end ended, phase rpmflow.Phase, st step) error {
	known, err := s.e.docker.Ending(ctx, end.id)
	if err != nil {
		return err
	}
	if s.e.docker.FilledQuota(ctx, end.id, s.e.s.Disk) {
		return overDisk(&docker.DiskLimitError{Limit: s.e.s.Disk}, phase)
	}
	e := mocklog.Ended{
		Phase: phase, ExitCode: end.Code, Output: end.output, Interfered: known.Interfered,
		BuildLog: filepath.Join(s.dir(phase), "build.log"), StateLog: filepath.Join(s.dir(phase), "state.log"),
		RootLog: filepath.Join(s.dir(phase), "root.log"),
	}
	if known.OutOfMemory && s.e.s.Memory > 0 { // without a limit of the container's, the machine was out of memory
		e.MemoryLimit = docker.Size(s.e.s.Memory)
	}
	if f := mocklog.Classify(e); f != nil {
		if tag := rpmlog.Refused(f); tag != "" {
			return build.NotFor(tag, s.job.Target.Arch)
		}
		return f
	}
	reason := known.Interfered
	if reason == "" {
		reason = strings.Join(mocklog.Errors(end.output), " | ")
	}
	err = fmt.Errorf("engine mock: phase %s: mock ended with exit code %d: %s", phase, end.Code, reason)
	if st.failed != nil && known.Interfered == "" {
		err = st.failed(end, err)
	}
	return err
}

// stopped returns the reason why a step was stopped. An attempt that has an outcome keeps the logs as far as they were
// written.
func (s *session) stopped(ctx context.Context, end ended, phase rpmflow.Phase, why error) error {
	var over *docker.DiskLimitError
	if errors.As(why, &over) {
		why = overDisk(over, phase)
	}
	var f *rpmflow.Failure
	if ctx.Err() == nil || errors.As(why, &f) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logsWait)
		defer cancel()
		if err := s.copyLogs(ctx, end.id, phase); err != nil {
			s.e.s.Logger.Warn("logs of a stopped build not kept", "build", s.job.Build.ID,
				"attempt", s.job.Build.Attempt, "error", err)
		}
	}
	return why
}

// overDisk is the failure of a step that wrote too much. A root that is too large is the operator's problem.
func overDisk(err *docker.DiskLimitError, phase rpmflow.Phase) error {
	if phase == rpmflow.PhaseRoot {
		return fmt.Errorf("engine mock: the build root %w: raise builder.docker.disk", err)
	}
	return rpmflow.Fail(rpmflow.FailureBuild, "make it write less, or ask an operator to raise builder.docker.disk",
		"the build %v", err)
}
