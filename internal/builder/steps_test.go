package builder_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/builder"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// childSettings is what the child process gets.
type childSettings struct {
	Name, DataDir string
	AckWait       time.Duration
	NATS          string
	S3            storage.Config
}

// hangingBuilder is a builder whose builds never end.
func hangingBuilder(ctx context.Context, args []string) error {
	var s childSettings
	if err := json.Unmarshal([]byte(args[0]), &s); err != nil {
		return err
	}
	o := builder.Options{
		Name: s.Name, DataDir: s.DataDir, AckWait: s.AckWait, Archs: []string{"x86_64"},
		Targets: []rpmflow.Target{enginetest.Target()},
		Jobs:    1, DrainTime: patience, Poll: 50 * time.Millisecond, RetryDelay: time.Second, MaxFailures: 3,
		Logger: quiet,
	}
	engine := &enginetest.Engine{Step: hang(enginetest.RPMs)}
	return runBuilder(ctx, ctx, o, events.Access{URL: s.NATS, Name: "child"}, s.S3, engine, func() {})
}

// hang makes a step last until its context ends.
func hang(in string) step {
	return func(ctx context.Context, step string, _ build.Job) error {
		if step == in {
			<-ctx.Done()
		}
		return ctx.Err()
	}
}

// gate makes a step wait for the test, or for the end of its context.
type gate struct {
	in      string
	entered chan struct{} // gets a value when the step begins
	open    chan struct{} // closed by the test
}

func newGate(in string) *gate {
	return &gate{in, make(chan struct{}, 16), make(chan struct{})}
}

func (g *gate) step(ctx context.Context, step string, _ build.Job) error {
	if step != g.in {
		return nil
	}
	g.entered <- struct{}{}
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *fixture) entered(g *gate) {
	w.t.Helper()
	testkit.Receive(w.t, "the beginning of step "+g.in, g.entered)
}

// proxy is a connection between a builder and NATS or S3 that can be cut.
type proxy struct {
	listener net.Listener
	mu       sync.Mutex
	to       string
	sent     func([]byte) // gets what the builder sends; may be nil
	cut      bool
	conns    []net.Conn
	wg       sync.WaitGroup
}

func (w *fixture) proxy() *proxy { return w.proxyTo(strings.TrimPrefix(w.url, "nats://"), nil) }

func (w *fixture) proxyTo(address string, sent func([]byte)) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(w.t, err)
	x := &proxy{listener: l, to: address, sent: sent}
	x.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			x.wg.Go(func() { x.carry(c) })
		}
	})
	w.t.Cleanup(func() { l.Close(); x.set(true); x.wg.Wait() })
	return x
}

func (x *proxy) address() string { return x.listener.Addr().String() }

func (x *proxy) url() string { return "nats://" + x.address() }

func (x *proxy) carry(c net.Conn) {
	defer c.Close()
	x.mu.Lock()
	to, cut := x.to, x.cut
	x.mu.Unlock()
	if cut {
		return
	}
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	x.mu.Lock()
	cut = x.cut
	x.conns = append(x.conns, c, d)
	x.mu.Unlock()
	if cut {
		return
	}
	x.wg.Go(func() { _, _ = io.Copy(io.MultiWriter(observer{x}, d), c); d.Close() })
	_, _ = io.Copy(c, d)
}

// observer passes on what the builder sends.
type observer struct{ *proxy }

func (e observer) Write(p []byte) (int, error) {
	if e.sent != nil {
		e.sent(p)
	}
	return len(p), nil
}

// set cuts the connection or restores it.
func (x *proxy) set(cut bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cut = cut
	if cut {
		for _, c := range x.conns {
			c.Close()
		}
		x.conns = nil
	}
}

// redirect redirects the connection to another address from now on.
func (x *proxy) redirect(to string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.to = to
}
