package git

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
)

// proxy is an HTTP proxy on loopback for one run of git. It connects with a given function and so only where
// downloads may connect to: git itself would follow a name or a redirect into the builder's own network.
type proxy struct {
	address string
	out     func(ctx context.Context, network, address string) (net.Conn, error)
	server  *http.Server
	plain   *http.Transport
	done    sync.WaitGroup

	mu      sync.Mutex
	refused error
	open    map[net.Conn]bool // nil: closed
}

func startProxy(ctx context.Context,
	dial func(ctx context.Context, network, address string) (net.Conn, error)) (*proxy, error) {
	var listen net.ListenConfig
	socket, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a proxy for git: %w", err)
	}
	p := &proxy{address: "http://" + socket.Addr().String(), out: dial, open: map[net.Conn]bool{}}
	p.plain = &http.Transport{DialContext: p.dial, DisableCompression: true}
	silent := slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug) // git gets the answers
	forward := &httputil.ReverseProxy{
		Rewrite: func(*httputil.ProxyRequest) {}, Transport: p.plain, ErrorLog: silent, FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	p.server = &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: silent,
		BaseContext: func(net.Listener) context.Context { return ctx },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !p.enter() {
				return
			}
			defer p.done.Done()
			switch {
			case r.Method == http.MethodConnect:
				p.connect(w, r)
			case r.URL.Scheme == "http" && r.URL.Host != "":
				forward.ServeHTTP(w, r)
			default:
				http.Error(w, "this is a proxy", http.StatusBadRequest)
			}
		})}
	p.done.Go(func() { _ = p.server.Serve(socket) }) // its error says that it was closed
	return p, nil
}

// enter counts a request, unless the proxy is closed.
func (p *proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != nil {
		p.done.Add(1)
	}
	return p.open != nil
}

// environment has git use the proxy for everything.
func (p *proxy) environment() []string {
	return []string{"http_proxy=" + p.address, "https_proxy=" + p.address, "all_proxy=" + p.address, "no_proxy="}
}

// close ends all connections, and returns the reason why one was refused.
func (p *proxy) close() error {
	_ = p.server.Close() // of a socket on loopback
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.open = nil
	refused := p.refused
	p.mu.Unlock()
	p.done.Wait()
	p.plain.CloseIdleConnections()
	return refused
}

// dial connects, and keeps the reason if that is refused.
func (p *proxy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := p.out(ctx, network, address)
	var f *rpmflow.Failure
	if errors.As(err, &f) {
		p.mu.Lock()
		p.refused = f
		p.mu.Unlock()
	}
	return conn, err
}

// connect serves https: bytes are copied in both directions.
func (p *proxy) connect(w http.ResponseWriter, r *http.Request) {
	out, err := p.dial(r.Context(), "tcp", r.Host)
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
	p.mu.Lock()
	closed := p.open == nil
	if !closed {
		p.open[in], p.open[out] = true, true
		p.done.Add(2)
	}
	p.mu.Unlock()
	if closed {
		_, _ = in.Close(), out.Close()
		return
	}
	_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n") // copying fails if the client has gone
	pass := func(to net.Conn, from io.Reader) {
		defer p.done.Done()
		_, _ = io.Copy(to, from)
		_, _ = in.Close(), out.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, in)
		delete(p.open, out)
	}
	go pass(out, buffered)
	go pass(in, out)
}
