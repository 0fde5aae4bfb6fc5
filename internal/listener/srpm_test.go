package listener_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// sourcePackage is one as rpmbuild makes it.
func sourcePackage(t *testing.T, name string) []byte {
	t.Helper()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skipf("needs rpmbuild: %v", err)
	}
	dir := t.TempDir()
	spec := "Name: " + name +
		"\nEpoch: 1\nVersion: 1\nRelease: 2\nSummary: x\nLicense: MIT\nBuildArch: noarch\n" +
		"Source0: s\n\n%description\nx\n\n%files\n"
	for file, content := range map[string]string{"x.spec": spec, "s": strings.Repeat("source\n", 100)} {
		testkit.Must(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
	}
	cmd := exec.CommandContext(t.Context(), "rpmbuild", "-bs", "--define", "_sourcedir "+dir, "--define",
		"_srcrpmdir "+dir, filepath.Join(dir, "x.spec"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(dir, name+"-1-2.src.rpm"))
	testkit.Must(t, err)
	return raw
}

// upload sends a source package to the listener.
func (d *testListener) upload(query string, body io.Reader, header ...string) (answer, pushed) {
	d.t.Helper()
	a := d.do(http.MethodPost, "/api/v1/builds/srpm"+query, body, append([]string{"Content-Type", "application/x-rpm",
		"Authorization", "Bearer " + token}, header...)...)
	var p pushed
	if a.status < 400 {
		a.into(&p)
	}
	return a, p
}

// spooled are the files of uploads that are not stored yet.
func (d *testListener) spooled(dataDir string) int {
	d.t.Helper()
	files, err := os.ReadDir(filepath.Join(dataDir, "listener", "uploads"))
	testkit.Must(d.t, err)
	return len(files)
}

func TestSourcePackageIsStoredByContentAndBuilt(t *testing.T) {
	t.Parallel()
	srpm := sourcePackage(t, "hello")
	sum := sha512.Sum512(srpm)
	w := newFixture(t, events.StreamSettings{})
	w.startS3()
	o := w.options()
	d := w.listen(o)

	a, p := d.upload("?project=hello", bytes.NewReader(srpm), "Expect", "100-continue", "Idempotency-Key", "one")
	if a.status != http.StatusAccepted || len(p.Builds) != 1 || p.Builds[0].Target != "fedora-42-x86_64" {
		t.Fatalf("%d: %s", a.status, a.text)
	}
	w.queued(p.ids()...)
	var b rpmflow.Build
	d.get("/api/v1/builds/" + p.Builds[0].ID[:8]).into(&b) // the beginning of the id is enough
	want := rpmflow.SourcePackage{Name: "hello-1-2.src.rpm", NEVRA: "hello-1:1-2.src",
		SHA512: hex.EncodeToString(sum[:]), Size: int64(len(srpm))}
	if b.SourcePackage == nil || *b.SourcePackage != want || b.Repository+b.Ref+b.Commit != "" ||
		b.Layout != rpmflow.LayoutSRPM || b.Package != "hello" || b.Project != "hello" {
		t.Errorf("%+v", b)
	}
	stored, there, err := w.store.Uploads().Open(t.Context(), want.SHA512, want.Name)
	if err != nil || !there {
		t.Fatal(there, err)
	}
	defer stored.Close()
	if raw, err := io.ReadAll(stored); err != nil || !bytes.Equal(raw, srpm) {
		t.Errorf("other content is stored: %v", err)
	}
	if n := d.spooled(o.DataDir); n != 0 {
		t.Errorf("%d files are left", n)
	}

	// The same submission is the same push; the same file under a key of its own is built again, and stored once.
	if a, again := d.upload("?project=hello", bytes.NewReader(srpm), "Idempotency-Key",
		"one"); a.status != http.StatusOK || !again.Duplicate || again.Push != p.Push {
		t.Errorf("%d: %s", a.status, a.text)
	}
	// the project has the package's name
	_, other := d.upload("?target=opensuse-leap-15.6-x86_64", bytes.NewReader(srpm))
	if len(other.Builds) != 1 || other.Push == p.Push || other.Builds[0].Target != "opensuse-leap-15.6-x86_64" {
		t.Errorf("%+v", other)
	}

	// It can be built again.
	last, err := w.ledger.LastOf(t.Context(), b.ID)
	testkit.Must(w.t, err)
	done := last.Build.Clone()
	done.Cancel = &rpmflow.Cancel{By: "x", At: done.QueuedAt}
	_, err = w.ledger.Append(t.Context(), events.TypeFinished, done.Canceled(done.QueuedAt), last.Sequence)
	testkit.Must(w.t, err)
	a = d.do(http.MethodPost, "/api/v1/builds/"+b.ID[:12]+"/retry", strings.NewReader("{}"), "Content-Type",
		"application/json", "Authorization", "Bearer "+token)
	var retried pushed
	a.into(&retried)
	if a.status != http.StatusAccepted || len(retried.Builds) != 1 {
		t.Fatalf("%d: %s", a.status, a.text)
	}
	var c rpmflow.Build
	d.get("/api/v1/builds/" + retried.Builds[0].ID).into(&c)
	if c.RetryOf != b.ID || c.SourcePackage == nil || *c.SourcePackage != want || c.Repository != "" ||
		c.Package != "hello" {
		t.Errorf("%+v", c)
	}
}

func TestFilesThatAreNotSourcePackages(t *testing.T) {
	t.Parallel()
	srpm := sourcePackage(t, "odd")
	damaged := bytes.Clone(srpm)
	damaged[len(damaged)-1] ^= 1
	w := newFixture(t, events.StreamSettings{})
	w.startS3()
	o := w.options()
	o.MaxUpload = 64 << 10
	d := w.listen(o)
	const project = "?project=hello"
	for _, test := range []struct {
		name, query string
		body        io.Reader
		header      []string
		status      int
		want        string
	}{
		{"text", project, strings.NewReader("this is not a package"), nil, http.StatusBadRequest, "not a valid RPM"},
		{"nothing", project, strings.NewReader(""), nil, http.StatusBadRequest, "not a valid RPM"},
		{"truncated", project, bytes.NewReader(srpm[:len(srpm)-9]), nil, http.StatusBadRequest,
			"odd-1:1-2.src is truncated"},
		{"damaged", project, bytes.NewReader(damaged), nil, http.StatusBadRequest, "damaged or truncated"},
		{"too large, and says so", project, bytes.NewReader(make([]byte, 65<<10)), []string{"Expect", "100-continue"},
			http.StatusRequestEntityTooLarge, "listener.max_upload"},
		{"too large, and does not say so", project, io.MultiReader(bytes.NewReader(make([]byte, 65<<10))), nil,
			http.StatusRequestEntityTooLarge, "listener.max_upload"},
		{"no project of this name", "", bytes.NewReader(srpm), nil, http.StatusBadRequest,
			"no project with the name of the source package, odd"},
		{"unknown project", "?project=helo", bytes.NewReader(srpm), nil, http.StatusNotFound, "did you mean hello?"},
		{"unknown target", project + "&target=fedora-24-x86_64", bytes.NewReader(srpm), nil, http.StatusBadRequest,
			"did you mean fedora-42-x86_64?"},
		{"unknown parameter", project + "&ref=main", bytes.NewReader(srpm), nil, http.StatusBadRequest,
			"known are: project, target"},
		{"without token", project, bytes.NewReader(srpm), []string{"Authorization", ""}, http.StatusUnauthorized,
			"token"},
		{"as a form", project, bytes.NewReader(srpm), []string{"Content-Type", "multipart/form-data"},
			http.StatusUnsupportedMediaType, "application/x-rpm"},
	} {
		a, _ := d.upload(test.query, test.body, test.header...)
		if a.status != test.status || !strings.Contains(a.text, test.want) {
			t.Errorf("%s: %d: %s", test.name, a.status, a.text)
		}
	}
	if n := d.spooled(o.DataDir); n != 0 {
		t.Errorf("%d files are left", n)
	}
	if n := len(w.messages(events.StreamPushes)); n != 0 {
		t.Errorf("%d pushes are stored", n)
	}
}

// An upload that is cut off leaves nothing, and the files of a killed listener are removed when it starts.
func TestInterruptedUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.startS3()
	o := w.options()
	left := filepath.Join(o.DataDir, "listener", "uploads", "upload-1.rpm")
	testkit.Must(w.t, os.MkdirAll(filepath.Dir(left), 0o700))
	testkit.Must(w.t, os.WriteFile(left, []byte("x"), 0o600))
	d := w.listen(o)
	if n := d.spooled(o.DataDir); n != 0 {
		t.Errorf("%d files of an earlier run", n)
	}
	body, feed := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.base+"/api/v1/builds/srpm?project=hello",
			body)
		if err == nil {
			req.Header.Set("Content-Type", "application/x-rpm")
			req.Header.Set("Authorization", "Bearer "+token)
			if res, err := d.client.Do(req); err == nil {
				_ = res.Body.Close()
			}
		}
	}()
	_, err := feed.Write(make([]byte, 1<<20))
	testkit.Must(w.t, err)
	testkit.Eventually(w.t, "a file", func() bool { return d.spooled(o.DataDir) == 1 })
	feed.CloseWithError(fmt.Errorf("the client is gone"))
	<-done
	testkit.Eventually(w.t, "no file", func() bool { return d.spooled(o.DataDir) == 0 })
}

