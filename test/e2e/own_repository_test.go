package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// libSpec is a package that others are built with.
func libSpec(version int) string {
	return fmt.Sprintf(`Name: libword
Version: %d
Release: 1
Summary: A word
License: MIT
BuildArch: noarch
Provides: word-devel
%%description
A word.
%%install
mkdir -p %%{buildroot}/usr/share/libword
echo word %%{version} >%%{buildroot}/usr/share/libword/word
%%files
/usr/share/libword
`, version)
}

// appSpec is one that needs it; header is more of its header.
func appSpec(version int, header string) string {
	return fmt.Sprintf(`Name: app
Version: %d
Release: 1
Summary: Uses the word
License: MIT
BuildArch: noarch
BuildRequires: word-devel
%s
%%description
Uses the word.
%%build
cat /usr/share/libword/word
%%install
mkdir -p %%{buildroot}/usr/share/app
cp /usr/share/libword/word %%{buildroot}/usr/share/app
%%files
/usr/share/app
`, version, header)
}

// TestOwnRepository has builds of a project use what is published of it: signed, over the network, and of the revision
// that was there when the attempt began, although another one is published before its BuildRequires are installed. The
// listener is on loopback, as in every `rpmflow up`.
func TestOwnRepository(t *testing.T) {
	t.Parallel()
	files := map[string]string{"lib/libword.spec": libSpec(1)}
	r := system.NewRepository(t)
	l, err := net.Listen("tcp", net.JoinHostPort(system.Bridge(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	asked, release := make(chan struct{}, 16), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-release
		fmt.Fprintln(w, "notes")
	}))
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	host, _, _ := net.SplitHostPort(l.Addr().String())
	s := system.StartWith(t, "mock", "  max_failures: 1\n  allow_addresses: ['"+host+"']\n", r.Project("words",
		"  use_own_repository: true\n  trust: true\n  packages:\n  - {name: libword, directory: lib}\n"+
			"  - {name: app, directory: app}\n"))
	r.Announce(t, s, "words")
	build := func() rpmflow.Build { return succeeded(t, s) }
	// uses checks which revision and which version of libword a build of app had.
	uses := func(b rpmflow.Build, revision string, version int) {
		t.Helper()
		if b.OwnRepository != revision {
			t.Errorf("the record names %q, want %q", b.OwnRepository, revision)
		}
		log, installed := system.FetchLog(t, s, b), stored(t, s, b, "installed_pkgs.log")
		if !strings.Contains(log, fmt.Sprintf("\nword %d\n", version)) ||
			!strings.Contains(installed, fmt.Sprintf("libword-%d-1.noarch ", version)) {
			t.Errorf("app was not built with libword %d:\n%s\n%s", version, installed, log)
		}
		if config := stored(t, s, b, "mock.cfg"); !strings.Contains(config, revision) ||
			!strings.Contains(config, "repo_gpgcheck=1") || strings.Contains(config, "proxy=") {
			t.Errorf("mock.cfg is not the configuration of the revision alone:\n%s", config)
		}
	}

	r.Push(t, files)
	lib := build()
	if lib.OwnRepository != "" || !strings.Contains(strings.Join(lib.Notes, "\n"), "nothing was published at") {
		t.Errorf("the first build of the project: %q, notes %q", lib.OwnRepository, lib.Notes)
	}
	first := published(t, s, "words", "")

	files["app/app.spec"] = appSpec(1, "")
	r.Push(t, files)
	app := build()
	uses(app, first, 1)
	t.Run("dnf", func(t *testing.T) { dnfAccepts(t, stored(t, s, app, "mock.cfg")) })
	second := published(t, s, "words", first)

	// While app waits for a source, another libword is published.
	files["app/app.spec"] = appSpec(2, "BuildRequires: make\nSource0: http://"+l.Addr().String()+"/notes")
	r.Push(t, files)
	testkit.Receive(t, "the request for the source", asked)
	files["lib/libword.spec"] = libSpec(2)
	r.Push(t, files)
	if b := build(); b.Package != "libword" || b.OwnRepository != second {
		t.Errorf("%s with %s", b.Package, b.OwnRepository)
	}
	third := published(t, s, "words", second)
	close(release)
	uses(build(), second, 1)
	published(t, s, "words", third)

	files["app/app.spec"] = appSpec(3, "")
	r.Push(t, files)
	b := build()
	uses(b, b.OwnRepository, 2)
	last := published(t, s, "words", b.OwnRepository)

	files["app/app.spec"] = appSpec(4, "BuildRequires: nosuch-devel")
	r.Push(t, files)
	b = s.Finished(t).Build
	if o := b.Outcome; o.Kind != rpmflow.FailureDependencies || !strings.Contains(o.Message, "nosuch-devel") ||
		b.OwnRepository != last {
		t.Errorf("a package that nobody has: %+v, with %q", *o, b.OwnRepository)
	}

	// Whoever changes the metadata cannot sign them.
	metadata := "repos/words/" + s.Target + "/r/" + revision(last) + "/repodata/repomd.xml"
	overwrite(t, s, metadata, strings.Replace(string(system.Object(t, s, metadata)), "<revision>", "<revision>9", 1))
	files["app/app.spec"] = appSpec(4, "BuildRequires: gcc")
	r.Push(t, files)
	if o := s.Finished(t).Build.Outcome; o.Kind != rpmflow.FailureInfrastructure ||
		!strings.Contains(o.Message, "GPG signature") || !strings.Contains(o.Message, last) {
		t.Errorf("with metadata that somebody has changed: %+v", *o)
	}
	overwrite(t, s, "repos/words/"+s.Target+"/mirrorlist", "<html>")
	files["app/app.spec"] = appSpec(4, "BuildRequires: gcc, make")
	r.Push(t, files)
	if o := s.Finished(t).Build.Outcome; o.Kind != rpmflow.FailureInfrastructure ||
		!strings.Contains(o.Message, "mirrorlist") {
		t.Errorf("with a mirrorlist that names no revision: %+v", *o)
	}
}

