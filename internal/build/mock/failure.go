package mock

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocklog"
	"github.com/rpmflow/rpmflow/internal/build/rpmlog"
)

// failure sorts the end of a step into the packager's or ours.
func (s *session) failure(ctx context.Context, end ended, phase rpmflow.Phase, st step) error {
	known, err := s.e.verdict(ctx, end.id)
	if err != nil {
		return err
	}
	if s.e.disk.option() != nil && s.e.disk.over(ctx, end.id) { // the driver's quota stopped what it wrote
		return (&overDisk{s.e.s.Disk}).failure(phase)
	}
	f := mocklog.Classify(mocklog.Ended{
		Phase: phase, ExitCode: end.exitCode, BuildLog: filepath.Join(s.dir(phase), "build.log"), StateLog: filepath.Join(s.dir(phase), "state.log"),
		RootLog: filepath.Join(s.dir(phase), "root.log"), Output: end.output, Interfered: known.interfered, MemoryLimit: known.memory,
	})
	if f != nil {
		if tag := rpmlog.Refused(f); tag != "" {
			return build.NotFor(tag, s.job.Target.Arch)
		}
		return f
	}
	if known.interfered != "" {
		return fmt.Errorf("engine mock: phase %s: mock ended with exit code %d: %s", phase, end.exitCode, known.interfered)
	}
	err = fmt.Errorf("engine mock: phase %s: mock ended with exit code %d: %s", phase, end.exitCode, strings.Join(mocklog.Errors(end.output), " | "))
	if st.failed != nil {
		err = st.failed(end, err)
	}
	return err
}

// stopped gives the reason why we stopped a step. An attempt that has an outcome keeps the logs as far as they were written.
func (s *session) stopped(ctx context.Context, end ended, phase rpmflow.Phase, why error) error {
	var over *overDisk
	if errors.As(why, &over) {
		why = over.failure(phase)
	}
	var f *rpmflow.Failure
	if ctx.Err() == nil || errors.As(why, &f) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logsWait)
		defer cancel()
		if err := s.e.copyLogs(ctx, end.id, s.out(phase), s.dir(phase)); err != nil {
			s.e.s.Logger.Warn("logs of a stopped build not kept", "build", s.job.Build.ID, "attempt", s.job.Build.Attempt, "error", err)
		}
	}
	return why
}