// Without a storage nothing need be sent, and nothing is queued.
func TestSourcePackageWithoutStorage(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.openStore(storage.Config{Endpoint: "http://127.0.0.1:1", Bucket: "rpmflow", AccessKey: "nobody",
		SecretKey: "listens there"})
	d := w.listen(w.options())
	a, _ := d.upload("?project=hello", strings.NewReader("x"), "Expect", "100-continue")
	if a.status != http.StatusServiceUnavailable || !strings.Contains(a.text, "the storage cannot be reached") {
		t.Errorf("%d: %s", a.status, a.text)
	}
}

func TestConfiguredProjectsAndTargets(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options()
	o.Projects[0].URL, o.Projects[0].User = "https://git.example.com/hello.git", url.UserPassword("user", "password")
	o.Projects[0].Token, o.Targets[0].Image = "a token of the repository", "rpmflow/mock:latest"
	d := w.listen(o)
	for path, want := range map[string]string{
		"/api/v1/projects": `"name": "hello", "repository": "https://git.example.com/hello.git", ` +
			`"layout": "auto", "branches": ["main", "release-*"], "tags": [], "packages": ["hello"], ` +
			`"targets": ["fedora-42-x86_64"], "webhooks": true, "timeout_seconds": 3600, "concurrency": 4`,
		"/api/v1/targets": `"name": "fedora-42-x86_64", "arch": "x86_64", "config": "", ` +
			`"image": "rpmflow/mock:latest", "projects": ["hello", "tags"]`,
	} {
		a := d.get(path)
		var flat bytes.Buffer
		testkit.Must(w.t, json.Compact(&flat, []byte(a.text)))
		text := strings.NewReplacer(`":`, `": `, `",`, `", `, `],`, `], `, `true,`, `true, `, `3600,`,
			`3600, `).Replace(flat.String())
		if a.status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d: %s", path, a.status, text)
		}
		for _, s := range []string{secret, token, "password", "a token of the repository"} {
			if strings.Contains(a.text, s) {
				t.Errorf("%s has a secret in it: %s", path, a.text)
			}
		}
	}
}

