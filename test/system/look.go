package system

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Get fetches a URL without unpacking anything.
func Get(t testing.TB, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		t.Fatalf("GET %s: %s: %s", url, res.Status, text)
	}
	return res
}

// FetchLog reads build.log as a browser would: text, sent gzip-encoded.
func FetchLog(t testing.TB, s *System, b rpmflow.Build) string {
	t.Helper()
	res := Get(t, s.URL("/api/v1/builds/"+b.ID+"/log"))
	if res.Header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(res.Header.Get("Content-Type"),
		"text/plain") {
		t.Errorf("build.log comes as %v", res.Header)
	}
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Gunzip(t, raw)
}

// Gunzip unpacks text.
func Gunzip(t testing.TB, raw []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Object reads from the bucket itself.
func Object(t testing.TB, s *System, key string) []byte {
	t.Helper()
	store, err := connect.Storage(s.Config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r, _, err := store.Open(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// NothingLeft looks for containers, images and files of builds that are over. Containers are removed in the background.
func NothingLeft(t testing.TB, s *System) {
	t.Helper()
	page := List(t, s, "")
	for _, b := range page {
		for _, what := range [][]string{{"ps", "-aq"}, {"images", "-q"}} {
			testkit.EventuallyWithin(t, Patience, "docker "+what[0]+" without anything of build "+b.ID, func() bool {
				out, err := docker(s.Config.Builder.Docker.Host,
					append(what, "--filter", "label=dev.rpmflow.build="+b.ID)...).CombinedOutput()
				return err == nil && len(bytes.TrimSpace(out)) == 0
			})
		}
	}
	left, err := filepath.Glob(filepath.Join(s.Dir, "data", "work", "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the work directory: %v %v", left, err)
	}
}

// List asks the listener for builds.
func List(t testing.TB, s *System, query string) []rpmflow.Build {
	t.Helper()
	res := Get(t, s.URL("/api/v1/builds"+query))
	var page struct{ Builds []rpmflow.Build }
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
		t.Fatal(err)
	}
	return page.Builds
}
