package storage_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestRestart keeps objects, changes keys, and brings policy and accounts to what the settings say.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, sidecar := range []bool{false, true} {
		name := map[bool]string{false: "attributes", true: "sidecar"}[sidecar]
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if sidecar { // a directory that was begun without extended attributes
				testkit.Must(t, os.Mkdir(filepath.Join(dir, "metadata"), 0o700))
			}
			r := storagetest.StartRoles(t, dir, "first-", nil)
			testkit.Must(t, open(t, r.Configs[rpmflow.RoleBuilder]).PutJSON(t.Context(), "builds/a", 1))
			policy, err := coreOf(t, r.Root).GetBucketPolicy(t.Context(), storagetest.Bucket)
			testkit.Must(t, err)
			testkit.Must(t, r.Gateway.Close())

			// Other keys; the policy is the same, though it was changed.
			old := r.Configs[rpmflow.RoleListener]
			r = storagetest.StartRoles(t, dir, "second-", nil)
			old.Endpoint = r.Root.Endpoint
			wantError(t, open(t, old).Healthy(t.Context()), storage.ErrCredentials, "s3.secret_key")
			read(t, open(t, r.Configs[rpmflow.RoleListener]), "builds/a")
			root := coreOf(t, r.Root)
			if got, err := root.GetBucketPolicy(t.Context(), storagetest.Bucket); got != policy || err != nil {
				t.Errorf("the policy is\n%s, %v, want\n%s", got, err, policy)
			}
			testkit.Must(t, root.SetBucketPolicy(t.Context(), storagetest.Bucket, ""))
			wantError(t, open(t, r.Configs[rpmflow.RoleListener]).Healthy(t.Context()), storage.ErrRefused)
			testkit.Must(t, r.Gateway.Close())

			// Fewer accounts, and a policy for those.
			r = storagetest.StartRoles(t, dir, "third-", func(o *gateway.Options) {
				delete(o.Accounts, string(rpmflow.RoleBuilder))
				if o.Policy, err = storage.BucketPolicy(o.Bucket,
					map[rpmflow.Role]string{rpmflow.RoleListener: "listener"}); err != nil {
					t.Fatal(err)
				}
			})
			read(t, open(t, r.Configs[rpmflow.RoleListener]), "builds/a")
			wantError(t, open(t, r.Configs[rpmflow.RoleBuilder]).Healthy(t.Context()), storage.ErrCredentials,
				"s3.access_key")
			wantError(t, open(t, r.Configs[rpmflow.RolePublisher]).Healthy(t.Context()), storage.ErrRefused,
				"rpmflow config s3")
			testkit.Must(t, r.Gateway.Close())

			// No accounts and no policy: the old one has no effect.
			r = storagetest.StartRoles(t, dir, "fourth-", func(o *gateway.Options) { o.Accounts, o.Policy = nil, nil })
			wantError(t, open(t, r.Configs[rpmflow.RoleListener]).Healthy(t.Context()), storage.ErrCredentials)
			read(t, open(t, r.Root), "builds/a")
		})
	}
}

// certificate makes one for 127.0.0.1, signed by an authority of its own.
func certificate(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		testkit.Must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Must(t, err)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	testkit.Must(t, err)
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Must(t, err)
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "s3"}, NotBefore: authority.NotBefore,
		NotAfter: authority.NotAfter,
		DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, server, authority, serverKey.Public(), caKey)
	testkit.Must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(serverKey)
	testkit.Must(t, err)
	return write("ca.pem", "CERTIFICATE", caDER), write("cert.pem", "CERTIFICATE", der),
		write("key.pem", "PRIVATE KEY", keyDER)
}

func TestGatewayWithTLS(t *testing.T) {
	t.Parallel()
	ca, cert, key := certificate(t)
	r := storagetest.StartRoles(t, t.TempDir(), "s-", func(o *gateway.Options) {
		o.CertFile, o.KeyFile,
			o.HealthPath = cert, key, "/health"
	})
	cfg := r.Configs[rpmflow.RoleBuilder]
	cfg.Endpoint = "https://localhost" + cfg.Endpoint[len("https://127.0.0.1"):]
	wantError(t, open(t, cfg).Healthy(t.Context()), storage.ErrRefused, "s3.ca_file")
	plain := cfg
	plain.Endpoint = "http" + cfg.Endpoint[len("https"):]
	if err := open(t, plain).Healthy(t.Context()); err == nil {
		t.Error("it answers without TLS")
	}
	cfg.CAFile = ca
	s := open(t, cfg)
	testkit.Must(t, errors.Join(s.Ensure(t.Context()), s.PutJSON(t.Context(), "builds/a", 1)))
	read(t, s, "builds/a")
}

func TestHealthPath(t *testing.T) {
	t.Parallel()
	r := storagetest.StartRoles(t, t.TempDir(), "s-", func(o *gateway.Options) { o.HealthPath = "/health" })
	if resp, _ := fetch(t, r.Root.Endpoint+"/health", false); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	if resp, _ := fetch(t, r.Root.Endpoint+"/"+storagetest.Bucket, false); resp.StatusCode != http.StatusForbidden {
		t.Error(resp.Status)
	}
}
