package git

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// The git command connects to repositories, go-git reads what has been fetched. One way for all transports: a fetch by
// go-git takes 2.4 times as long and five times the memory if history is large, and asks for single commits only
// if a server's configuration allows it, whereas git's protocol 2 always may. Git in turn refuses a repository on
// disk that belongs to another user (safe.directory), which a builder in a container meets with every mounted one.

func findGit() error {
	if _, err := exec.LookPath("git"); err != nil {
		return fmt.Errorf("git: the git command is needed for fetching and for archives; install git: %w", err)
	}
	return nil
}

// gitCommand is git without what in the program's environment, or in a user's configuration, could change what it
// does. When ctx ends, git is killed with all that it has started.
func gitCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = childEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// childEnv is the environment of every child. TZ is there for zip, which stores local times.
func childEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_ATTR_NOSYSTEM=1"}
}

func runGit(ctx context.Context, args ...string) ([]byte, error) {
	return runGitWith(ctx, nil, nil, args...)
}

// runGitWith runs git with a file to inherit, and ends git if this process dies.
func runGitWith(ctx context.Context, env []string, inherit *os.File, args ...string) ([]byte, error) {
	cmd := gitCommand(ctx, args...)
	cmd.Env = append(cmd.Env, env...)
	if inherit != nil {
		cmd.ExtraFiles = []*os.File{inherit}
	}
	// The kernel sends the signal when the thread that has started the child ends. The programs that git has started
	// end when their connection does: a server that stays silent keeps them for http.lowSpeedTime at most.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	errs := tail{max: 4 << 10}
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, childError(ctx, err, &errs)
	}
	return out.Bytes(), nil
}

// childError returns why a child has failed: the context if that has ended it, else its own message.
func childError(ctx context.Context, err error, stderr *tail) error {
	if ctx.Err() != nil {
		return fmt.Errorf("git: %w", ctx.Err())
	}
	return fmt.Errorf("git: %w: %s", err, strings.TrimSpace(string(stderr.buf)))
}

// tail keeps the last bytes of what is written to it.
type tail struct {
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - t.max; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}