func TestNamesInFilters(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	gone := rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: rpmflow.BuildID("x", "gone", "old-target"),
		Push:    rpmflow.PushID("gone", "1"),
		Project: "gone", Package: "gone", Target: "old-target", Arch: "x86_64",
		Repository: w.repo, Ref: "refs/heads/main", Commit: commit, Layout: rpmflow.LayoutAuto, TimeoutSeconds: 1,
		Concurrency: 1}, State: rpmflow.Queued}
	_, err := w.ledger.Append(t.Context(), events.TypeQueued, gone, 0)
	testkit.Must(w.t, err)
	testkit.Eventually(w.t, "the build", func() bool { return strings.Contains(d.get("/api/v1/builds").text, gone.ID) })
	for _, test := range []struct {
		query  string
		status int
		want   string
	}{
		{"project=gone&target=old-target&package=gone", http.StatusOK,
			gone.ID}, // has builds, though it is not configured any more
		{"ref=main", http.StatusOK, gone.ID},
		{"ref=refs/heads/main", http.StatusOK, gone.ID},
		{"commit=2222222", http.StatusOK, gone.ID},
		{"ref=other", http.StatusOK, `"builds": []`},
		{"project=hello", http.StatusOK, `"builds": []`},
		{"project=helo", http.StatusBadRequest, "did you mean hello?"},
		{"target=fedora-24-x86_64", http.StatusBadRequest, "did you mean fedora-42-x86_64?"},
		{"package=gon", http.StatusBadRequest, "did you mean gone?"},
		{"result=succeedd", http.StatusBadRequest, "did you mean succeeded?"},
		{"state=done", http.StatusBadRequest, "known are: finished, queued, running"},
		{"kind=infra", http.StatusBadRequest, "infrastructure"},
	} {
		if a := d.get("/api/v1/builds?" + test.query); a.status != test.status || !strings.Contains(a.text, test.want) {
			t.Errorf("%s: %d: %s", test.query, a.status, a.text)
		}
	}
	if a, _ := d.submit(`{"project": "helo"}`); a.status != http.StatusNotFound || !strings.Contains(a.text,
		"did you mean hello?") {
		t.Errorf("%d: %s", a.status, a.text)
	}
}

