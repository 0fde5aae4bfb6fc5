// Package gitcmd runs the git command without what in the program's environment, or in a user's configuration, could
// change what it does. The words of a command come in; its output goes out, or a *Failed with the end of what git
// wrote. It makes views too: bare repositories of ours on the objects of another one. Package git and those below it
// may import it; it imports nothing of ours.
//
// The git command connects to repositories, go-git reads what has been fetched. One way for all transports: a fetch by
// go-git takes 2.4 times as long and five times the memory if history is large, and asks for single commits only
// if a server's configuration allows it, whereas git's protocol 2 always may. Git in turn refuses a repository on
// disk that belongs to another user (safe.directory), which a builder in a container meets with every mounted one.
package gitcmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Check returns an error if the command is not installed.
func Check() error {
	if _, err := exec.LookPath("git"); err != nil {
		return fmt.Errorf("git: the git command is needed for fetching and for archives; install git: %w", err)
	}
	return nil
}

// Failed is a command that ended with an error by itself.
type Failed struct {
	Err    error
	stderr string
}

func (f *Failed) Error() string { return "git: " + f.Err.Error() + ": " + f.stderr }

// Unwrap implements errors.Unwrap.
func (f *Failed) Unwrap() error { return f.Err }

// Command is a git that is killed with all that it has started when ctx ends.
func Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	// TZ is there for zip, which stores local times.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_ATTR_NOSYSTEM=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Run returns what a command prints.
func Run(ctx context.Context, args ...string) ([]byte, error) {
	out, _, err := Output(ctx, Command(ctx, args...))
	return out, err
}

// Output runs a command, returns what it prints and its warnings, and ends it if this process dies.
func Output(ctx context.Context, cmd *exec.Cmd) (out []byte, warnings string, err error) {
	// The kernel sends the signal when the thread that has started the child ends. The programs that git has started
	// end when their connection does: a server that stays silent keeps them for http.lowSpeedTime at most.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var printed bytes.Buffer
	var errs tail
	cmd.Stdout, cmd.Stderr = &printed, &errs
	if err := cmd.Run(); err != nil {
		return nil, "", errs.failed(ctx, err)
	}
	return printed.Bytes(), string(errs), nil
}

// Stream passes to read what a command prints. If read fails, the command is ended: it must not wait for its reader.
func Stream(ctx context.Context, cmd *exec.Cmd, read func(r io.Reader) error) error {
	var errs tail
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("git: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("git: %w", err)
	}
	readErr := read(out)
	ended := ctx.Err()
	if readErr != nil {
		_ = cmd.Cancel() // it may have ended already
	}
	err = cmd.Wait()
	switch {
	case ended != nil:
		return fmt.Errorf("git: %w", ended)
	case readErr != nil:
		return readErr
	case err != nil:
		return errs.failed(ctx, err)
	}
	return nil
}

// Attributes returns the values of attributes by attribute and path. words are the attributes, with options before
// them.
func Attributes(
	ctx context.Context, dir string, env, paths []string, words ...string,
) (map[string]map[string]string, error) {
	cmd := Command(ctx, append([]string{"check-attr", "--stdin", "-z"}, words...)...)
	cmd.Dir, cmd.Env = dir, append(cmd.Env, env...)
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
	out, _, err := Output(ctx, cmd)
	if err != nil {
		return nil, err
	}
	values := map[string]map[string]string{}
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for i := 0; i+2 < len(fields); i += 3 {
		path, name := fields[i], fields[i+1]
		if values[name] == nil {
			values[name] = map[string]string{}
		}
		values[name][path] = fields[i+2]
	}
	return values, nil
}

// tail keeps the last bytes of what is written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-16<<10):]
	return len(p), nil
}

// failed returns why a command has failed: the context if that has ended it, else its own message.
func (t *tail) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("git: %w", ctx.Err())
	}
	text := (*t)[max(0, len(*t)-4<<10):]
	return &Failed{err, strings.TrimSpace(string(text))}
}
