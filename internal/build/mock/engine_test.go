package mock

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocktest"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// open makes an engine that ends with the test.
func open(t *testing.T, s Settings) *Engine {
	t.Helper()
	s.Logger, s.Installation, s.Network, s.PIDs = quiet, "test-"+rand.Text(), "bridge", 512
	e, err := New(s)
	testkit.Must(t, err)
	t.Cleanup(func() {
		if err := e.Shut(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func wantHint(t *testing.T, err error, why, do string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %q", why)
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
	testkit.Must(t, e.Ready(t.Context()))
	image := testkit.Standin(t)
	t.Cleanup(func() { mocktest.Forget(t, e.s.Installation) })
	sources := t.TempDir()
	testkit.Must(t, os.WriteFile(filepath.Join(sources, "hello.txt"), []byte(strings.Repeat("hello\n", 100_000)),
		0o600))
	file := filepath.Join(sources, "hello.spec")
	testkit.Must(t, os.WriteFile(file, []byte(spec), 0o600))
	b := rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: rpmflow.DeriveID(t.Name()), Target: "standin-1-x86_64",
		Arch: "x86_64"}, Attempt: 1}
	target := rpmflow.Target{Name: "standin-1-x86_64", Arch: "x86_64", Config: "standin-1-x86_64", Image: image,
		MaxAge: time.Hour}
	s, err := e.Open(t.Context(), build.Job{
		Build: b, Target: target, Epoch: time.Unix(1700000000, 0), Dir: t.TempDir(), Log: io.Discard,
		OnContainer: func(string) {}, OnRoot: func(rpmflow.BuildRoot) {},
	})
	testkit.Must(t, err)
	defer func() {
		testkit.Must(t, s.Close(context.WithoutCancel(t.Context())))
		e.images.Wait()
	}()
	testkit.Must(t, s.Root(t.Context()))
	srpm, err := s.SRPM(t.Context(), file, sources)
	testkit.Must(t, err)
	testkit.Must(t, s.Dependencies(t.Context(), srpm))
	rpms, err := s.RPMs(t.Context(), srpm)
	testkit.Must(t, err)
	if len(rpms) != 1 || filepath.Base(rpms[0]) != "hello-1.0-1.noarch.rpm" {
		t.Errorf("made %q", rpms)
	}
}

func TestBuildBehindTLS(t *testing.T) {
	t.Parallel()
	a := mocktest.NewAuthority(t)
	builds(t, open(t, Settings{Host: "tcp://" + mocktest.TLSEngine(t, a), CertPath: mocktest.CertPath(t, a, a)}))
}

func TestBuildBehindSSH(t *testing.T) {
	h := mocktest.NewSSHHost(t, mocktest.DialStdio(mocktest.Socket(t)))
	builds(t, open(t, Settings{Host: "ssh://builder@" + h.Addr}))
}

func TestLocalEngine(t *testing.T) {
	t.Parallel()
	host := "unix://" + mocktest.Socket(t)
	e := open(t, Settings{Host: host, Archs: []string{rpmflow.HostArch()}})
	testkit.Must(t, e.Ready(t.Context()))
	f, err := e.Facts(t.Context())
	if err != nil || f.Version == "" || f.API == "" || f.Machine == "" || f.Storage == "" || f.Plain {
		t.Errorf("facts %+v, %v", f, err)
	}
	wantHint(t, open(t, Settings{Host: host, Archs: []string{"s390x"}}).Ready(t.Context()), "cannot build for s390x",
		"set builder.archs to "+f.Machine)
	_, err = e.Image(t.Context(), rpmflow.Target{Name: "x", Image: "rpmflow/nothing:1"})
	wantHint(t, err, "image rpmflow/nothing:1 is not on the engine", "docker pull rpmflow/nothing:1; or docker load")
	if !errors.Is(err, ErrNoImage) {
		t.Error(err)
	}
	_, err = e.Image(t.Context(), rpmflow.Target{Name: "x", Image: defaultImage})
	if err != nil {
		wantHint(t, err, "", "docker build --tag rpmflow/mock:latest deploy/images/mock")
	}
}

func TestMachines(t *testing.T) {
	t.Parallel()
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

// TestEndedWhileAContainerIsMade: nothing stays of a build that ends while the engine makes a container for it, not
// even the name for which others would wait.
func TestEndedWhileAContainerIsMade(t *testing.T) {
	t.Parallel()
	socket := mocktest.Socket(t)
	image := testkit.Standin(t)
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
				end() // the container is there, and the answer is lost
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	e := open(t, Settings{Host: "tcp://" + proxy.Listener.Addr().String()})
	t.Cleanup(func() { mocktest.Forget(t, e.s.Installation) })
	s, err := e.Open(t.Context(), build.Job{
		Build: rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: rpmflow.DeriveID(t.Name())}, Attempt: 1},
		Target: rpmflow.Target{Name: "standin-1-x86_64", Arch: "x86_64", Config: "standin-1-x86_64", Image: image,
			MaxAge: time.Hour},
		Dir: t.TempDir(), Log: io.Discard, OnContainer: func(string) {}, OnRoot: func(rpmflow.BuildRoot) {},
	})
	testkit.Must(t, err)
	if err := s.Root(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("root: %v", err)
	}
	testkit.Must(t, s.Close(t.Context()))
	e.images.Wait()
	if left := mocktest.Docker(t, "ps", "--all", "--quiet", "--filter",
		"label="+images.LabelInstallation+"="+e.s.Installation); left != "" {
		t.Errorf("left: %s", left)
	}
}