func TestShortIDs(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	d := w.listen(w.options())
	ids := []string{"abcd1111-1111-5111-8111-111111111111", "abcd2222-1111-5111-8111-111111111111"}
	for _, id := range ids {
		b := rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: id, Push: rpmflow.PushID("hello", "1"),
			Project: "hello",
			Package: "hello",
			Target:  "fedora-42-x86_64", Arch: "x86_64",
			Repository: w.repo, Ref: "refs/heads/main", Commit: commit, Layout: rpmflow.LayoutAuto, TimeoutSeconds: 1,
			Concurrency: 1}, State: rpmflow.Queued}
		_, err := w.ledger.Append(t.Context(), events.TypeQueued, b, 0)
		testkit.Must(w.t, err)
	}
	testkit.Eventually(w.t, "both builds",
		func() bool { return strings.Contains(d.get("/api/v1/builds").text, ids[1]) })
	for id, want := range map[string]string{"abcd1": ids[0], "abcd2222-1111": ids[1], ids[0]: ids[0]} {
		var b rpmflow.Build
		if a := d.get("/api/v1/builds/" + id); a.status == http.StatusOK {
			a.into(&b)
		}
		if b.ID != want {
			t.Errorf("%s: got %q", id, b.ID)
		}
	}
	a := d.get("/api/v1/builds/abcd")
	if a.status != http.StatusBadRequest || !strings.Contains(a.text,
		ids[0]+" (hello for fedora-42-x86_64") || !strings.Contains(a.text, ids[1]) ||
		!strings.Contains(a.text, "2 builds") {
		t.Errorf("%d: %s", a.status, a.text)
	}
	for id, status := range map[string]int{"abc": http.StatusBadRequest, "hello": http.StatusBadRequest,
		"ABCD1": http.StatusBadRequest, "abcd3": http.StatusNotFound,
		"abcd1111-1111-5111-8111-11111111111Z": http.StatusBadRequest} {
		if a := d.get("/api/v1/builds/" + id); a.status != status {
			t.Errorf("%s: %d: %s", id, a.status, a.text)
		}
	}
	a = d.do(http.MethodPost, "/api/v1/builds/abcd1/cancel", nil, "Content-Type", "application/json", "Authorization",
		"Bearer "+token)
	if a.status != http.StatusOK || !strings.Contains(a.text, ids[0]) {
		t.Errorf("cancel: %d: %s", a.status, a.text)
	}
}
