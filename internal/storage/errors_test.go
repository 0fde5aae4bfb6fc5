package storage_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func wantError(t *testing.T, err error, kind error, words ...string) {
	t.Helper()
	var e *storage.Error
	if !errors.Is(err, kind) || !errors.As(err, &e) {
		t.Fatalf("%v, want a storage.Error that is %v", err, kind)
	}
	if storage.Temporary(err) != (kind == storage.ErrTemporary) {
		t.Errorf("%v: Temporary is %v", err, storage.Temporary(err))
	}
	for _, w := range append(words, e.Endpoint, e.Object) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v: %q is missing", err, w)
		}
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	cfg := storagetest.Start(t)
	t.Run("there", func(t *testing.T) {
		cfg := cfg
		cfg.CreateBucket = false
		s := open(t, cfg)
		if err := errors.Join(s.Ensure(t.Context()), s.Healthy(t.Context())); err != nil {
			t.Error(err)
		}
	})
	t.Run("missing", func(t *testing.T) {
		cfg := cfg
		cfg.CreateBucket, cfg.Bucket = false, "not-there"
		s := open(t, cfg)
		wantError(t, s.Ensure(t.Context()), storage.ErrNoBucket, "s3.create_bucket", "not-there")
		wantError(t, s.Healthy(t.Context()), storage.ErrRefused)
		_, err := s.PutFile(t.Context(), "a/b", write(t, []byte("x")), rpmflow.KindRPM)
		wantError(t, err, storage.ErrNoBucket, "s3://not-there/a/b")
		_, _, err = s.Open(t.Context(), "a/b")
		wantError(t, err, storage.ErrNoBucket)
	})
	t.Run("made", func(t *testing.T) {
		cfg := cfg
		cfg.Bucket = "to-be-made"
		s := open(t, cfg)
		wantError(t, s.Healthy(t.Context()), storage.ErrNoBucket)
		for range 2 {
			testkit.Must(t, s.Ensure(t.Context()))
		}
		if err := s.PutJSON(t.Context(), "a", 1); err != nil {
			t.Error(err)
		}
	})
	t.Run("made by many", func(t *testing.T) {
		cfg := cfg
		cfg.Bucket = "made-by-many"
		errs := make(chan error)
		for range 8 {
			s := open(t, cfg)
			go func() { errs <- s.Ensure(t.Context()) }()
		}
		for range 8 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestWrongKeys(t *testing.T) {
	t.Parallel()
	cfg := storagetest.Start(t)
	for name, test := range map[string]struct {
		change func(*storage.Config)
		kind   error
		word   string
	}{
		"secret key": {func(c *storage.Config) { c.SecretKey = "wrong" }, storage.ErrCredentials, "s3.secret_key"},
		"access key": {func(c *storage.Config) { c.AccessKey = "wrong" }, storage.ErrCredentials, "s3.access_key"},
		"region":     {func(c *storage.Config) { c.Region = "eu-west-7" }, storage.ErrRefused, "s3.region"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			test.change(&cfg)
			s := open(t, cfg)
			wantError(t, s.Ensure(t.Context()), test.kind, test.word)
			wantError(t, s.Healthy(t.Context()), test.kind, test.word)
			_, err := s.PutLog(t.Context(), "a/b", write(t, []byte("x")))
			wantError(t, err, test.kind, test.word)
			// The answer comes while the content is still being sent.
			_, err = s.PutFile(t.Context(), "a/b", write(t, make([]byte, 32<<20)), rpmflow.KindRPM)
			wantError(t, err, test.kind, test.word)
			_, _, err = s.Open(t.Context(), "a/b")
			wantError(t, err, test.kind, test.word)
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	testkit.Must(t, l.Close())
	s := open(t, storage.Config{Endpoint: "http://" + l.Addr().String(), Bucket: "bucket", AccessKey: "a",
		SecretKey: "b", CreateBucket: true})
	began := time.Now()
	wantError(t, s.Ensure(t.Context()), storage.ErrTemporary, "connection refused")
	wantError(t, s.PutJSON(t.Context(), "a/b", 1), storage.ErrTemporary, "s3://bucket/a/b")
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("gave up after %v", d)
	}
}

// TestAnswers serves what the embedded S3 cannot be made to say.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		code   string
		kind   error
		word   string
	}{
		{403, "AccessDenied", storage.ErrRefused, "the bucket has another owner"},
		{403, "RequestTimeTooSkewed", storage.ErrRefused, "clock"},
		{409, "BucketAlreadyExists", storage.ErrRefused, "s3.bucket"},
		{503, "SlowDown", storage.ErrTemporary, "SlowDown"},
		{500, "InternalError", storage.ErrTemporary, "InternalError"},
		{502, "", storage.ErrTemporary, "502"},
		{400, "", storage.ErrRefused, "400"},
		{301, "PermanentRedirect", storage.ErrRefused, "s3.endpoint"},
	} {
		t.Run(fmt.Sprint(test.status, test.code), func(t *testing.T) {
			t.Parallel() // most of the time passes between tries
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.code == "BucketAlreadyExists" && r.Method != http.MethodPut {
					w.WriteHeader(http.StatusNotFound) // asked before it is made
					return
				}
				w.WriteHeader(test.status)
				if test.code != "" && r.Method != http.MethodHead {
					_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", test.code)
				}
			}))
			defer server.Close()
			s := open(t, storage.Config{Endpoint: server.URL, Bucket: "bucket", AccessKey: "a", SecretKey: "b",
				CreateBucket: true})
			err := s.Ensure(t.Context())
			word := test.word
			if test.kind == storage.ErrTemporary {
				word = "" // the answer to HEAD has no code
			}
			wantError(t, err, test.kind, word)
			if test.code != "BucketAlreadyExists" {
				wantError(t, s.PutJSON(t.Context(), "a/b", 1), test.kind, test.word)
			}
			s.Close()
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	cfg := storage.Config{Endpoint: server.URL, Bucket: "bucket", AccessKey: "a", SecretKey: "b"}
	wantError(t, open(t, cfg).Ensure(t.Context()), storage.ErrRefused, "s3.ca_file")

	cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	testkit.Must(t, os.WriteFile(cfg.CAFile, block, 0o600))
	s := open(t, cfg)
	if err := s.Ensure(t.Context()); err != nil {
		t.Error(err)
	}
	s.Close()

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	cfg.Endpoint = strings.Replace(plain.URL, "http:", "https:", 1)
	wantError(t, open(t, cfg).Ensure(t.Context()), storage.ErrRefused, "http://")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := storage.Config{Endpoint: "https://s3.example.org:9000", Bucket: "bucket", AccessKey: "a", SecretKey: "b"}
	noPEM := write(t, []byte("nothing"))
	for name, test := range map[string]struct {
		change func(*storage.Config)
		want   string
	}{
		"good":           {func(*storage.Config) {}, ""},
		"http":           {func(c *storage.Config) { c.Endpoint = "http://[::1]:9000/" }, ""},
		"no endpoint":    {func(c *storage.Config) { c.Endpoint = "" }, "s3.endpoint"},
		"no scheme":      {func(c *storage.Config) { c.Endpoint = "localhost:9000" }, "s3.endpoint"},
		"path":           {func(c *storage.Config) { c.Endpoint += "/bucket" }, "s3.bucket"},
		"keys in URL":    {func(c *storage.Config) { c.Endpoint = "https://a:b@s3.example.org" }, "s3.access_key"},
		"query":          {func(c *storage.Config) { c.Endpoint += "?x=1" }, "s3.endpoint"},
		"bucket":         {func(c *storage.Config) { c.Bucket = "Not_A_Bucket" }, "s3.bucket"},
		"no bucket":      {func(c *storage.Config) { c.Bucket = "" }, "s3.bucket"},
		"no secret":      {func(c *storage.Config) { c.SecretKey = "" }, "s3.secret_key"},
		"public":         {func(c *storage.Config) { c.PublicURL = "/files" }, "s3.public_url"},
		"no CA":          {func(c *storage.Config) { c.CAFile = "/no/such/file" }, "s3.ca_file"},
		"CA without PEM": {func(c *storage.Config) { c.CAFile = noPEM }, "s3.ca_file"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			test.change(&cfg)
			s, err := storage.Open(cfg)
			if test.want == "" {
				testkit.Must(t, err)
				s.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want an error with %s", err, test.want)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := open(t, storage.Config{Endpoint: "http://127.0.0.1:1", Bucket: "bucket", AccessKey: "a", SecretKey: "b"})
	for key, ok := range map[string]bool{
		"a": true, "builds/x/1/libstdc++-1~rc1^git.rpm": true, "a/..b/c..": true, "ü": true, "a b": true,
		"": false, "/a": false, "a/": false, "a//b": false, "../a": false, "a/../b": false, "a/..": false, ".": false,
		"a/./b": false,
		"a\nb":  false, "a\x00": false, `a\b`: false, "\xff": false,
		strings.Repeat("a", 256): false, strings.Repeat("a/", 512) + "a": false, strings.Repeat("a", 255): true,
	} {
		if err := storage.CheckKey(key); (err == nil) != ok || err != nil && !errors.Is(err, storage.ErrKey) {
			t.Errorf("%q: %v", key, err)
		}
		if ok {
			continue
		}
		file := write(t, nil)
		_, e1 := s.PutFile(t.Context(), key, file, rpmflow.KindRPM)
		_, e2 := s.PutLog(t.Context(), key, file)
		_, _, e3 := s.Open(t.Context(), key)
		for i, err := range []error{e1, e2, e3, s.PutJSON(t.Context(), key, 1)} {
			if !errors.Is(err, storage.ErrKey) || storage.Temporary(err) {
				t.Errorf("%q, call %d: %v, want ErrKey", key, i, err)
			}
		}
	}
}

func FuzzCheckKey(f *testing.F) {
	f.Add("a/b")
	f.Add("a/../b")
	f.Fuzz(func(t *testing.T, key string) {
		if storage.CheckKey(key) == nil && (!filepath.IsLocal(key) || filepath.Clean(key) != key) {
			t.Errorf("%q is not a clean local path", key)
		}
	})
}
