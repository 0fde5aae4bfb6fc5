package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/giturl"
)

const (
	sshEnd  = 2 * time.Second // until ssh is killed, and to wait for why it has ended
	sshPipe = time.Second     // for the rest of its output
)

// sshArgs are ssh's arguments for one connection to the engine of a host. ssh must not ask on a terminal, nor
// continue in the background, and must notice within a minute that a connection is dead. The rest is ssh's own
// configuration.
func sshArgs(host string) ([]string, error) {
	u, err := giturl.ParseServer(host)
	if err != nil {
		return nil, err
	}
	args := []string{"-T"}
	for _, option := range []string{
		"BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=3", "ControlMaster=no",
		"ControlPath=none",
		"ClearAllForwardings=yes", "ForwardAgent=no", "PermitLocalCommand=no",
	} {
		args = append(args, "-o", option)
	}
	if name := u.User.Username(); name != "" {
		args = append(args, "-l", name)
	}
	if u.Port != "" {
		args = append(args, "-p", u.Port)
	}
	return append(args, "--", u.Host, "docker system dial-stdio"), nil
}

// sshConn is a connection through one ssh process. When this process dies, in any way, ssh reads the end of its
// input and ends too.
type sshConn struct {
	net.Conn // our end of a pair of sockets; the other one is ssh's input and output
	link     *connection
	cmd      *exec.Cmd
	stderr   *Tail
	ended    chan struct{} // closed when ssh is gone
	result   error         // valid then
	once     sync.Once
	closing  chan struct{} // closed by Close: how ssh ends is of no interest from then on
}

func (c *connection) dialSSH(ctx context.Context, args []string) (net.Conn, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("ssh to %s: %w", c.host, err)
	}
	conn := &sshConn{Conn: ours, link: c, stderr: &Tail{}, ended: make(chan struct{}), closing: make(chan struct{})}
	// The connection outlives the request for which it is made.
	conn.cmd = exec.CommandContext(context.WithoutCancel(ctx), "ssh", args...)
	conn.cmd.Stdin, conn.cmd.Stdout, conn.cmd.Stderr, conn.cmd.WaitDelay = theirs, theirs, conn.stderr, sshPipe
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK"} {
		if v, ok := os.LookupEnv(name); ok {
			conn.cmd.Env = append(conn.cmd.Env, name+"="+v)
		}
	}
	// A process group of its own: ssh does not get Ctrl-C, and a proxy that ssh has started ends with it.
	conn.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = conn.cmd.Start()
	_ = theirs.Close() // ssh has its own copy
	if err != nil {
		_ = ours.Close()
		return nil, &sshError{host: c.host, err: err}
	}
	c.mu.Lock()
	c.ssh[conn] = struct{}{}
	c.mu.Unlock()
	go conn.wait() // ends with the process, for which Close waits
	return conn, nil
}

// socketPair makes a connection, and its other end for a child.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ssh"), os.NewFile(uintptr(fds[1]), "ssh")
	defer func() { _ = ours.Close() }() // FileConn makes a copy
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make a pair of sockets: %w", err), theirs.Close())
	}
	return conn, theirs, nil
}

func (c *sshConn) wait() {
	c.result = c.cmd.Wait()
	c.link.mu.Lock()
	delete(c.link.ssh, c)
	c.link.mu.Unlock()
	close(c.ended)
}

// Read implements net.Conn.
func (c *sshConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.why(err)
}

// Write implements net.Conn.
func (c *sshConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.why(err)
}

// why replaces the end of a connection by ssh's own message.
func (c *sshConn) why(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	timer := time.NewTimer(sshEnd)
	defer timer.Stop()
	select {
	case <-c.ended:
	case <-c.closing:
		return err
	case <-timer.C:
		return err
	}
	if c.result == nil {
		return err
	}
	failed := &sshError{host: c.link.host, output: strings.TrimSpace(string(c.stderr.Bytes())), err: c.result}
	c.link.note(failed)
	return failed
}

// Close ends the connection and its process.
func (c *sshConn) Close() error {
	var err error
	c.once.Do(func() {
		close(c.closing)
		err = c.Conn.Close()
		c.signal(syscall.SIGTERM)
		timer := time.NewTimer(sshEnd)
		defer timer.Stop()
		select {
		case <-c.ended:
		case <-timer.C:
			c.signal(syscall.SIGKILL)
		}
	})
	<-c.ended
	return err
}

// signal reaches ssh and its children until ssh has been waited for.
func (c *sshConn) signal(s syscall.Signal) {
	select {
	case <-c.ended:
	default:
		_ = syscall.Kill(-c.cmd.Process.Pid, s) // it may have ended by itself
	}
}

// sshError is the end of an ssh process.
type sshError struct {
	host   string
	output string // of ssh
	err    error
}

func (e *sshError) Error() string {
	msg := fmt.Sprintf("ssh: %v", e.err)
	if e.output != "" {
		msg += ": " + strings.Join(strings.FieldsFunc(e.output, func(r rune) bool { return r == '\n' }), "; ")
	}
	return msg
}

func (e *sshError) Unwrap() error { return e.err }

func (e *sshError) advice() string {
	for _, known := range []struct{ message, do string }{
		{"Host key verification failed",
			"put the host's key into known_hosts of the builder's user (ssh-keyscan, and compare it with the host's " +
				"own)"},
		{"Permission denied", "put the public key of the builder's user into authorized_keys there; the key must " +
			"have no passphrase, or be in the agent (SSH_AUTH_SOCK)"},
		{"No user exists for uid", "give the user an entry in /etc/passwd: ssh needs one"},
		{"command not found", "install the docker command there: ssh runs docker system dial-stdio"},
		{"docker.sock", "the engine must run there, and the user must be in its group docker"},
	} {
		if strings.Contains(e.output, known.message) {
			return known.do
		}
	}
	if errors.Is(e.err, exec.ErrNotFound) {
		return "install ssh (openssh-clients, openssh-client) where the builder runs"
	}
	return fmt.Sprintf("try it by hand as the builder's user: docker --host %s version", e.host)
}
