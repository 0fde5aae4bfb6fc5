package lifeline

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supervise runs a command in a process group of its own and ends with it. args are the path of the executable and the
// command's whole argv. Every descendant is dead when it returns.
func supervise(args []string, as *User, cut <-chan struct{}, stop <-chan os.Signal) (int, error) {
	if len(args) < 2 {
		return codeFailed, errors.New("no command to supervise")
	}
	// Pdeathsig is for the case that only this supervisor is killed. It fires when the *thread* that started the
	// command ends, so the thread is kept until the process ends.
	runtime.LockOSThread()
	sys := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if as != nil {
		sys.Credential = &syscall.Credential{Uid: as.UID, Gid: as.GID}
		// Of this thread alone; the command inherits it.
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return codeFailed, fmt.Errorf("keep %s from new privileges: %w", args[0], err)
		}
	}
	command, err := os.StartProcess(args[0], args[1:], &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys: sys})
	switch {
	case errors.Is(err, os.ErrNotExist):
		return codeNotFound, err
	case err != nil:
		return codeNotExecutable, err
	}
	pid := command.Pid
	ended, allReaped := reap(pid)

	for {
		select {
		case <-stop:
			// The command may clean up after itself; the parent cuts the lifeline when that takes too long.
			if err := unix.Kill(-pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
				return codeFailed, fmt.Errorf("stop the process group of %s: %w", args[0], err)
			}
		case <-cut:
			err := sweep(os.Getpid(), sweepLimit)
			waitFor(allReaped, reapLimit)
			return codeLineCut, err
		case status := <-ended:
			err := sweep(os.Getpid(), sweepLimit) // what the command left in the background
			waitFor(allReaped, reapLimit)
			if status.Signaled() {
				return 128 + int(status.Signal()), err
			}
			return status.ExitStatus(), err
		}
	}
}

// reap collects every child that dies, the adopted orphans too: a long build would otherwise fill the process table. It
// sends the status of pid, and closes the second channel when no child is left.
func reap(pid int) (<-chan unix.WaitStatus, <-chan struct{}) {
	ended, all := make(chan unix.WaitStatus, 1), make(chan struct{})
	go func() { // ends with the last child, or with the process
		defer close(all)
		for {
			var status unix.WaitStatus
			dead, err := unix.Wait4(-1, &status, 0, nil)
			switch {
			case errors.Is(err, unix.EINTR):
			case err != nil: // ECHILD
				return
			case dead == pid:
				ended <- status
			}
		}
	}()
	return ended, all
}

func waitFor(done <-chan struct{}, limit time.Duration) {
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// lookPath finds a command as exec.Command does, so that a missing one is an error of Start and not of a child. A name
// with a slash is left to the child, which is in its Dir.
func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("run %s: %w: install it, or set PATH", name, err)
	}
	return path, nil
}
