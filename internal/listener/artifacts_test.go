package listener_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// finishedBuild makes a build that has ended, with its log and a package stored.
func (w *fixture) finishedBuild(n int, logText string) rpmflow.Build {
	w.t.Helper()
	dir := w.t.TempDir()
	logFile, rpm := filepath.Join(dir, "build.log"), filepath.Join(dir, "hello-1.0-1.x86_64.rpm")
	testkit.Must(w.t, os.WriteFile(logFile, []byte(logText), 0o600))
	testkit.Must(w.t, os.WriteFile(rpm, []byte("not really a package"), 0o600))
	return w.build(n, rpmflow.Finished, func(b *rpmflow.Build) {
		a, err := w.store.PutLog(w.t.Context(), b.Prefix()+"build.log.gz", logFile)
		testkit.Must(w.t, err)
		a.Name, a.URL = "build.log", "https://rpmflow.test/artifacts/"+a.Key
		_, err = w.store.PutFile(w.t.Context(), b.Prefix()+filepath.Base(rpm), rpm, rpmflow.KindRPM)
		testkit.Must(w.t, err)
		b.Artifacts = []rpmflow.Artifact{a}
	})
}

// The storage is away: that is said, and not remembered by any cache.
func TestStorageIsAway(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	if a := d.get("/artifacts/builds/hello/x"); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.startS3()
	d := w.listen(w.options())
	b := w.finishedBuild(1, "x\n")
	b.Attempt = 1
	file := filepath.Join(t.TempDir(), "secret")
	testkit.Must(w.t, os.WriteFile(file, []byte("a secret"), 0o600))
	_, err := w.store.PutFile(t.Context(), "sources/secret", file, rpmflow.KindLog)
	testkit.Must(w.t, err)

	key := "/artifacts/" + b.Prefix() + "hello-1.0-1.x86_64.rpm"
	a := d.get(key)
	if a.status != http.StatusOK || a.text != "not really a package" ||
		a.header.Get("Content-Type") != "application/x-rpm" || a.header.Get("X-Content-Type-Options") != "nosniff" ||
		!strings.Contains(a.header.Get("Cache-Control"), "immutable") || a.header.Get("Content-Length") != "20" {
		t.Errorf("%d %v %q", a.status, a.header, a.text)
	}
	if a := d.do(http.MethodHead, key, nil); a.status != http.StatusOK || a.text != "" ||
		a.header.Get("Content-Length") != "20" {
		t.Errorf("HEAD: %d %v %q", a.status, a.header, a.text)
	}
	for _, path := range []string{
		"/artifacts/sources/secret", "/artifacts/builds/../sources/secret", "/artifacts/builds/%2e%2e/sources/secret",
		"/artifacts/builds/..%2fsources/secret",
		"/artifacts/builds/%2e%2e%2fsources%2fsecret", "/artifacts/builds//../sources/secret",
		"/artifacts/builds/%5c..%5csources", "/artifacts/builds/%00", "/artifacts/builds/",
		"/artifacts/", "/artifacts/builds/hello/nosuch", "/artifacts/" + strings.Repeat("builds/", 300) + "x",
	} {
		if a := d.get(path); a.status != http.StatusNotFound || strings.Contains(a.text, "a secret") {
			t.Errorf("%s: %d %q", path, a.status, a.text)
		}
	}
}
