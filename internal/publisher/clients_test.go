package publisher_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// serve serves the repositories over HTTP, as the listener does, and returns the URL of repos/.
func (s *system) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		object, info, err := s.store.OpenParts(r.Context(), strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer object.Close()
		http.ServeContent(w, r, "", info.Modified, object)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/" + strings.TrimSuffix(storage.RepositoriesPrefix, "/")
}

// repoFile is what users download. It demands signatures of the repository and of its packages.
func (s *system) repoFile(t *testing.T) string {
	t.Helper()
	raw, _, err := s.store.Repositories().Read(t.Context(), "repos/demo/fedora-43-x86_64/demo.repo", 1<<20)
	testkit.Must(t, err)
	return string(raw)
}

// installs installs a package with dnf and zypper.
func installs(t *testing.T, when, repoFile, pkg string) {
	t.Helper()
	for _, program := range testkit.Installers() {
		if out, err := testkit.Install(t, program, repoFile, pkg); err != nil {
			t.Errorf("%s: %s: %v\n%s", when, program, err, out)
		}
	}
}

// TestPlainDirectory has clients of the directory itself, without mirrorlist. They can install after each publication.
// Between the signature and repomd.xml they are refused, and the error says why; clients of the mirrorlist are not.
func TestPlainDirectory(t *testing.T) {
	t.Parallel()
	s := start(t)
	files := many(t, 2)
	o := s.options(t)
	o.URL = s.serve(t)
	inBetween, goOn := make(chan struct{}), make(chan struct{})
	reached := sync.OnceFunc(func() { close(inBetween); <-goOn })
	hold := false // the publisher is at rest when it is changed
	o.Step = func(what string) error {
		if hold && what == "repodata/repomd.xml" {
			reached()
		}
		return nil
	}
	run(t, o)
	s.finish(t, "first", files[0])
	s.published(t, 1)
	repoFile := s.repoFile(t)
	plain := strings.ReplaceAll(strings.ReplaceAll(repoFile, "mirrorlist=", "baseurl="), "/mirrorlist\n", "/\n")
	installs(t, "first publication", plain, "p00")

	hold = true
	s.finish(t, "second", files[1])
	testkit.Receive(t, "the second publication", inBetween)
	installs(t, "between signature and repomd.xml", repoFile, "p01")
	for program, words := range map[string]string{"dnf": "Bad GPG signature",
		"zypper": "Signature verification failed for repomd.xml"} {
		if out, err := testkit.Install(t, program, plain, "p00"); err == nil || !strings.Contains(out, words) {
			t.Errorf("%s is not refused between signature and repomd.xml: %v: %s", program, err, out)
		}
	}
	packagesAlone := strings.ReplaceAll(plain, "repo_gpgcheck=1", "repo_gpgcheck=0")
	if out, err := testkit.Install(t, "dnf", packagesAlone, "p00"); err != nil {
		t.Errorf("checking the signatures of packages alone: %v: %s", err, out)
	}
	close(goOn)
	s.published(t, 2)
	installs(t, "second publication", plain, "p01")
}
