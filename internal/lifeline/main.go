package lifeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// envChild says in a child which one it is. It is removed before anything of the child's own runs.
	envChild = "RPMFLOW_CHILD"
	// envAs says as whom a supervised command runs, UID:GID; it is removed as envChild is.
	envAs = "RPMFLOW_CHILD_AS"
	// lifelineFD is the read end of the lifeline: the first of exec.Cmd's ExtraFiles.
	lifelineFD = 3
	// execChild is the built-in child that supervises a foreign command.
	execChild = "exec"
	// sweepLimit bounds the killing of what is left below a child; only a process stuck in the kernel takes so long.
	sweepLimit = 10 * time.Second
	// reapLimit bounds the wait for dead descendants to be collected, so that they do not become zombies of another
	// process.
	reapLimit = time.Second
)

// Exit codes of a child, besides those of its own: as a shell has them.
const (
	codeFailed        = 1
	codeLineCut       = 128 + int(unix.SIGKILL) // the parent is gone, or its patience
	codeNotExecutable = 126
	codeNotFound      = 127
)

// Func is a child's work. Its ctx ends when the parent asks the child to stop; when the parent is gone, the whole
// process ends without asking.
type Func func(ctx context.Context, args []string) error

// ExitError lets a Func choose its process's exit code, for a parent that decides on it.
type ExitError struct {
	Code int
	Err  error
}

// Error implements error.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ExitError) Unwrap() error { return e.Err }

// Main must be called first thing in main and in TestMain. In a child it does the child's work and does not return; in
// any other process it does nothing. A Func that returns an error makes the child write it to stderr and exit with 1,
// or the code of its ExitError.
func Main(children map[string]Func) {
	name, isChild := os.LookupEnv(envChild)
	if !isChild {
		return
	}
	os.Exit(childMain(name, children, os.Args[1:]))
}

func childMain(name string, children map[string]Func, args []string) int {
	fail := func(code int, err error) int {
		fmt.Fprintf(os.Stderr, "%s: child %q: %v\n", filepath.Base(os.Args[0]), name, err)
		return code
	}
	if err := os.Unsetenv(envChild); err != nil {
		return fail(codeFailed, err)
	}
	as, err := takeUser()
	if err != nil {
		return fail(codeFailed, err)
	}
	cut, err := watchLine()
	if err != nil {
		return fail(codeFailed, err)
	}
	// Orphans below become our children instead of init's, so that the sweep finds them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fail(codeFailed, fmt.Errorf("become the reaper of descendants: %w", err))
	}
	stop := make(chan os.Signal, 4)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)

	if name == execChild {
		code, err := supervise(args, as, cut, stop)
		if err != nil {
			return fail(code, err)
		}
		return code
	}
	work, known := children[name]
	if !known {
		return fail(codeFailed, errors.New("this program has no such child"))
	}
	code, err := runFunc(work, args, cut, stop)
	if err != nil {
		return fail(code, err)
	}
	return code
}

// takeUser reads envAs; nil: the program's own user.
func takeUser() (*User, error) {
	text, ok := os.LookupEnv(envAs)
	if !ok {
		return nil, nil
	}
	if err := os.Unsetenv(envAs); err != nil {
		return nil, err
	}
	u := &User{}
	if _, err := fmt.Sscanf(text, "%d:%d", &u.UID, &u.GID); err != nil {
		return nil, fmt.Errorf("%s=%q: %w", envAs, text, err)
	}
	return u, nil
}

// watchLine returns a channel that is closed when the lifeline is.
func watchLine() (<-chan struct{}, error) {
	var st unix.Stat_t
	if err := unix.Fstat(lifelineFD, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil, fmt.Errorf("file descriptor %d is not a lifeline: %s is not meant to be set by hand", lifelineFD,
			envChild)
	}
	unix.CloseOnExec(lifelineFD)
	line := os.NewFile(lifelineFD, "lifeline")
	cut := make(chan struct{})
	go func() { // ends with the process
		defer close(cut)
		for {
			if _, err := line.Read(make([]byte, 1)); err != nil {
				return
			}
		}
	}()
	return cut, nil
}

// runFunc does an in-binary child's work and leaves nothing running below it.
func runFunc(work Func, args []string, cut <-chan struct{}, stop <-chan os.Signal) (int, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- work(ctx, args) }()
	for {
		select {
		case <-stop:
			cancel()
		case <-cut:
			return codeLineCut, sweep(os.Getpid(), sweepLimit)
		case err := <-done:
			err = errors.Join(err, sweep(os.Getpid(), sweepLimit))
			var exit *ExitError
			switch {
			case errors.As(err, &exit):
				return exit.Code, err
			case err != nil:
				return codeFailed, err
			}
			return 0, nil
		}
	}
}
