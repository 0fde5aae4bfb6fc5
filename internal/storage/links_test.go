package storage_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
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

func TestPresignedLog(t *testing.T) {
	t.Parallel()
	s := open(t, storagetest.Start(t))
	text := strings.Repeat("make all\n", 1000)
	a, err := s.PutLog(t.Context(), prefix+"libstdc++ build.log.gz", write(t, []byte(text)))
	testkit.Must(t, err)
	link, err := s.Presign(t.Context(), a.Key, time.Minute, "")
	testkit.Must(t, err)
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

func TestPresignedFileName(t *testing.T) {
	t.Parallel()
	s := open(t, storagetest.Start(t))
	content := []byte("rpm")
	key := prefix + "libstdc++-1~rc1^git-1.x86_64.rpm"
	if _, err := s.PutFile(t.Context(), key, write(t, content), rpmflow.KindRPM); err != nil {
		t.Fatal(err)
	}
	link, err := s.Presign(t.Context(), key, time.Minute, "my file.rpm")
	testkit.Must(t, err)
	resp, got := fetch(t, link, false)
	if !bytes.Equal(got, content) || resp.Header.Get("Content-Disposition") != `attachment; filename="my file.rpm"` ||
		resp.Header.Get("Content-Type") != "application/x-rpm" {
		t.Errorf("%s %v %q", resp.Status, resp.Header, got)
	}
	for _, ttl := range []time.Duration{0, 8 * 24 * time.Hour} {
		if _, err := s.Presign(t.Context(), key, ttl, ""); err == nil {
			t.Errorf("a link was made for %v", ttl)
		}
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
	link, err := s.Presign(t.Context(), a.Key, time.Minute, "x.rpm")
	if err != nil || link != want {
		t.Errorf("%q, %v; want %q", link, err, want)
	}
	if got := s.Address(a.Key); got != "s3://rpmflow-test/"+a.Key {
		t.Errorf("%q", got)
	}
}
