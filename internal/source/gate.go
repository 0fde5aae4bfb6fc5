package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/fetch"
)

// gate is a proxy for one run of git, which connects to what downloads may connect to and to nothing else: git itself would follow a
// name or a redirect into the builder's own network.
type gate struct {
	address string
	client  *fetch.Client
	server  *http.Server
	plain   *http.Transport
	done    sync.WaitGroup

	mu      sync.Mutex
	refused error
	open    map[net.Conn]bool // nil: closed
}

func openGate(ctx context.Context, client *fetch.Client) (*gate, error) {
	var listen net.ListenConfig
	socket, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a proxy for git: %w", err)
	}
	g := &gate{address: "http://" + socket.Addr().String(), client: client, open: map[net.Conn]bool{}}
	g.plain = &http.Transport{DialContext: g.dial, DisableCompression: true}
	forward := &httputil.ReverseProxy{
		Rewrite: func(*httputil.ProxyRequest) {}, Transport: g.plain, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	g.server = &http.Server{ReadHeaderTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !g.enter() {
				return
			}
			defer g.done.Done()
			switch {
			case r.Method == http.MethodConnect:
				g.connect(w, r)
			case r.URL.Scheme == "http" && r.URL.Host != "":
				forward.ServeHTTP(w, r)
			default:
				http.Error(w, "this is a proxy", http.StatusBadRequest)
			}
		})}
	g.done.Go(func() { _ = g.server.Serve(socket) }) // it says that it was closed
	return g, nil
}

// enter counts a request in, unless the gate is closed.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open != nil {
		g.done.Add(1)
	}
	return g.open != nil
}

// environment leads git to the gate, and nowhere past it.
func (g *gate) environment() []string {
	return []string{"http_proxy=" + g.address, "https_proxy=" + g.address, "all_proxy=" + g.address, "no_proxy="}
}

// close ends what is open, and gives what was refused.
func (g *gate) close() error {
	_ = g.server.Close() // of a socket on loopback
	g.mu.Lock()
	for c := range g.open {
		_ = c.Close()
	}
	g.open = nil
	refused := g.refused
	g.mu.Unlock()
	g.done.Wait()
	g.plain.CloseIdleConnections()
	return refused
}

// dial connects as a download does, and remembers what it must not connect to.
func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := g.client.Dial(ctx, network, address)
	var f *rpmflow.Failure
	if errors.As(err, &f) {
		g.mu.Lock()
		g.refused = f
		g.mu.Unlock()
	}
	return conn, err
}

// connect is the way for https: bytes are handed to and fro.
func (g *gate) connect(w http.ResponseWriter, r *http.Request) {
	out, err := g.dial(r.Context(), "tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = out.Close()
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	g.mu.Lock()
	closed := g.open == nil
	if !closed {
		g.open[in], g.open[out] = true, true
		g.done.Add(2)
	}
	g.mu.Unlock()
	if closed {
		_, _ = in.Close(), out.Close()
		return
	}
	_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n") // whoever has gone is seen when bytes are copied
	hand := func(to net.Conn, from io.Reader) {
		defer g.done.Done()
		_, _ = io.Copy(to, from)
		_, _ = in.Close(), out.Close()
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.open, in)
		delete(g.open, out)
	}
	go hand(out, buffered)
	go hand(in, out)
}
