package events_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/eventstest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// deployed is where the files are with which the servers run in containers.
const deployed = "../../deploy/compose/nats/"

// environment sets what the files take from it, as a compose file does. A password of digits is none without the
// quotes.
func environment(t *testing.T) {
	t.Helper()
	for _, name := range []string{"LISTENER", "BUILDER", "PUBLISHER", "ADMIN", "SUBSCRIBER", "CLUSTER"} {
		t.Setenv("NATS_"+name+"_PASSWORD", `"`+digits+`"`)
	}
}

const digits = "12345678901234567890"

// container puts a server that runs with one of the files at places that a test may use.
func container(t *testing.T) func(*server.Options) {
	return func(o *server.Options) {
		o.Host, o.Port, o.HTTPPort, o.StoreDir = "127.0.0.1", -1, -1, t.TempDir()
	}
}

func access(url, user string, replicas int) events.Access {
	return events.Access{URL: url, User: user, Password: digits, Name: user,
		Streams: events.StreamSettings{Replicas: replicas, Subscribers: []string{"subscriber"}}}
}

func TestDeployedNode(t *testing.T) { //nolint:paralleltest // sets the environment
	environment(t)
	s := eventstest.Serve(t, deployed+"nats.conf", container(t))
	o := server.Options{}
	testkit.Must(t, o.ProcessConfigFile(deployed+"nats.conf"))
	if o.StoreDir != "/data" || !o.SyncAlways || o.MaxPayload != 8<<20 || o.HTTPHost != "127.0.0.1" ||
		o.HTTPPort != 8222 || o.Port != 4222 {
		t.Errorf("the node is set to %+v", o)
	}
	var log testkit.Log
	nc, js, err := events.Connect(t.Context(), access(s.ClientURL(), "listener", 1), log.Logger())
	testkit.Must(t, err)
	defer nc.Close()
	if err := events.EnsureStreams(t.Context(), js, events.StreamSettings{Replicas: 3}); err == nil ||
		!strings.Contains(err.Error(), "set nats.replicas to 1") {
		t.Errorf("3 replicas on one node: %v", err)
	}
	for _, user := range []string{"builder", "publisher", "subscriber", "admin", "system"} {
		nc, _, err := events.Dial(access(s.ClientURL(), user, 1), log.Logger())
		if err != nil {
			t.Errorf("%s: %v", user, err)
			continue
		}
		nc.Close()
	}
	if _, _, err := events.Dial(events.Access{URL: s.ClientURL()}, quiet); err == nil {
		t.Error("it takes everybody")
	}
	if strings.Contains(log.String(), "level=ERROR") {
		t.Error(&log)
	}
}

// TLS is the same with a certificate; the files name one of the container.
func TestDeployedTLS(t *testing.T) {
	environment(t)
	t.Setenv("NATS_NAME", `"nats-1"`)
	t.Setenv("NATS_ROUTES", "[]")
	dir, keys := t.TempDir(), certificate(t)
	files, err := filepath.Glob(deployed + "*.conf")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text := string(testkit.Value(os.ReadFile(file))(t))
		testkit.Must(t, os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(strings.ReplaceAll(text, `"/tls/`,
			`"`+keys+"/")), 0o600))
	}
	s := eventstest.Serve(t, filepath.Join(dir, "nats-tls.conf"), container(t))
	a := access(s.ClientURL(), "listener", 1)
	a.CAFile = filepath.Join(keys, "ca.crt")
	nc, _, err := events.Connect(t.Context(), a, quiet)
	testkit.Must(t, err)
	nc.Close()
	if o := testkit.Value(server.ProcessConfigFile(filepath.Join(dir, "cluster-tls.conf")))(t); o.TLSConfig == nil ||
		o.Cluster.TLSConfig == nil {
		t.Error("cluster-tls.conf has no TLS")
	}
}

// certificate makes one for 127.0.0.1 under the names that the files have.
func certificate(t *testing.T) (dir string) {
	t.Helper()
	key := testkit.Value(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth,
			x509.ExtKeyUsageClientAuth},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der := testkit.Value(x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key))(t)
	private := testkit.Value(x509.MarshalPKCS8PrivateKey(key))(t)
	dir = t.TempDir()
	for name, block := range map[string]*pem.Block{
		"server.crt": {Type: "CERTIFICATE", Bytes: der}, "ca.crt": {Type: "CERTIFICATE", Bytes: der},
		"server.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		testkit.Must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	return dir
}

