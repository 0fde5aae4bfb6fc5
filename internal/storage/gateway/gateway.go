package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow/internal/lifeline"
)

const (
	// DefaultListen is where the gateway listens when Options say nothing: this machine only.
	DefaultListen = "127.0.0.1:7070"
	// DefaultRegion is the region requests must be signed for when Options say nothing.
	DefaultRegion = "us-east-1"

	readyLimit  = 20 * time.Second // of a start; 50 ms are usual
	readyPoll   = 5 * time.Millisecond
	closeGrace  = 5 * time.Second
	portRetries = 5
)

// ErrAddressInUse is wrapped by Start's error when somebody else listens on the address.
var ErrAddressInUse = errors.New("address already in use")

// Options say what to serve, and where.
type Options struct {
	// Dir is where everything is kept. It is made with mode 0700 when missing, and belongs to one gateway at a time.
	Dir string
	// Listen is host:port; DefaultListen when empty. With port 0 a free one is taken, see Endpoint.
	Listen    string
	AccessKey string
	SecretKey string
	Region    string // DefaultRegion when empty
	Logger    *slog.Logger
}

// Gateway is a running child that serves S3.
type Gateway struct {
	endpoint string
	cmd      *lifeline.Cmd
	log      *logLines
	closing  context.Context
	close    context.CancelFunc
	done     chan struct{}
	err      error // valid when done is closed
}

// Start starts a gateway and waits until it serves. ctx bounds the start only; Close ends the gateway. An address that is
// taken gives ErrAddressInUse.
func Start(ctx context.Context, o Options) (*Gateway, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Listen == "" {
		o.Listen = DefaultListen
	}
	if o.Region == "" {
		o.Region = DefaultRegion
	}
	if o.AccessKey == "" || o.SecretKey == "" {
		return nil, errors.New("start the embedded S3: access key and secret key are needed: set s3.access_key and s3.secret_key")
	}
	if o.Dir == "" {
		return nil, errors.New("start the embedded S3: no directory to keep the data in")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start the embedded S3 in %s: %w", o.Dir, err)
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("start the embedded S3: embedded.s3_listen is %q: %w: set host:port", o.Listen, err)
	}
	o.Dir = dir

	for try := 1; ; try++ {
		listen := o.Listen
		if port == "0" {
			if listen, err = freePort(host); err != nil {
				return nil, fmt.Errorf("start the embedded S3: %w", err)
			}
		}
		g, err := start(ctx, o, listen)
		switch {
		case err == nil:
			o.Logger.Info("embedded S3 serves", "endpoint", g.endpoint, "dir", o.Dir, "pid", g.cmd.Pid())
			return g, nil
		case errors.Is(err, ErrAddressInUse) && port == "0" && try < portRetries:
			continue // somebody was faster
		case errors.Is(err, ErrAddressInUse):
			return nil, fmt.Errorf("start the embedded S3 on %s: %w: stop what listens there, or set embedded.s3_listen to another address", listen, err)
		}
		return nil, fmt.Errorf("start the embedded S3 on %s in %s: %w", listen, o.Dir, err)
	}
}

// freePort finds a port that nobody listens on at the moment; versitygw cannot take a listening socket over.
func freePort(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("find a free port on %q: %w", host, err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return net.JoinHostPort(host, port), errors.Join(err, l.Close())
}

func start(ctx context.Context, o Options, listen string) (*Gateway, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	// Only our own child answers on a path that nobody can guess: so readiness also proves that the port is ours.
	healthPath := "/rpmflow-ready-" + rand.Text()
	settings, err := json.Marshal(childSettings{
		Dir: o.Dir, Listen: listen, AccessKey: o.AccessKey, SecretKey: o.SecretKey, Region: o.Region, HealthPath: healthPath,
	})
	if err != nil {
		return nil, err
	}

	g := &Gateway{
		endpoint: "http://" + net.JoinHostPort(host, port),
		log:      &logLines{logger: o.Logger},
		done:     make(chan struct{}),
	}
	g.closing, g.close = context.WithCancel(context.Background())
	g.cmd = lifeline.Command(context.Background(), ChildName)
	g.cmd.Stdin = bytes.NewReader(settings) // arguments and environment can be read by others on the machine
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go g.wait()
	if err := g.waitReady(ctx, healthPath); err != nil {
		_ = g.Close() // what it might say is in err already
		return nil, err
	}
	return g, nil
}

// wait follows the child to its end.
func (g *Gateway) wait() {
	defer close(g.done)
	err := g.cmd.Wait()
	g.log.flush()
	switch {
	case lifeline.ExitCode(err) == codeInUse:
		g.err = ErrAddressInUse
	case g.closing.Err() != nil: // as asked; how exactly does not matter, every write is synced
	case err == nil:
		g.err = errors.New("the embedded S3 ended by itself")
	default:
		g.err = fmt.Errorf("the embedded S3 ended: %w; it said: %s", err, strings.Join(g.log.tail(), " | "))
	}
}

func (g *Gateway) waitReady(ctx context.Context, healthPath string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: time.Second}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.endpoint+healthPath, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("a stranger answers: %s", resp.Status)
		}
		select {
		case <-g.done:
			return g.err
		case <-ctx.Done():
			return fmt.Errorf("it did not get ready: %w (last: %w)", context.Cause(ctx), err)
		case <-time.After(readyPoll):
		}
	}
}

// Endpoint is the gateway's base URL, for example http://127.0.0.1:7070.
func (g *Gateway) Endpoint() string { return g.endpoint }

// Done is closed when the gateway has ended, whether by Close or by itself.
func (g *Gateway) Done() <-chan struct{} { return g.done }

// Err says why a gateway ended by itself; nil while it runs, and after Close.
func (g *Gateway) Err() error {
	select {
	case <-g.done:
		return g.err
	default:
		return nil
	}
}

// Pid is the process id of the child.
func (g *Gateway) Pid() int { return g.cmd.Pid() }

// Close lets requests that run end, within some seconds, and ends the gateway. It may be called by many and again, and
// gives the error of a gateway that had ended by itself before.
func (g *Gateway) Close() error {
	g.close()
	g.cmd.Stop(closeGrace)
	<-g.done
	if errors.Is(g.err, ErrAddressInUse) {
		return nil // told by Start
	}
	return g.err
}
