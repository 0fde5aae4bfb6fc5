package lifeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// defaultGrace is how long a child may take after SIGTERM when its ctx ends.
	defaultGrace = 5 * time.Second
	// cutLimit is how long a child may take after its lifeline was cut; it needs sweepLimit at worst.
	cutLimit = sweepLimit + 2*time.Second
	// pipeLimit is how long output may still be copied when the child has ended.
	pipeLimit = 5 * time.Second
)

// Cmd is a child to be. Set its fields, then Start and Wait, as with exec.Cmd. Unlike there nothing is inherited: an
// empty Env is an empty environment.
type Cmd struct {
	Env    []string
	Dir    string
	Stdin  io.Reader // must not block for ever, unless it is an *os.File
	Stdout io.Writer
	Stderr io.Writer
	// As is the user that a supervised command runs as; nil: the program's own. Only root can run commands as others.
	As *User
	// Grace is the time between SIGTERM and SIGKILL when ctx ends; 5 s when zero.
	Grace time.Duration

	ctx     context.Context
	cmd     *exec.Cmd
	err     error // of the making, returned by Start
	line    *os.File
	cut     sync.Once
	ended   chan struct{} // closed when the process is gone
	result  error         // valid then
	watched chan struct{} // closed when the watcher of ctx has returned
}

// User is one that a command runs as: in no other group, and with no way to become another user (no_new_privs).
type User struct{ UID, GID uint32 }

// Command prepares the in-binary child of that name, with args for its Func. When ctx ends the child is stopped.
func Command(ctx context.Context, child string, args ...string) *Cmd {
	// The link is the program as it was started, even if an upgrade has replaced the file meanwhile.
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0] + "-" + child // what ps shows
	c := &Cmd{ctx: ctx, cmd: cmd, ended: make(chan struct{}), watched: make(chan struct{})}
	if _, isChild := os.LookupEnv(envChild); isChild {
		c.err = fmt.Errorf("start child %q: lifeline.Main was not called first in this program", child)
	}
	cmd.Env = []string{envChild + "=" + child}
	return c
}

// Supervised prepares a foreign command. Its exit status is the child's; one that dies of a signal has 128 + its
// number. When it ends, and when it is stopped, all its descendants end too.
func Supervised(ctx context.Context, name string, args ...string) *Cmd {
	path, err := lookPath(name)
	c := Command(ctx, execChild, append([]string{path, name}, args...)...)
	c.err = errors.Join(c.err, err)
	return c
}

// Start starts the child. It must be followed by Wait or Stop.
func (c *Cmd) Start() error {
	if c.err != nil {
		return c.err
	}
	if err := c.ctx.Err(); err != nil {
		return fmt.Errorf("start %s: %w", c, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start %s: make its lifeline: %w", c, err)
	}
	for _, v := range c.Env {
		if !strings.HasPrefix(v, envChild+"=") && !strings.HasPrefix(v, envAs+"=") {
			c.cmd.Env = append(c.cmd.Env, v)
		}
	}
	if c.As != nil {
		c.cmd.Env = append(c.cmd.Env, fmt.Sprintf("%s=%d:%d", envAs, c.As.UID, c.As.GID))
	}
	c.cmd.Dir, c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = c.Dir, c.Stdin, c.Stdout, c.Stderr
	c.cmd.ExtraFiles = []*os.File{r}
	c.cmd.WaitDelay = pipeLimit
	// A group of its own: Ctrl-C reaches the whole foreground group, and it is the parent who decides what ends when.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = c.cmd.Start()
	_ = r.Close() // the child has its own copy; nothing was written
	if err != nil {
		_ = w.Close()
		return fmt.Errorf("start %s: %w", c, err)
	}
	c.line = w
	go c.wait()
	go c.watch()
	return nil
}

// wait is the one that collects the process.
func (c *Cmd) wait() {
	c.result = c.cmd.Wait()
	c.cutLine()
	close(c.ended)
}

// watch stops the child when ctx ends.
func (c *Cmd) watch() {
	defer close(c.watched)
	select {
	case <-c.ended:
	case <-c.ctx.Done():
		grace := c.Grace
		if grace == 0 {
			grace = defaultGrace
		}
		c.Stop(grace)
	}
}

// Wait waits for the child's end and returns its result: nil, an *exec.ExitError, or both that and the reason of a ctx
// that ended before. It always returns within the grace and some seconds after the end of ctx. It may be called by
// many.
func (c *Cmd) Wait() error {
	<-c.ended
	<-c.watched
	if c.result != nil && c.ctx.Err() != nil {
		return fmt.Errorf("%s: %w (%w)", c, context.Cause(c.ctx), c.result)
	}
	if c.result != nil {
		return fmt.Errorf("%s: %w", c, c.result)
	}
	return nil
}

// Run is Start and Wait.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Stop ends a started child and returns when it has ended: SIGTERM, after the grace SIGKILL for it and all below it. It
// may be called at any time and by many; a later call with a shorter grace shortens the earlier one's.
func (c *Cmd) Stop(grace time.Duration) {
	if c.cmd.Process == nil || c.endedWithin(0) {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	if c.endedWithin(grace) {
		return
	}
	c.cutLine()
	if c.endedWithin(cutLimit) {
		return
	}
	// It does not even notice its lifeline: a stopped or stuck process. What is below goes first, because once the
	// child is dead its members cannot be found any more.
	_ = sweep(c.cmd.Process.Pid, sweepLimit)
	_ = c.cmd.Process.Kill()
	<-c.ended
}

func (c *Cmd) endedWithin(d time.Duration) bool {
	if d > 0 {
		waitFor(c.ended, d)
	}
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

func (c *Cmd) cutLine() { c.cut.Do(func() { _ = c.line.Close() }) }

// Ended is closed when the child has ended.
func (c *Cmd) Ended() <-chan struct{} { return c.ended }

// Pid is the process id of a started child; for a supervised command that of its supervisor.
func (c *Cmd) Pid() int { return c.cmd.Process.Pid }

// ExitCode tells the exit code from an error of Wait or Run: 0 for nil, -1 when there is none in it.
func ExitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// String names the child for messages, without its arguments.
func (c *Cmd) String() string {
	if len(c.cmd.Args) > 2 && strings.HasSuffix(c.cmd.Args[0], "-"+execChild) {
		return c.cmd.Args[2]
	}
	return c.cmd.Args[0]
}
