package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/netrule"
)

const (
	// DefaultListen is where the gateway listens when Options say nothing: this machine only.
	DefaultListen = "127.0.0.1:7070"
	// DefaultRegion is the region requests must be signed for when Options say nothing.
	DefaultRegion = "us-east-1"

	readyLimit  = 20 * time.Second // of a start; 50 ms are usual
	closeGrace  = 5 * time.Second
	portRetries = 5
)

// ErrAddressInUse is wrapped by Start's error when another program listens on the address.
var ErrAddressInUse = errors.New("address already in use")

// Options say what to serve, and where.
type Options struct {
	// Dir is where everything is kept. It is made with mode 0700 when missing, and belongs to one gateway at a time.
	Dir string
	// Listen is host:port; DefaultListen when empty. With port 0 a free one is taken, see Endpoint.
	Listen string
	// ListenKey is the configuration key that Listen comes from, for errors; embedded.s3_listen when empty.
	ListenKey string
	// AccessKey and SecretKey are those of the root account, which owns the buckets and may do everything.
	AccessKey string
	SecretKey string
	Region    string // DefaultRegion when empty

	// Accounts are further access keys, with their secret keys. They have the rights that Policy gives them, and no
	// others.
	Accounts map[string]string
	// Bucket is made when it is missing, before anybody is served, and Policy (JSON as in AWS) becomes its policy,
	// whatever it had before; without a Policy that stays as it is. An empty Bucket leaves all that to the clients.
	Bucket string
	Policy []byte

	// CertFile and KeyFile, in PEM and absolute, make it speak TLS; both or none.
	CertFile, KeyFile string
	// HealthPath answers GET with 200 to everybody; it hides a bucket of that name. Empty: there is none.
	HealthPath string

	Logger *slog.Logger
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

// Start starts a gateway and waits until it serves. ctx bounds the start only; Close ends the gateway. An address that
// is taken returns ErrAddressInUse.
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
	if o.ListenKey == "" {
		o.ListenKey = "embedded.s3_listen"
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("start the S3 server: %w", err)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start the S3 server in %s: %w", o.Dir, err)
	}
	o.Dir = dir
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("start the S3 server: %s is %q: %w: set host:port", o.ListenKey, o.Listen, err)
	}

	for try := 1; ; try++ {
		listen := o.Listen
		if port == "0" {
			if listen, err = freePort(host); err != nil {
				return nil, fmt.Errorf("start the S3 server: %w", err)
			}
		}
		g, err := start(ctx, o, listen)
		switch {
		case err == nil:
			o.Logger.Info("the S3 server serves", "endpoint", g.endpoint, "dir", o.Dir, "pid", g.cmd.Pid())
			return g, nil
		case errors.Is(err, ErrAddressInUse) && port == "0" && try < portRetries:
			continue // another program has taken the port
		case errors.Is(err, ErrAddressInUse):
			return nil, fmt.Errorf("start the S3 server on %s: %w: stop what listens there, or set %s to another "+
				"address",
				listen, err, o.ListenKey)
		}
		return nil, fmt.Errorf("start the S3 server on %s in %s: %w", listen, o.Dir, err)
	}
}

// check finds errors of the operator before a child is started, whose messages would be less clear.
func (o Options) check() error {
	if o.AccessKey == "" || o.SecretKey == "" {
		return errors.New("access key and secret key are needed: set s3.access_key and s3.secret_key")
	}
	if _, taken := o.Accounts[o.AccessKey]; taken {
		return fmt.Errorf("the root account has the name of the account %s: set s3.access_key to another name",
			o.AccessKey)
	}
	if o.Bucket != "" && o.HealthPath == "/"+o.Bucket {
		return fmt.Errorf("a bucket %s would be hidden by the path %s: set s3.bucket to another name", o.Bucket,
			o.HealthPath)
	}
	if o.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile); err != nil {
			return fmt.Errorf("certificate %s and key %s: %w: "+
				"set gateway.cert_file and gateway.key_file to a certificate in PEM and its key", o.CertFile, o.KeyFile,
				err)
		}
	}
	if o.Dir == "" {
		return errors.New("no directory to keep the data in: set data_dir")
	}
	err := os.MkdirAll(filepath.Join(o.Dir, objectsDir), 0o700)
	for _, dir := range []string{o.Dir, filepath.Join(o.Dir, objectsDir)} {
		if err == nil {
			if err = unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
				err = &fs.PathError{Op: "write into", Path: dir, Err: err}
			}
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("data directory: %w: give it to user %d, as whom the server runs, "+
			"or set data_dir to another directory", err, os.Geteuid())
	}
	if err != nil {
		return fmt.Errorf("data directory: %w: set data_dir to a directory that can be written", err)
	}
	return nil
}

// freePort finds a port that is free at the moment; versitygw cannot take a listening socket over.
func freePort(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("find a free port on %q: %w", host, err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return net.JoinHostPort(host, port), errors.Join(err, l.Close())
}

func start(ctx context.Context, o Options, listen string) (*Gateway, error) {
	scheme := "http://"
	if o.CertFile != "" {
		scheme = "https://"
	}
	g := &Gateway{
		endpoint: scheme + netrule.Reachable(listen),
		log:      &logLines{logger: o.Logger, readyLine: "ready " + rand.Text(), ready: make(chan struct{})},
		done:     make(chan struct{}),
	}
	settings, err := json.Marshal(childSettings{
		Dir: o.Dir, Listen: listen, AccessKey: o.AccessKey, SecretKey: o.SecretKey, Region: o.Region,
		CertFile: o.CertFile, KeyFile: o.KeyFile, HealthPath: o.HealthPath,
		Bucket: o.Bucket, Policy: o.Policy, Accounts: o.Accounts, Ready: g.log.readyLine,
	})
	if err != nil {
		return nil, err
	}
	g.closing, g.close = context.WithCancel(context.Background())
	g.cmd = lifeline.Command(context.Background(), ChildName)
	g.cmd.Stdin = bytes.NewReader(settings) // arguments and environment can be read by others on the machine
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go g.wait()
	if err := g.waitReady(ctx); err != nil {
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
		g.err = errors.New("the S3 server ended by itself")
	default:
		g.err = fmt.Errorf("the S3 server ended: %w; it said: %s", err, strings.Join(g.log.tail(), " | "))
	}
}

// waitReady waits until the child has said that it listens.
func (g *Gateway) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	select {
	case <-g.log.ready:
		return nil
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return fmt.Errorf("it did not get ready: %w", context.Cause(ctx))
	}
}

// Endpoint is the gateway's base URL, for example http://127.0.0.1:7070.
func (g *Gateway) Endpoint() string { return g.endpoint }

// Done is closed when the gateway has ended, whether by Close or by itself.
func (g *Gateway) Done() <-chan struct{} { return g.done }

// Err returns why a gateway ended by itself; nil while it runs, and after Close.
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
// returns the error of a gateway that had ended by itself before.
func (g *Gateway) Close() error {
	g.close()
	g.cmd.Stop(closeGrace)
	<-g.done
	if errors.Is(g.err, ErrAddressInUse) {
		return nil // reported by Start
	}
	return g.err
}
