package mocktest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Relay copies both ways, each with its end. An error means that there is no engine.
func Relay(client io.ReadWriteCloser, closeWrite func() error, socket string) error {
	engine, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer engine.Close()
	var wait sync.WaitGroup
	wait.Go(func() { io.Copy(engine, client); engine.(*net.UnixConn).CloseWrite() })
	io.Copy(client, engine)
	closeWrite()
	client.Close()
	wait.Wait()
	return nil
}

// Authority signs certificates.
type Authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Must(t, err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	testkit.Must(t, err)
	parsed, err := x509.ParseCertificate(der)
	testkit.Must(t, err)
	return Authority{key, parsed, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a Authority) sign(t testing.TB, names ...string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Must(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, k.Public(), a.key)
	testkit.Must(t, err)
	raw, err := x509.MarshalECPrivateKey(k)
	testkit.Must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

// CertPath makes the directory of a client: the authority that it trusts, and its certificate and key.
func CertPath(t testing.TB, trusted, signer Authority) string {
	t.Helper()
	dir := t.TempDir()
	cert, key := signer.sign(t)
	for name, content := range map[string][]byte{"ca.pem": trusted.pem, "cert.pem": cert, "key.pem": key} {
		testkit.Must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return dir
}

// TLSEngine is the local engine behind TLS with certificates on both sides.
func TLSEngine(t testing.TB, a Authority) string {
	t.Helper()
	socket := Socket(t)
	cert, key := a.sign(t, "localhost")
	pair, err := tls.X509KeyPair(cert, key)
	testkit.Must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS12,
	})
	testkit.Must(t, err)
	return testkit.Serve(t, l, func(c net.Conn) {
		conn := c.(*tls.Conn)
		if conn.Handshake() == nil {
			Relay(conn, conn.CloseWrite, socket)
		}
	})
}
