package hostrpm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Explore implements build.Explorer: a shell of the user's in the directory where the package is built.
func (s *session) Explore(ctx context.Context) error {
	dir := filepath.Join(s.top, "BUILD")
	if below, err := filepath.Glob(filepath.Join(dir, "*", "")); err == nil && len(below) == 1 {
		dir = below[0]
	}
	fmt.Fprintf(os.Stderr, "rpmflow: a shell in %s, which is removed when the shell ends (exit, or Ctrl-D)\n", dir)
	// Not a supervised child as the others: the terminal's foreground belongs to the process group of this program.
	cmd := exec.CommandContext(ctx, "/bin/sh")
	if bash, err := exec.LookPath("bash"); err == nil {
		cmd = exec.CommandContext(ctx, bash)
	}
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.job.Epoch.Unix()),
		"RPM_BUILD_ROOT="+filepath.Join(s.top, "BUILDROOT"))
	if s.account != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: s.account.user.UID,
			Gid: s.account.user.GID}}
		cmd.Env = append(cmd.Env, "HOME="+filepath.Join(s.top, "home"))
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGHUP) }
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil && ctx.Err() == nil && cmd.ProcessState == nil {
		return fmt.Errorf("engine rpmbuild: %w", err) // how the shell ended is the user's own business
	}
	return nil
}
