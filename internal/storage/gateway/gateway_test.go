package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

const accessKey, secretKey = "test-access", "test-secret-0123456789"

func TestMain(m *testing.M) {
	lifeline.Main(map[string]lifeline.Func{gateway.ChildName: gateway.Child})
	goleak.VerifyTestMain(m)
}

func options(dir string) gateway.Options {
	return gateway.Options{Dir: dir, Listen: "127.0.0.1:0", AccessKey: accessKey, SecretKey: secretKey,
		Logger: slog.New(slog.DiscardHandler)}
}

func start(t *testing.T, o gateway.Options) *gateway.Gateway {
	t.Helper()
	g, err := gateway.Start(t.Context(), o)
	testkit.Must(t, err)
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func client(t *testing.T, g *gateway.Gateway) *minio.Client {
	t.Helper()
	transport, err := minio.DefaultTransport(false)
	testkit.Must(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	c, err := minio.New(strings.TrimPrefix(g.Endpoint(), "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: gateway.DefaultRegion, Transport: transport,
		MaxRetries: 1,
	})
	testkit.Must(t, err)
	return c
}

func put(t *testing.T, c *minio.Client, key string, size int) []byte {
	t.Helper()
	content := bytes.Repeat([]byte(key+"\n"), size/(len(key)+1)+1)[:size]
	_, err := c.PutObject(t.Context(), "bucket", key, bytes.NewReader(content), int64(size), minio.PutObjectOptions{
		ContentType: "text/x-test", UserMetadata: map[string]string{"Color": "blue"}, PartSize: 5 << 20,
	})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return content
}

func wantObject(t *testing.T, c *minio.Client, key string, want []byte) {
	t.Helper()
	o, err := c.GetObject(t.Context(), "bucket", key, minio.GetObjectOptions{})
	testkit.Must(t, err)
	defer func() { _ = o.Close() }()
	got, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("get %s: %d bytes, want %d, %v", key, len(got), len(want), err)
	}
	info, err := o.Stat()
	if err != nil || info.ContentType != "text/x-test" || info.UserMetadata["Color"] != "blue" {
		t.Errorf("%s: %+v, %v", key, info, err)
	}
}

// TestObjects goes through every call that changes something, with metadata in extended attributes and in files.
func TestObjects(t *testing.T) {
	t.Parallel()
	for _, sidecar := range []bool{false, true} {
		t.Run(fmt.Sprintf("sidecar=%v", sidecar), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if sidecar { // a directory that was begun without extended attributes
				testkit.Must(t, os.MkdirAll(filepath.Join(dir, "metadata"), 0o700))
			}
			g := start(t, options(dir))
			c := client(t, g)
			testkit.Must(t, c.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{}))
			small := put(t, c, "builds/a/1/small.txt", 1000)
			parts := put(t, c, "builds/a/1/libstdc++-1~rc1^git.rpm", 12<<20)
			put(t, c, "builds/a/1/overwritten", 10)
			over := put(t, c, "builds/a/1/overwritten", 20)
			if _, err := c.CopyObject(t.Context(), minio.CopyDestOptions{Bucket: "bucket", Object: "copy/of/it"},
				minio.CopySrcOptions{Bucket: "bucket", Object: "builds/a/1/small.txt"}); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"gone/1", "gone/2", "gone/3"} {
				put(t, c, key, 1)
			}
			testkit.Must(t, c.RemoveObject(t.Context(), "bucket", "gone/1", minio.RemoveObjectOptions{}))
			if err := c.RemoveObject(t.Context(), "bucket", "copy/of/it/and/more",
				minio.RemoveObjectOptions{}); err != nil {
				t.Errorf("remove what is not there, below a file: %v", err)
			}
			many := make(chan minio.ObjectInfo, 2)
			many <- minio.ObjectInfo{Key: "gone/2"}
			many <- minio.ObjectInfo{Key: "gone/3"}
			close(many)
			for e := range c.RemoveObjects(t.Context(), "bucket", many, minio.RemoveObjectsOptions{}) {
				t.Errorf("remove: %v", e)
			}
			testkit.Must(t, c.MakeBucket(t.Context(), "other-bucket", minio.MakeBucketOptions{}))
			testkit.Must(t, c.RemoveBucket(t.Context(), "other-bucket"))

			testkit.Must(t, g.Close())
			c = client(t, start(t, options(dir)))
			wantObject(t, c, "builds/a/1/small.txt", small)
			wantObject(t, c, "builds/a/1/libstdc++-1~rc1^git.rpm", parts)
			wantObject(t, c, "builds/a/1/overwritten", over)
			wantObject(t, c, "copy/of/it", small)
			var keys []string
			for o := range c.ListObjectsIter(t.Context(), "bucket", minio.ListObjectsOptions{Recursive: true}) {
				keys = append(keys, o.Key)
			}
			if len(keys) != 4 {
				t.Errorf("objects: %v", keys)
			}
			for path, mode := range map[string]os.FileMode{"": 0o700, "objects": 0o700, "objects/bucket": 0o700,
				"objects/bucket/copy/of/it": 0o600} {
				if fi, err := os.Stat(filepath.Join(dir, path)); err != nil || fi.Mode().Perm() != mode {
					t.Errorf("%q: %v, %v, want mode %o", path, fi, err, mode)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "metadata")); (err == nil) != sidecar {
				t.Errorf("metadata directory: %v", err)
			}
		})
	}
}

