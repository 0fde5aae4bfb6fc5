package storage_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// fetch is a plain HTTP client, as curl --compressed is one, or without it.
func fetch(t *testing.T, link string, gunzip bool) (*http.Response, []byte) {
	t.Helper()
	transport := &http.Transport{DisableCompression: !gunzip, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
	testkit.Must(t, err)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	testkit.Must(t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	testkit.Must(t, err)
	return resp, b
}

// presign makes a link to an object, as it is for everybody.
func presign(t *testing.T, cfg storage.Config, key string) string {
	t.Helper()
	c := testkit.Value(minio.New(strings.TrimPrefix(cfg.Endpoint, "http://"), &minio.Options{Region: cfg.Region,
		Creds: credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, "")}))(t)
	return testkit.Value(c.PresignedGetObject(t.Context(), cfg.Bucket, key, time.Minute, nil))(t).String()
}

func TestStoredLogIsText(t *testing.T) {
	t.Parallel()
	cfg := storagetest.Start(t)
	s := open(t, cfg)
	text := strings.Repeat("make all\n", 1000)
	a, err := s.PutLog(t.Context(), prefix+"libstdc++ build.log.gz", write(t, []byte(text)))
	testkit.Must(t, err)
	link := presign(t, cfg, a.Key)
	resp, stored := fetch(t, link, false)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Encoding") != "gzip" ||
		resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" || sum(stored) != a.SHA256 {
		t.Errorf("%s %v, %d bytes", resp.Status, resp.Header, len(stored))
	}
	if resp, plain := fetch(t, link, true); string(plain) != text || !resp.Uncompressed {
		t.Errorf("%s: %d bytes of text, want %d", resp.Status, len(plain), len(text))
	}
	if resp, _ := fetch(t, strings.SplitN(link, "?", 2)[0], false); resp.StatusCode != http.StatusForbidden {
		t.Errorf("without the signature: %s", resp.Status)
	}
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	cfg := storagetest.Start(t)
	cfg.PublicURL = "https://cdn.example.org/rpms/"
	s := open(t, cfg)
	const want = "https://cdn.example.org/rpms/builds/h/libstdc%2B%2B-1~rc1%5Egit%20%23.rpm"
	a, err := s.PutFile(t.Context(), "builds/h/libstdc++-1~rc1^git #.rpm", write(t, []byte("x")), rpmflow.KindRPM)
	if err != nil || a.URL != want {
		t.Errorf("%q, %v; want %q", a.URL, err, want)
	}
	if got := s.Address(a.Key); got != "s3://rpmflow-test/"+a.Key {
		t.Errorf("%q", got)
	}
}
