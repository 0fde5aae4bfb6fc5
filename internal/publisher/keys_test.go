package publisher_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// pair is a key as an operator has it: private and public half, as text.
type pair struct{ private, public string }

func newPair(t *testing.T) pair {
	t.Helper()
	private, public, err := sign.Generate(sign.Ed25519, "test", "")
	testkit.Must(t, err)
	return pair{string(private), string(public)}
}

// web serves repositories as the listener does.
func (s *system) web(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _, err := s.store.Open(r.Context(), "repos"+r.URL.Path)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer body.Close()
		_, _ = io.Copy(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// signing are the options of a publisher with these keys.
func (s *system) signing(t *testing.T, url, keys string, command ...string) publisher.Options {
	t.Helper()
	o := s.options(t)
	o.URL, o.Signer = url, testkit.Value(sign.ParseSigner([]byte(keys), command...))(t)
	return o
}

// machine is one that uses the repository of a project, with dnf. Nothing of this machine is used.
type machine struct {
	root string
	repo string // URL of the .repo file
}

func newMachine(t *testing.T, url string, place publisher.Place) machine {
	t.Helper()
	if _, err := exec.LookPath("dnf"); err != nil {
		t.Skipf("needs dnf: %v", err)
	}
	m := machine{root: t.TempDir(), repo: url + "/" + place.Path() + "/" + place.Project + ".repo"}
	testkit.Must(t, os.Mkdir(filepath.Join(m.root, "repos.d"), 0o755))
	return m
}

// dnf runs dnf, and fails the test unless that succeeds as expected.
func (m machine) dnf(t *testing.T, ok bool, args ...string) string {
	t.Helper()
	res := testkit.Value(http.Get(m.repo))(t)
	defer res.Body.Close()
	testkit.Write(t, filepath.Join(m.root, "repos.d", "test.repo"), string(testkit.Value(io.ReadAll(res.Body))(t)))
	cmd := exec.CommandContext(t.Context(), "dnf", append([]string{
		"--installroot", m.root, "--releasever=1", "--setopt=reposdir=" + filepath.Join(m.root, "repos.d"),
		"--setopt=cachedir=" + filepath.Join(m.root, "cache"), "--setopt=tsflags=noscripts",
	}, args...)...)
	out, err := cmd.CombinedOutput()
	if (err == nil) != ok {
		t.Errorf("dnf %v: %v: %s", args, err, out)
	}
	return string(out)
}

func (m machine) installs(t *testing.T, packages ...string) {
	t.Helper()
	m.dnf(t, true, append([]string{"--assumeyes", "--refresh", "install"}, packages...)...)
	for _, p := range packages {
		if out, err := exec.Command("rpm", "--root", m.root, "-q", p).CombinedOutput(); err != nil {
			t.Errorf("%s is not installed: %s", p, out)
		}
	}
}

// trusts are the keys that the machine has imported.
func (m machine) trusts(t *testing.T) int {
	t.Helper()
	out := testkit.Value(exec.Command("rpm", "--root", m.root, "-q", "gpg-pubkey").CombinedOutput())(t)
	return strings.Count(string(out), "gpg-pubkey-")
}

// published is an object of the repository.
func (s *system) object(t *testing.T, name string) string {
	t.Helper()
	body, _, err := s.store.Open(t.Context(), "repos/demo/fedora-43-x86_64/"+name)
	testkit.Must(t, err)
	defer body.Close()
	return string(testkit.Value(io.ReadAll(body))(t))
}

// TestChangeOfTheKey goes the three steps from one signing key to the next. In each of them packages can be installed
// by a machine that is new, and by one that knows the first key.
func TestChangeOfTheKey(t *testing.T) {
	t.Parallel()
	s := start(t)
	url := s.web(t)
	files := many(t, 5)
	older, newer := newPair(t), newPair(t)
	source := publisher.Place{Project: "demo", Target: binary.Target, Kind: publisher.Source}

	_, stop := run(t, s.signing(t, url, older.private))
	s.finish(t, "first", append(rpms(t, "hello", "1"), files[0])...)
	s.published(t, 1)
	stop()
	known := newMachine(t, url, binary)
	known.installs(t, "hello")
	behind := newMachine(t, url, binary) // its metadata stay those of the first revision
	behind.installs(t, "hello")

	keys := func(want ...pair) {
		t.Helper()
		text := ""
		for _, k := range want {
			text += k.public
		}
		for _, name := range []string{"RPM-GPG-KEY-demo", "repodata/repomd.xml.key", "source/repodata/repomd.xml.key"} {
			if got := s.object(t, name); got != text {
				t.Errorf("%s is\n%s\nand should be\n%s", name, got, text)
			}
		}
	}
	signs := func(p *publisher.Publisher, place publisher.Place, packages int) {
		t.Helper()
		before := testkit.Value(p.State(t.Context(), place))(t)
		state, n, err := p.Sign(t.Context(), place)
		testkit.Must(t, err)
		if n != packages || (state.Revision == before.Revision) != (packages == 0) {
			t.Errorf("%s: %d packages were signed again in revision %d, after %d", place.Path(), n, state.Revision,
				before.Revision)
		}
		if again, n, err := p.Sign(t.Context(), place); err != nil || n != 0 || again.Revision != state.Revision {
			t.Errorf("%s: a second run has signed %d packages: %v", place.Path(), n, err)
		}
	}
	step := func(text string, signed int, file, pkg string) *publisher.Publisher {
		t.Helper()
		p, stop := run(t, s.signing(t, url, text))
		signs(p, binary, signed)
		signs(p, source, min(signed, 1))
		next := testkit.Value(p.State(t.Context(), binary))(t).Revision + 1
		s.finish(t, pkg, file)
		s.published(t, next)
		stop()
		known.installs(t, pkg)
		newMachine(t, url, binary).installs(t, "hello", pkg, "p00")
		return p
	}

	// 1. Users are told of the new key.
	p := step(older.private+newer.public, 0, files[1], "p01")
	keys(older, newer)
	if n := known.trusts(t); n != 1 {
		t.Errorf("%d keys are imported before one was needed", n)
	}
	valid(t, p, publisher.Binary)

	// 2. It signs.
	p = step(newer.private+older.public, 3, files[2], "p02")
	keys(newer, older)
	if n := known.trusts(t); n != 2 {
		t.Errorf("%d keys are imported", n)
	}
	valid(t, p, publisher.Binary)
	valid(t, p, publisher.Source)
	behind.dnf(t, true, "--assumeyes", "--setopt=metadata_expire=never", "install", "p00")

	// A publisher that was not started again publishes nothing.
	var log testkit.Log
	o := s.signing(t, url, older.private)
	o.Log = log.Logger()
	stale, stop := run(t, o)
	s.finish(t, "p03", files[3])
	log.Until(t, "signed with another key")
	testkit.Until(t, func() error { // also once the build is given back
		var metrics strings.Builder
		stale.WriteMetrics(&metrics)
		for _, want := range []string{"waiting_builds 0\n", "failing_targets 1\n"} {
			if !strings.Contains(metrics.String(), want) {
				return fmt.Errorf("no %q in %s", want, metrics.String())
			}
		}
		return nil
	})
	stop()

	// 3. The first key is of no use any more.
	p = step(newer.private, 0, files[4], "p04")
	keys(newer)
	if findings := testkit.Value(p.Verify(t.Context(), binary))(t).Findings; !slices.ContainsFunc(findings,
		func(f publisher.Finding) bool { return strings.Contains(f.Wrong, "unknown key") }) {
		t.Errorf("verify does not find the revisions of the first key: %v", findings)
	}
	if _, err := p.Rollback(t.Context(), binary, 1); err == nil || !strings.Contains(err.Error(), "revision 1: ") ||
		!strings.Contains(err.Error(), "another key") {
		t.Errorf("back to a revision of the first key: %v", err)
	}
	if got := s.object(t, "mirrorlist"); strings.Contains(got, "/r/1-") {
		t.Errorf("clients see %s", got)
	}
}

// TestLostKey has an operator whose key is gone. What is left are the public half, which the repository has, and the
// builds.
func TestLostKey(t *testing.T) {
	t.Parallel()
	s := start(t)
	url := s.web(t)
	files := many(t, 2)
	_, stop := run(t, s.signing(t, url, newPair(t).private))
	s.finish(t, "first", files[0])
	s.published(t, 1)
	stop()
	known := newMachine(t, url, binary)
	known.installs(t, "p00")

	next := newPair(t)
	alone := testkit.Value(publisher.New(s.signing(t, url, next.private)))(t)
	if _, _, err := alone.Sign(t.Context(), binary); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("signed with a key that may be anybody's: %v", err)
	}
	text := next.private + s.object(t, "RPM-GPG-KEY-demo")
	p, stop := run(t, s.signing(t, url, text))
	if _, n, err := p.Sign(t.Context(), binary); err != nil || n != 1 {
		t.Errorf("%d packages were signed again: %v", n, err)
	}
	s.finish(t, "second", files[1])
	s.published(t, 3)
	stop()
	known.installs(t, "p01")
	newMachine(t, url, binary).installs(t, "p00", "p01")
	valid(t, p, publisher.Binary)

	// The public half is not needed if the repository is made again.
	last := newPair(t)
	p = testkit.Value(publisher.New(s.signing(t, url, last.private)))(t)
	made, err := p.Rebuild(t.Context(), binary, false)
	if err != nil || len(made.Refused)+len(made.Lost) > 0 {
		t.Errorf("made again: %v, %v", err, made.Refused)
	}
	known.dnf(t, true, "--assumeyes", "--refresh", "reinstall", "p01")
	newMachine(t, url, binary).installs(t, "p00", "p01")
	for _, f := range testkit.Value(p.Verify(t.Context(), binary))(t).Findings { // older revisions have their keys
		if strings.Contains(f.Key, "/r/4-") || !strings.Contains(f.Do, "public half") {
			t.Errorf("%s: %s: %s", f.Key, f.Wrong, f.Do)
		}
	}
}

// TestSignWhileRolledBack: a new revision would show clients what they were to be kept from.
func TestSignWhileRolledBack(t *testing.T) {
	t.Parallel()
	s := start(t)
	files := many(t, 2)
	older, newer := newPair(t), newPair(t)
	p, stop := run(t, s.signing(t, "http://packages.example.com", older.private))
	for n, file := range files {
		s.finish(t, file, file)
		s.published(t, int64(n)+1)
	}
	stop()
	_, err := p.Rollback(t.Context(), binary, 1)
	testkit.Must(t, err)
	p = testkit.Value(publisher.New(s.signing(t, "http://packages.example.com", newer.private+older.public)))(t)
	if _, _, err := p.Sign(t.Context(), binary); err == nil || !strings.Contains(err.Error(), "rollback to 0") {
		t.Errorf("signed again: %v", err)
	}
	_, err = p.Rollback(t.Context(), binary, 0)
	testkit.Must(t, err)
	if _, n, err := p.Sign(t.Context(), binary); err != nil || n != 2 {
		t.Errorf("%d packages were signed again: %v", n, err)
	}

	// What goes to another repository is signed by the key of now.
	stable := publisher.Place{Project: "stable", Target: binary.Target}
	p = testkit.Value(publisher.New(s.signing(t, "http://packages.example.com", older.private+newer.public)))(t)
	_ = testkit.Value(p.Promote(t.Context(), binary, stable, nil))(t)
	p = testkit.Value(publisher.New(s.signing(t, "http://packages.example.com", older.private)))(t)
	for _, f := range testkit.Value(p.Verify(t.Context(), stable))(t).Findings {
		t.Errorf("%s: %s", f.Key, f.Wrong)
	}
}

// TestSignWhilePublishing has another publisher change the repository before each revision that is signed again. No
// package is signed twice, and none is lost.
func TestSignWhilePublishing(t *testing.T) {
	t.Parallel()
	const url = "http://packages.example.com"
	s := start(t)
	files := many(t, 5)
	older, newer := newPair(t), newPair(t)
	_, stop := run(t, s.signing(t, url, older.private))
	for n, file := range files {
		s.finish(t, file, file)
		s.published(t, int64(n)+1)
	}
	stop()
	other := testkit.Value(publisher.New(s.signing(t, url, older.private+newer.public)))(t)
	o := s.signing(t, url, newer.private+older.public)
	steps := map[string]int{}
	o.Step = func(what string) error {
		steps[what]++
		if what == "state" && steps[what] == 1 {
			_, err := other.Remove(t.Context(), binary, "p01")
			return err
		}
		return nil
	}
	p := testkit.Value(publisher.New(o))(t)
	state, _, err := p.Sign(t.Context(), binary)
	testkit.Must(t, err)
	if n := len(state.Entries()); n != 4 || steps["package"] != 5 || steps["state"] != 2 {
		t.Errorf("%d packages are left, steps: %v", n, steps)
	}
	valid(t, p, publisher.Binary)

	// A package that is gone, or was replaced by hand: what to do is said, and nothing is changed.
	key := binary.Path() + "/" + state.Entries()[0].Object()
	repos := s.store.Repositories()
	testkit.Must(t, repos.Remove(t.Context(), "repos/"+key))
	for _, tamper := range []bool{false, true} {
		if tamper {
			_ = testkit.Value(repos.Replace(t.Context(), "repos/"+key, testkit.Value(os.ReadFile(files[0]))(t), "",
				storage.Headers{}))(t)
		}
		if _, _, err := other.Sign(t.Context(), binary); err == nil || !strings.Contains(err.Error(), "repo rebuild") ||
			!strings.Contains(err.Error(), key) {
			t.Errorf("signed although a package is not the one that was published: %v", err)
		}
	}
	if n := testkit.Value(p.State(t.Context(), binary))(t).Revision; n != state.Revision {
		t.Errorf("revision %d became %d", state.Revision, n)
	}
}