func TestKilledChild(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := start(t, options(dir))
	c := client(t, g)
	testkit.Must(t, c.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{}))
	want := put(t, c, "a/b/c", 100_000)
	if err := g.Err(); err != nil {
		t.Errorf("running, and yet %v", err)
	}
	testkit.Must(t, syscall.Kill(g.Pid(), syscall.SIGKILL))
	testkit.Receive(t, "the child's end", g.Done())
	if g.Err() == nil || g.Close() == nil {
		t.Error("the end by itself is not an error")
	}
	wantObject(t, client(t, start(t, options(dir))), "a/b/c", want)
}

func TestBusyAddress(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer func() { _ = l.Close() }()
	o := options(t.TempDir())
	o.Listen = l.Addr().String()
	_, err = gateway.Start(t.Context(), o)
	if !errors.Is(err, gateway.ErrAddressInUse) || !strings.Contains(err.Error(), o.Listen) ||
		!strings.Contains(err.Error(), "embedded.s3_listen") {
		t.Errorf("%v, want ErrAddressInUse with the address and the setting", err)
	}
}

func TestOneGatewayPerDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, options(dir))
	if _, err := gateway.Start(t.Context(), options(dir)); err == nil || !strings.Contains(err.Error(),
		"another gateway") {
		t.Errorf("%v, want a refusal", err)
	}
}

func TestManyAtOnceOnFreePorts(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 6 {
		dir := t.TempDir()
		wg.Go(func() {
			g, err := gateway.Start(t.Context(), options(dir))
			if err != nil {
				t.Error(err)
				return
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestCloseWithIdleConnections(t *testing.T) {
	t.Parallel()
	g := start(t, options(t.TempDir()))
	c := client(t, g)
	if _, err := c.ListBuckets(t.Context()); err != nil { // leaves a connection that is kept alive
		t.Fatal(err)
	}
	began := time.Now()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("closing took %v", d)
	}
	if err := g.Err(); err != nil {
		t.Error(err)
	}
}

func TestRefusedStarts(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "file")
	testkit.Must(t, os.WriteFile(file, nil, 0o600))
	for name, test := range map[string]struct {
		ctx    context.Context
		change func(*gateway.Options)
		want   string
	}{
		"no secret":    {t.Context(), func(o *gateway.Options) { o.SecretKey = "" }, "s3.secret_key"},
		"no directory": {t.Context(), func(o *gateway.Options) { o.Dir = "" }, "directory"},
		"no port":      {t.Context(), func(o *gateway.Options) { o.Listen = "127.0.0.1" }, "embedded.s3_listen"},
		"a file":       {t.Context(), func(o *gateway.Options) { o.Dir = file }, "not a directory"},
		"foreign host": {t.Context(), func(o *gateway.Options) { o.Listen = "192.0.2.1:7070" }, "192.0.2.1:7070"},
		// not even root may write there
		"no right": {t.Context(), func(o *gateway.Options) { o.Dir = "/sys/rpmflow" }, "give it to user"},
		"root's name": {t.Context(), func(o *gateway.Options) { o.Accounts = map[string]string{accessKey: "x"} },
			"s3.access_key"},
		"health": {t.Context(), func(o *gateway.Options) { o.Bucket, o.HealthPath = "health", "/health" },
			"s3.bucket"},
		"certificate": {t.Context(), func(o *gateway.Options) { o.CertFile, o.KeyFile = file, file },
			"gateway.cert_file"},
		"policy": {t.Context(), func(o *gateway.Options) { o.Bucket, o.Policy = "bucket", []byte("{}") },
			"policy of bucket bucket"},
		"policy for an unknown account": {t.Context(), func(o *gateway.Options) {
			o.Bucket, o.Policy = "bucket",
				[]byte(`{"Statement":[{"Effect":"Allow","Principal":"x",`+
					`"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]}`)
		}, "Invalid principal"},
		"ended context": {canceled, func(*gateway.Options) {}, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t.TempDir())
			test.change(&o)
			if _, err := gateway.Start(test.ctx, o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestSecretsStayPrivate(t *testing.T) {
	t.Parallel()
	g := start(t, options(t.TempDir()))
	for _, file := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", g.Pid(), file))
		testkit.Must(t, err)
		if bytes.Contains(b, []byte(secretKey)) || bytes.Contains(b, []byte("PATH=")) {
			t.Errorf("%s: %q", file, b)
		}
	}
}
