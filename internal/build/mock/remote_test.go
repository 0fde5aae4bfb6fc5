package mock

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// says checks that an engine is not ready, and that the error and its way out say why.
func says(t *testing.T, e *Engine, why, do string) {
	t.Helper()
	wantHint(t, e.Ready(t.Context()), why, do)
}

func wantHint(t *testing.T, err error, why, do string) {
	t.Helper()
	if err == nil {
		t.Fatalf("ready; want %q", why)
	}
	what, way := hint.Split(err)
	if !strings.Contains(what, why) || !strings.Contains(way, do) {
		t.Errorf("got  %s\n  -> %s\nwant %q, %q", what, way, why, do)
	}
}

const spec = `Name: hello
Version: 1.0
Release: 1
Summary: Says hello
License: MIT
Source0: hello.txt
BuildArch: noarch
%description
Says hello.
%install
install -D %{SOURCE0} %{buildroot}/usr/share/hello.txt
%files
/usr/share/hello.txt
`

// builds runs a whole build on an engine: what goes in and what comes out has no other way than the API.
func builds(t *testing.T, e *Engine) {
	t.Helper()
	must(t, e.Ready(t.Context()))
	image, err := standinImage()
	must(t, err)
	t.Cleanup(func() { forget(t, e.s.Installation) })
	sources := t.TempDir()
	must(t, os.WriteFile(filepath.Join(sources, "hello.txt"), []byte(strings.Repeat("hello\n", 100_000)), 0o600))
	file := filepath.Join(sources, "hello.spec")
	must(t, os.WriteFile(file, []byte(spec), 0o600))
	b := rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: rpmflow.DeriveID(t.Name()), Target: "standin-1-x86_64", Arch: "x86_64"}, Attempt: 1}
	target := rpmflow.Target{Name: "standin-1-x86_64", Arch: "x86_64", Config: "standin-1-x86_64", Image: image, MaxAge: time.Hour}
	s, err := e.Open(t.Context(), build.Job{
		Build: b, Target: target, Epoch: time.Unix(1700000000, 0), Dir: t.TempDir(), Log: io.Discard, OnContainer: func(string) {}, OnRoot: func(rpmflow.BuildRoot) {},
	})
	must(t, err)
	defer func() { must(t, s.Close(context.WithoutCancel(t.Context()))) }()
	must(t, s.Root(t.Context()))
	srpm, err := s.SRPM(t.Context(), file, sources)
	must(t, err)
	must(t, s.Dependencies(t.Context(), srpm))
	rpms, err := s.RPMs(t.Context(), srpm)
	must(t, err)
	if len(rpms) != 1 || filepath.Base(rpms[0]) != "hello-1.0-1.noarch.rpm" {
		t.Errorf("made %q", rpms)
	}
}

func TestTLS(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	addr := tlsEngine(t, ours)
	path := certPath(t, ours, ours)
	builds(t, open(t, Settings{Host: "tcp://" + addr, CertPath: path}))

	t.Setenv("DOCKER_HOST", "tcp://"+addr)
	t.Setenv("DOCKER_CERT_PATH", path)
	must(t, open(t, Settings{}).Ready(t.Context()))
	// The certificates of TCP are not for a socket.
	must(t, open(t, Settings{Host: "unix://" + engineSocket(t)}).Ready(t.Context()))
	t.Setenv("DOCKER_CERT_PATH", "")
	says(t, open(t, Settings{Host: "tcp://" + addr}), "does not answer", "set builder.docker.cert_path when the engine wants TLS there")
	_, do := tlsCause(errors.New("400 Bad Request: Client sent an HTTP request to an HTTPS server."), false)
	if do != "the engine wants TLS: set builder.docker.cert_path" {
		t.Error(do)
	}
	says(t, open(t, Settings{Host: "tcp://" + addr, CertPath: certPath(t, ours, others)}), "tls:", "does not take our certificate")
	says(t, open(t, Settings{Host: "tcp://" + addr, CertPath: certPath(t, others, ours)}), "unknown authority", "ca.pem in builder.docker.cert_path")
	_, port, _ := net.SplitHostPort(addr)
	must(t, open(t, Settings{Host: "tcp://localhost:" + port, CertPath: path}).Ready(t.Context()))
	_, err := New(Settings{Host: "tcp://" + addr, CertPath: t.TempDir()})
	wantHint(t, err, "ca.pem", "put ca.pem, cert.pem and key.pem there")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	plain := serve(t, l, func(c net.Conn) { relay(c, c.(*net.TCPConn).CloseWrite, engineSocket(t)) })
	e := open(t, Settings{Host: "tcp://" + plain})
	facts, err := e.Facts(t.Context())
	if err != nil || !facts.Plain || facts.Free >= 0 {
		t.Errorf("facts %+v, %v", facts, err)
	}
	says(t, open(t, Settings{Host: "tcp://" + plain, CertPath: path}), "does not answer", "speaks no TLS there")
	l.Close()
	says(t, open(t, Settings{Host: "tcp://" + plain}), "connection refused", "start the engine, or correct builder.docker.host")
}

