package build_test

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/source"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// withSources gives the fixture a repository of these files, and sources that may come from this machine and are kept
// in its storage.
func (b *fixture) withSources(files map[string]string, sources rpmflow.Sources) {
	b.t.Helper()
	s, err := source.Open(source.Options{Dir: b.t.TempDir(), Logger: quiet, Allow: []string{"127.0.0.1"},
		Cache: b.store.Sources()})
	testkit.Must(b.t, err)
	b.t.Cleanup(s.Close)
	b.runner.Sources, b.attempt.Build.Sources = s, sources
	b.attempt.Build.Repository, b.attempt.Build.Commit = repository(b.t, files)
}

// A source that the spec names by a URL is downloaded after the spec was expanded, once for all builds; to expand it
// costs nothing where all is there, and is made up for if rpm misses something that was not found before.
func TestRunDownloads(t *testing.T) {
	t.Parallel()
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.URL.Path != "/hello-1.0.tar.gz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("tarball"))
	}))
	defer server.Close()
	sum := sha512.Sum512([]byte("tarball"))
	text := strings.Replace(spec, "hello.c", server.URL+"/hello-1.0.tar.gz", 1)
	list := "SHA512 (hello-1.0.tar.gz) = " + hex.EncodeToString(sum[:]) + "\n"
	hidden := strings.Replace(text, "Source0: ", "Source01: ", 1) // which rpm takes for a tag, and a glance does not

	var steps []string
	b := newFixture(t, func(_ context.Context, step string, job build.Job) error {
		steps = append(steps, step)
		if step == enginetest.SRPM && job.Build.Spec == "hidden.spec" && !slices.Contains(steps, enginetest.Query) {
			return rpmflow.Fail(rpmflow.FailureSource, "commit the file", "Bad file: hello-1.0.tar.gz")
		}
		return nil
	})
	for _, test := range []struct {
		name     string
		files    map[string]string
		steps    string
		origin   rpmflow.Origin
		requests int
	}{
		{"from a lookaside", map[string]string{"hello.spec": text, "sources": list}, "open root srpm dependencies rpms",
			rpmflow.OriginLookaside, 1},
		{"with a checksum, from the cache", map[string]string{"hello.spec": text, "sources": list},
			"open root srpm dependencies rpms", rpmflow.OriginCache, 0},
		{"from its URL", map[string]string{"hello.spec": text}, "open root query srpm dependencies rpms",
			rpmflow.OriginDownload, 1},
		{"by its URL, from the cache", map[string]string{"hello.spec": text}, "open root query srpm dependencies rpms",
			rpmflow.OriginCache, 0},
		{"unseen", map[string]string{"hidden.spec": hidden}, "open root srpm open root query srpm dependencies rpms",
			rpmflow.OriginCache, 0},
		{"in git", map[string]string{"hello.spec": text, "hello-1.0.tar.gz": "mine"},
			"open root srpm dependencies rpms", "",
			0},
	} {
		steps, requests = nil, 0
		b.withSources(test.files, rpmflow.Sources{Lookaside: server.URL + "/{file}"})
		b.attempt.Dir = t.TempDir()
		got, err := b.run()
		if err != nil || got.Outcome == nil || got.Outcome.Result != rpmflow.Succeeded {
			t.Fatalf("%s: %v, %+v", test.name, err, got.Outcome)
		}
		if s := strings.Join(steps, " "); s != test.steps || requests != test.requests {
			t.Errorf("%s: %s and %d requests, want %s and %d", test.name, s, requests, test.steps, test.requests)
		}
		if test.origin == "" && len(got.SourceFiles) == 0 {
			continue
		}
		want := rpmflow.SourceFile{Name: "hello-1.0.tar.gz", URL: server.URL + "/hello-1.0.tar.gz",
			SHA512: hex.EncodeToString(sum[:]), Size: 7, Origin: test.origin}
		if len(got.SourceFiles) != 1 || got.SourceFiles[0] != want {
			t.Errorf("%s: recorded %+v", test.name, got.SourceFiles)
		}
	}
}

// A missing source that is not available ends the build as the packager's failure, with its name.
func TestRunMissesASource(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	b := newFixture(t, nil)
	for name, want := range map[string]string{server.URL + "/hello-1.0.tar.gz": "404 Not Found",
		"hello.tar.gz": "Source0 hello.tar.gz is not in the repository"} {
		b.withSources(map[string]string{"hello.spec": strings.Replace(spec, "hello.c", name, 1)}, rpmflow.Sources{})
		b.attempt.Dir = t.TempDir()
		got, err := b.run()
		if err != nil || got.Outcome == nil || got.Outcome.Kind != rpmflow.FailureSource ||
			got.Outcome.Phase != rpmflow.PhaseSRPM || !strings.Contains(got.Outcome.Message, want) ||
			got.Outcome.Hint == "" {
			t.Errorf("%s: %v, %+v", name, err, got.Outcome)
		}
	}
	// If no source is available, the error is that of the second try.
	calls := 0
	b = newFixture(t, func(_ context.Context, step string, _ build.Job) error {
		if step == enginetest.SRPM {
			calls++
			return rpmflow.Fail(rpmflow.FailureSource, "commit the file", "Bad file: x")
		}
		return nil
	})
	got, err := b.run()
	if err != nil || got.Outcome == nil || got.Outcome.Kind != rpmflow.FailureSource || calls != 2 {
		t.Errorf("%v, %+v, %d calls", err, got.Outcome, calls)
	}
}