// healthy asks a server for its health as a container's health check does.
func healthy(t *testing.T, s *server.Server, query string) bool {
	t.Helper()
	res, err := http.Get("http://" + s.MonitorAddr().String() + "/healthz" + query)
	testkit.Must(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// cluster returns a function that starts the next node of one that cluster.conf makes.
func cluster(t *testing.T, size int) func() *server.Server {
	t.Helper()
	environment(t)
	var ports []int
	var routes []string
	for range size {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		testkit.Must(t, err)
		port := l.Addr().(*net.TCPAddr).Port
		ports, routes = append(ports, port), append(routes, fmt.Sprintf(`"nats://route:%s@127.0.0.1:%d"`, digits, port))
		testkit.Must(t, l.Close())
	}
	t.Setenv("NATS_ROUTES", "["+strings.Join(routes, ",")+"]")
	started := 0
	return func() *server.Server {
		port := ports[started]
		started++
		t.Setenv("NATS_NAME", fmt.Sprintf(`"nats-%d"`, started))
		return eventstest.Serve(t, deployed+"cluster.conf", func(o *server.Options) {
			container(t)(o)
			o.Cluster.Host, o.Cluster.Port = "127.0.0.1", port
		})
	}
}

func TestReplicasNeedServers(t *testing.T) { //nolint:paralleltest // sets the environment
	start := cluster(t, 2)
	url := start().ClientURL()
	start()
	var log testkit.Log
	ctx, cancel := context.WithCancel(t.Context())
	testkit.Run(t, "the listener", func(context.Context) error {
		_, _, err := events.Connect(ctx, access(url, "listener", 3), log.Logger())
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return fmt.Errorf("3 replicas on 2 servers: %w", err)
	})
	defer cancel()
	log.Until(t, "nats.replicas is 3, but the cluster has fewer servers")
}

// Three nodes of cluster.conf hold every stream; one may die.
func TestDeployedCluster(t *testing.T) { //nolint:paralleltest // sets the environment
	next := cluster(t, 3)
	var nodes []*server.Server
	var urls []string
	start := func() {
		s := next()
		nodes, urls = append(nodes, s), append(urls, s.ClientURL())
	}
	start()
	if !healthy(t, nodes[0], "?js-enabled-only=true") || healthy(t, nodes[0], "") {
		t.Error("a node without its cluster is healthy, or has no JetStream")
	}
	start()
	var log testkit.Log
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	type connection struct {
		nc  *nats.Conn
		js  jetstream.JetStream
		err error
	}
	connected := make(chan connection, 1)
	go func() {
		nc, js, err := events.Connect(ctx, access(strings.Join(urls, ","), "listener", 3), log.Logger())
		connected <- connection{nc, js, err}
	}()
	log.Until(t, "the NATS cluster has no leader now")
	start()
	c := <-connected
	if c.err != nil {
		t.Fatalf("%v\n%s", c.err, &log)
	}
	defer c.nc.Close()
	for _, name := range []string{events.StreamPushes, events.StreamBuilds, events.StreamEvents, events.StreamLogs} {
		info := testkit.Value(c.js.Stream(ctx, name))(t).CachedInfo()
		if info.Config.Replicas != 3 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
			t.Errorf("%s has %d replicas: %+v", name, info.Config.Replicas, info.Cluster)
		}
	}
	testkit.Eventually(t, "the cluster is not healthy", func() bool {
		return healthy(t, nodes[0], "") &&
			healthy(t, nodes[1], "") && healthy(t, nodes[2], "")
	})

	nc, js, err := events.Attach(ctx, access(strings.Join(urls, ","), "builder", 3), log.Logger())
	testkit.Must(t, err)
	defer nc.Close()
	ledger := testkit.Value(events.NewLedger(ctx, js))(t)
	seq := testkit.Value(ledger.Append(ctx, events.TypeQueued, build("hello", "p1"), 0))(t)
	leader := testkit.Value(js.Stream(ctx, events.StreamEvents))(t).CachedInfo().Cluster.Leader
	for _, s := range nodes {
		if s.Name() == leader {
			s.Shutdown()
		}
	}
	testkit.Value(ledger.Append(ctx, events.TypeStarted, build("hello", "p1"), seq))(t)
	if strings.Contains(log.String(), "may not") {
		t.Error(&log)
	}
}