func TestSSH(t *testing.T) {
	h := newSSHHost(t, dialStdio(engineSocket(t)))
	url := "ssh://builder@" + h.addr
	e, err := New(Settings{Host: url, Logger: quiet, Network: "bridge", Installation: t.Name()})
	must(t, err)
	builds(t, e)
	if len(children(t)) == 0 {
		t.Error("no connection is kept")
	}
	must(t, e.Shut())
	if left := children(t); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	for _, command := range h.asked {
		if command != "docker system dial-stdio" {
			t.Errorf("asked for %q", command)
		}
	}

	says(t, open(t, Settings{Host: "ssh://other@" + h.addr}), "Permission denied", "authorized_keys")
	h.newKey()
	says(t, open(t, Settings{Host: url}), "Permission denied", "authorized_keys")
	h.write("known_hosts", "")
	says(t, open(t, Settings{Host: url}), "Host key verification failed", "known_hosts")
	says(t, open(t, Settings{Host: "ssh://builder@127.0.0.1:1"}), "Connection refused", "try it by hand as the builder's user: docker --host ssh://builder@127.0.0.1:1 version")
	t.Setenv("PATH", t.TempDir())
	says(t, open(t, Settings{Host: url}), "executable file not found", "install ssh")
}

// What goes wrong behind ssh is told in the words of that host.
func TestSSHWithoutAnEngine(t *testing.T) {
	h := newSSHHost(t, dialStdio(filepath.Join(t.TempDir(), "docker.sock")))
	says(t, open(t, Settings{Host: "ssh://builder@" + h.addr}), "no such file or directory", "the engine must run there")
	h = newSSHHost(t, func(_ string, c ssh.Channel) uint32 {
		io.WriteString(c.Stderr(), "sh: docker: command not found\n")
		return 127
	})
	says(t, open(t, Settings{Host: "ssh://builder@" + h.addr}), "command not found", "install the docker command there")
}

// A connection that breaks in the middle is an error with what ssh says, and the next call makes another one.
func TestSSHBroken(t *testing.T) {
	h := newSSHHost(t, dialStdio(engineSocket(t)))
	e := open(t, Settings{Host: "ssh://builder@" + h.addr})
	must(t, e.Ready(t.Context()))
	e.way.mu.Lock()
	for c := range e.way.ssh {
		must(t, c.cmd.Process.Kill())
	}
	e.way.mu.Unlock()
	eventually(t, "the end of ssh", func() bool { return len(children(t)) == 0 })
	must(t, e.Ready(t.Context()))
}

// A program that is killed takes its ssh with it.
func TestSSHOfAKilledProgram(t *testing.T) {
	h := newSSHHost(t, dialStdio(engineSocket(t)))
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"=ssh://builder@"+h.addr)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready: <nil>\n" {
		t.Errorf("the child says %q, %v", line, err)
	}
	if h.open() == 0 {
		t.Error("it keeps no connection")
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	eventually(t, "the end of ssh", func() bool { return h.open() == 0 })
}

func TestSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "docker.sock")
	e := open(t, Settings{Host: "unix://" + path})
	says(t, e, "there is no socket "+path, "--volume "+path+":"+path)
	must(t, os.Mkdir(path, 0o755))
	says(t, e, path+" is no socket", "DOCKER_SOCKET")
	must(t, os.Remove(path))
	l, err := net.Listen("unix", path)
	must(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	says(t, e, "nobody listens on the socket", "start the engine")
	must(t, os.Chown(path, -1, os.Getgid()))
	e.way.note(&fs.PathError{Op: "dial", Path: path, Err: fs.ErrPermission})
	wantHint(t, e.way.explain(errors.New("x")), "may not open the socket "+path, "in the group")
}

func TestLocalEngine(t *testing.T) {
	host := "unix://" + engineSocket(t)
	e := open(t, Settings{Host: host, Archs: []string{rpmflow.HostArch()}})
	must(t, e.Ready(t.Context()))
	f, err := e.Facts(t.Context())
	if err != nil || f.Version == "" || f.API == "" || f.Machine == "" || f.Storage == "" || f.Plain {
		t.Errorf("facts %+v, %v", f, err)
	}
	says(t, open(t, Settings{Host: host, Archs: []string{"s390x"}}), "cannot build for s390x", "set builder.archs to "+f.Machine)
	_, err = e.Image(t.Context(), rpmflow.Target{Name: "x", Image: "rpmflow/nothing:1"})
	wantHint(t, err, "image rpmflow/nothing:1 is not on the engine", "docker pull rpmflow/nothing:1; or docker load")
	if !errors.Is(err, ErrNoImage) {
		t.Error(err)
	}
	_, err = e.Image(t.Context(), rpmflow.Target{Name: "x", Image: defaultImage})
	if err != nil {
		wantHint(t, err, "", "docker build --tag rpmflow/mock:latest deploy/images/mock")
	}
	wantHint(t, checkAPI("x", "1.40"), "1.40", "20.10")
	must(t, checkAPI("x", "1.41"))
}

func TestBadHosts(t *testing.T) {
	for _, host := range []string{"docker", "ftp://docker:1", "tcp://docker", "ssh://u:p@docker", "ssh://docker/x", "ssh://-x", "ssh://-x@docker", "ssh://"} {
		t.Setenv("DOCKER_HOST", host)
		if _, err := New(Settings{Logger: quiet}); err == nil || !strings.Contains(err.Error(), "DOCKER_HOST") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestMachines(t *testing.T) {
	for _, c := range []struct {
		machine string
		archs   []string
		fits    bool
	}{
		{"x86_64", []string{"x86_64", "i686", "x86_64_v2"}, true},
		{"aarch64", []string{"aarch64", "armv7hl"}, true},
		{"aarch64", []string{"aarch64", "x86_64"}, false},
		{"riscv64", []string{"riscv64"}, true},
	} {
		if err := checkMachine("x", c.machine, c.archs); (err == nil) != c.fits {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// TestEndedWhileAContainerIsMade: nothing stays of a build that ends while the engine makes a container for it, not even the name for
// which others would wait.
func TestEndedWhileAContainerIsMade(t *testing.T) {
	socket := engineSocket(t)
	image, err := standinImage()
	must(t, err)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "engine" },
		ModifyResponse: func(res *http.Response) error {
			if strings.HasSuffix(res.Request.URL.Path, "/containers/create") && res.StatusCode == http.StatusCreated {
				end() // the container is there, and nobody has heard of it
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	e := open(t, Settings{Host: "tcp://" + proxy.Listener.Addr().String()})
	t.Cleanup(func() { forget(t, e.s.Installation) })
	s, err := e.Open(t.Context(), build.Job{
		Build:  rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: rpmflow.DeriveID(t.Name())}, Attempt: 1},
		Target: rpmflow.Target{Name: "standin-1-x86_64", Arch: "x86_64", Config: "standin-1-x86_64", Image: image, MaxAge: time.Hour},
		Dir:    t.TempDir(), Log: io.Discard, OnContainer: func(string) {}, OnRoot: func(rpmflow.BuildRoot) {},
	})
	must(t, err)
	if err := s.Root(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("root: %v", err)
	}
	must(t, s.Close(t.Context()))
	e.burials.wait.Wait()
	if left := docker(t, "ps", "--all", "--quiet", "--filter", "label="+LabelInstallation+"="+e.s.Installation); left != "" {
		t.Errorf("left: %s", left)
	}
}