// TestOwnRepositoryUnasked: without the key, or without trust, what is published of a project is not there for its
// builds.
func TestOwnRepositoryUnasked(t *testing.T) {
	t.Parallel()
	const packages = "  packages:\n  - {name: libword, directory: lib}\n  - {name: app, directory: app}\n"
	plain, distrusted := system.NewRepository(t), system.NewRepository(t)
	s := system.Start(t, "mock", plain.Project("plain", packages),
		distrusted.Project("distrusted", "  use_own_repository: true\n"+packages))
	plain.Announce(t, s, "plain")
	distrusted.Announce(t, s, "distrusted")

	files := map[string]string{"lib/libword.spec": libSpec(1)}
	plain.Push(t, files)
	succeeded(t, s)
	published(t, s, "plain", "")
	files["app/app.spec"] = appSpec(1, "")
	plain.Push(t, files)
	b := s.Finished(t).Build
	if o := b.Outcome; o.Kind != rpmflow.FailureDependencies || !strings.Contains(o.Message, "word-devel") ||
		b.OwnRepository != "" {
		t.Errorf("without use_own_repository: %+v, with %q", *o, b.OwnRepository)
	}

	distrusted.Push(t, files)
	b = s.Finished(t).Build
	if o := b.Outcome; o.Kind != rpmflow.FailureDependencies || !strings.Contains(o.Message, "use_own_repository") ||
		!strings.Contains(o.Hint, "trust") {
		t.Errorf("without trust: %+v", *o)
	}
}

