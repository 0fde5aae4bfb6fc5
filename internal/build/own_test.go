package build_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
)

// TestOwnRepository: an attempt names one revision from its first report on, or says that there is none; everything
// else that is in its place ends it.
func TestOwnRepository(t *testing.T) {
	t.Parallel()
	const good = "r/57-01234567/"
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter, url string)
		want   string // behind the repository's URL; empty: none
		note   bool   // that says so
		fails  string
	}{
		{"a revision", func(w http.ResponseWriter, url string) { fmt.Fprintln(w, url+good) }, good, false, ""},
		{"published under another name", func(w http.ResponseWriter, _ string) {
			fmt.Fprint(w, "https://packages.example.com/x/"+good)
		}, good, false, ""},
		{"nothing yet", func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusNotFound) }, "", true, ""},
		{"a server in trouble", func(w http.ResponseWriter, _ string) {
			w.WriteHeader(http.StatusBadGateway)
		}, "", false, "status 502"},
		{"a page", func(w http.ResponseWriter, _ string) { fmt.Fprint(w, "<html>") }, "", false, "<html>"},
		{"nothing", func(http.ResponseWriter, string) {}, "", false, `has ""`},
		{"two lines", func(w http.ResponseWriter, url string) {
			fmt.Fprintln(w, url+good+"\n"+url+good)
		}, "", false, "one revision"},
		{"more configuration", func(w http.ResponseWriter, url string) {
			fmt.Fprintln(w, "http://x/\ngpgcheck=0\n"+url+good)
		}, "", false, "one revision"},
		{"no revision", func(w http.ResponseWriter, url string) { fmt.Fprintln(w, url+"r/../") }, "", false,
			"one revision"},
		{"endless", func(w http.ResponseWriter, _ string) {
			fmt.Fprint(w, "http://"+strings.Repeat("x", 1<<20))
		}, "", false, "one revision"},
		{"broken off", func(w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "http://x/"+good)
		}, "", false, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var at string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/repos/hello/"+enginetest.Target().Name+"/mirrorlist" {
					c.answer(w, at)
				}
			}))
			defer server.Close()
			at = build.PublishedURL(server.URL+"/repos", "hello", enginetest.Target().Name)
			want := ""
			if c.want != "" {
				want = at + c.want
			}
			f := newFixture(t, func(_ context.Context, _ string, job build.Job) error {
				if job.Build.OwnRepository != want {
					t.Errorf("the engine gets %q", job.Build.OwnRepository)
				}
				return nil
			})
			f.runner.RepositoriesURL = server.URL + "/repos"
			f.attempt.Build.Options.UseOwnRepository = true
			report := f.attempt.Report
			f.attempt.Report = func(ctx context.Context, b rpmflow.Build) error {
				if b.OwnRepository != want {
					t.Errorf("%s: the record names %q", b.Phase, b.OwnRepository)
				}
				return report(ctx, b)
			}
			b, err := f.run()
			if err != nil {
				t.Fatal(err)
			}
			o := b.Outcome
			if c.fails != "" {
				if o.Kind != rpmflow.FailureInfrastructure || !strings.Contains(o.Message, c.fails) ||
					!strings.Contains(o.Message, "publisher.url") ||
					slices.Contains(f.phases, rpmflow.PhaseDependencies) {
					t.Errorf("%+v after %v", *o, f.phases)
				}
				return
			}
			if o.Result != rpmflow.Succeeded || b.OwnRepository != want {
				t.Errorf("%+v, with %q", *o, b.OwnRepository)
			}
			if note := strings.Contains(strings.Join(b.Notes, "\n"), "nothing was published at "+at); note != c.note {
				t.Errorf("notes %q", b.Notes)
			}
		})
	}
}

// TestOwnRepositoryOutOfReach: nobody answers.
func TestOwnRepositoryOutOfReach(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	f := newFixture(t, nil)
	f.runner.RepositoriesURL = server.URL + "/repos"
	f.attempt.Build.Options.UseOwnRepository = true
	b, err := f.run()
	if err != nil {
		t.Fatal(err)
	}
	if o := b.Outcome; o.Kind != rpmflow.FailureInfrastructure || !strings.Contains(o.Message, server.URL) ||
		!strings.Contains(o.Message, "publisher.url") {
		t.Errorf("%+v", *o)
	}
}