// TestOwnRepositoryElsewhere has the repositories at an address that containers reach by themselves, which is not the
// listener's.
func TestOwnRepositoryElsewhere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", net.JoinHostPort(system.Bridge(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	var proxy *httputil.ReverseProxy
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(w, r)
	}))
	server.Listener.Close()
	server.Listener = l
	at := "http://" + l.Addr().String() + "/packages"
	r := system.NewRepository(t)
	s := system.StartWith(t, "mock", "publisher: {url: '"+at+"'}\n", r.Project("words",
		"  use_own_repository: true\n  trust: true\n  packages:\n  - {name: libword, directory: lib}\n"+
			"  - {name: app, directory: app}\n"))
	proxy = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(s.Config.PublicURL)
		r.Out.URL.Path = "/repos/" + strings.TrimPrefix(r.In.URL.Path, "/packages/")
	}}
	server.Start()
	t.Cleanup(server.Close)
	r.Announce(t, s, "words")

	files := map[string]string{"lib/libword.spec": libSpec(1)}
	r.Push(t, files)
	succeeded(t, s)
	revision := published(t, s, "words", "")
	files["app/app.spec"] = appSpec(1, "")
	r.Push(t, files)
	if b := succeeded(t, s); b.OwnRepository != revision || !strings.HasPrefix(revision, at+"/words/") {
		t.Errorf("built with %q, published at %q", b.OwnRepository, revision)
	}
}

// succeeded waits for a build that has to succeed.
func succeeded(t *testing.T, s *system.System) rpmflow.Build {
	t.Helper()
	b := s.Finished(t).Build
	if b.Outcome.Result != rpmflow.Succeeded {
		t.Fatalf("%s: %+v\n%s", b.Package, *b.Outcome, system.FetchLog(t, s, b))
	}
	return b
}

// dnfAccepts has dnf itself install from the repository as mock.cfg configures it, which mock hands on as it is.
func dnfAccepts(t *testing.T, config string) {
	t.Helper()
	_, section, _ := strings.Cut(config, "config_opts['dnf.conf'] += ")
	section, _, _ = strings.Cut(section, "\n")
	section, err := strconv.Unquote(section)
	if err != nil {
		t.Fatalf("%v:\n%s", err, config)
	}
	root := t.TempDir()
	testkit.Write(t, filepath.Join(root, "repos.d", "own.repo"), section)
	out, err := testkit.DNF(t, root, "install", "word-devel")
	if err != nil || !strings.Contains(out, "Importing GPG key") {
		t.Errorf("%v, or without signatures: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/share/libword/word")); err != nil {
		t.Error(err)
	}
}

// published waits until a project's repository shows another revision than this one, and returns its URL.
func published(t *testing.T, s *system.System, project, before string) (url string) {
	t.Helper()
	testkit.Until(t, func() error {
		list := s.URL("/repos/" + project + "/" + s.Target + "/mirrorlist")
		answer, err := http.Get(list)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		var line string
		_, err = fmt.Fscanln(answer.Body, &line)
		if err != nil || answer.StatusCode != http.StatusOK || line == before {
			return fmt.Errorf("%s: status %d, %q, %w", list, answer.StatusCode, line, err)
		}
		url = line
		return nil
	})
	return url
}

func revision(url string) string { return filepath.Base(url) }

// stored reads a log of a build.
func stored(t *testing.T, s *system.System, b rpmflow.Build, name string) string {
	t.Helper()
	for _, a := range b.Artifacts {
		if strings.TrimSuffix(a.Name, ".gz") == name {
			return system.Gunzip(t, system.Object(t, s, a.Key))
		}
	}
	t.Errorf("build %s has no %s", b.ID, name)
	return ""
}

// overwrite changes an object as somebody with the keys of the storage can.
func overwrite(t *testing.T, s *system.System, key, content string) {
	t.Helper()
	store, err := connect.Storage(s.Config, system.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx := context.Background()
	_, version, err := store.Repositories().Read(ctx, key, 1<<20)
	if err == nil {
		_, err = store.Repositories().Replace(ctx, key, []byte(content), version, storage.Headers{})
	}
	if err != nil {
		t.Fatal(err)
	}
}
