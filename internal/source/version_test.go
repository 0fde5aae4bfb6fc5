package source

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

// rpmCompare is rpm's own opinion.
func rpmCompare(t *testing.T, a, b string) int {
	t.Helper()
	out, err := exec.Command("rpm", "--eval", fmt.Sprintf("%%{lua:print(rpm.vercmp(%q, %q))}", a, b)).Output()
	if err != nil {
		t.Skipf("needs rpm: how versions sort goes untested; install rpm: %v", err)
	}
	n := 0
	_, err = fmt.Sscan(string(out), &n)
	testkit.Must(t, err)
	return n
}

// Each commit's package is newer than the one before, with all kinds of tags.
func TestVersionsSort(t *testing.T) {
	t.Parallel()
	w, s := gittest.New(t), newStore(t)
	spec := "Name: hello\nVersion: 0\nRelease: 3%{?dist}\nSummary: x\nLicense: MIT\n%description\nx\n%files\n"
	var all []string
	build := func(tags ...string) {
		commit := w.Commit(map[string]string{"hello.spec": spec})
		for _, tag := range tags {
			w.Git("tag", tag)
		}
		p := prepare(t, s, Request{Project: "hello", URL: w.Dir, Ref: "refs/heads/main", Commit: commit,
			Sources: rpmflow.Sources{Version: rpmflow.VersionFromGit}})
		out, err := exec.Command("rpmspec", "-q", "--srpm", "--qf", "%{version}-%{release}", "--define", "dist .fc43",
			p.Spec).Output()
		if err != nil {
			t.Skipf("needs rpmspec: what rpm makes of the version goes untested; install rpm: %v", err)
		}
		if !strings.HasPrefix(string(out), p.Version+"-") {
			t.Errorf("%s is not of version %s", out, p.Version)
		}
		all = append(all, string(out))
	}
	build("v1.1")
	for range 11 {
		build()
	}
	build("v1.2-rc1")
	build()
	build("v1.2-rc2", "v1.2") // a candidate that was found good
	build()
	build("v1.10", "unrelated")
	short := w.Git("rev-parse", "HEAD~1")[:7]
	if all[0] != "1.1-3.fc43" || all[14] != "1.2-3.fc43" || all[15] != "1.2-3.1.g"+short+".fc43" ||
		all[12] != "1.2~rc1-3.fc43" {
		t.Errorf("got %q", all)
	}
	for i := 1; i < len(all); i++ {
		v1, r1, _ := strings.Cut(all[i-1], "-")
		v2, r2, _ := strings.Cut(all[i], "-")
		for name, compare := range map[string]func(a, b string) int{
			"rpm": func(a, b string) int { return rpmCompare(t, a, b) }, "rpmfile": rpmfile.Vercmp,
		} {
			// With the distribution's suffix, and without one.
			bare := func(r string) string { return strings.TrimSuffix(r, ".fc43") }
			if c := compare(v1, v2); c > 0 || c == 0 && (compare(r1, r2) >= 0 || compare(bare(r1), bare(r2)) >= 0) {
				t.Errorf("%s: %s is not older than %s", name, all[i-1], all[i])
			}
		}
	}
}

func TestVersionFromGit(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		s := newStore(t)
		req := Request{Project: "hello", URL: url, Ref: "refs/heads/main",
			Sources: rpmflow.Sources{Version: rpmflow.VersionFromGit}}
		req.Commit = w.Commit(map[string]string{"hello.spec": plainSpec, "hello-1.0.tar.gz": "T"})
		_, err := s.Prepare(t.Context(), req, t.TempDir())
		failtest.Want(t, err, rpmflow.FailureSource, "no tag that matches v[0-9]*, [0-9]*", "git tag v0.1.0",
			"version_tags")
		w.Git("tag", "v2.0") // of a commit that was fetched before
		w.Git("tag", "hello-7")
		p := prepare(t, s, req)
		if p.Version != "2.0" || !strings.HasSuffix(p.Explanation, "; version 2.0 from the tag v2.0") {
			t.Errorf("got %q, %q", p.Version, p.Explanation)
		}
		req.Sources.VersionTags = []string{"hello-*"}
		if p = prepare(t, s, req); p.Version != "7" {
			t.Errorf("got %q", p.Version)
		}
		req.Sources.VersionTags = nil
		w.Git("commit", "--quiet", "--allow-empty", "-m", "100% of %{dangerous}\\", "--author", "B %d <b@c>")
		req.Commit = w.Git("rev-parse", "HEAD")
		p = prepare(t, s, req)
		want := strings.NewReplacer("Version: 1.0", "Version: 2.0", "Release: 1",
			"Release: 1.1.g"+req.Commit[:7]+"%{?dist}").Replace(plainSpec) +
			"\n%changelog\n* Sat Feb 03 2024 B %%d <b@c> - 2.0-1.1.g" + req.Commit[:7] +
			"\n- 100%% of %%{dangerous}\\ (B %%d, 2024-02-03)\n- x (a, 2024-02-03)\n"
		if got := content(t, p.Spec); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		again := prepare(t, s, req)
		if content(t, again.Spec) != want {
			t.Error("another time it is another spec")
		}
		text := string(expand(t, p.Spec, p.Sources))
		if !strings.Contains(text, "100% of %{dangerous}\\ (B %d") {
			t.Errorf("rpm makes this of the changelog: %s", text)
		}
	})
}

// Release is made of macros, and what rpm makes of it has the spec's own number and one suffix.
func TestReleaseOfMacros(t *testing.T) {
	t.Parallel()
	w, s := gittest.New(t), newStore(t)
	for release, want := range map[string]string{
		"%{rel}%{?dist}": "7", "%rel%{dist}": "7", "%{rel}": "7", "%{full}": "7", "7%{?dist}": "7",
		"%{?x}%{!?x:5}%{?dist}": "5", "%{?dist}": "1",
	} {
		spec := "%global rel 7\n%global full 7%{?dist}\n" + strings.Replace(plainSpec, "Release: 1",
			"Release: "+release, 1)
		commit := w.Commit(map[string]string{"hello.spec": spec, "hello-1.0.tar.gz": release})
		w.Git("tag", "--force", "v1")
		for _, since := range []bool{false, true} {
			if since {
				commit = w.Commit(map[string]string{"other": release})
				want += ".1.g" + commit[:7]
			}
			p := prepare(t, s, Request{Project: "hello", URL: w.Dir, Ref: "refs/heads/main", Commit: commit,
				Sources: rpmflow.Sources{Version: rpmflow.VersionFromGit}})
			cmd := exec.Command("rpmspec", "-q", "--srpm", "--qf", "%{version}-%{release} %{changelogname}", "--define",
				"dist .fc43", p.Spec)
			out, err := cmd.Output()
			if err != nil {
				t.Skipf("needs rpmspec: what rpm makes of the release goes untested; install rpm: %v", err)
			}
			if got := string(out); got != "1-"+want+".fc43 a <a@b> - 1-"+want {
				t.Errorf("%s: got %q, want release %s", release, got, want)
			}
		}
	}
}

// Names in a commit's own encoding are UTF-8 in the changelog.
func TestCommitsInOtherEncodings(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	w.Commit(map[string]string{"hello.spec": plainSpec, "hello-1.0.tar.gz": "T"})
	w.Git("tag", "v1")
	w.Git("-c", "i18n.commitEncoding=ISO-8859-1", "-c", "core.quotePath=false", "commit", "--quiet", "--allow-empty",
		"--author=Andr\xe9 <a@b>", "-m", "caf\xe9")
	req := request(w, w.Git("rev-parse", "HEAD"))
	req.Sources.Version = rpmflow.VersionFromGit
	text := content(t, prepare(t, newStore(t), req).Spec)
	if !strings.Contains(text, " André <a@b> - 1-1.1.g") || !strings.Contains(text, "- café (André, ") {
		t.Errorf("got %s", text)
	}
}

// Errors of the target's rpm are shown as they are.
func TestAutomatic(t *testing.T) {
	t.Parallel()
	w, s := gittest.New(t), newStore(t)
	spec := "Name: hello\nVersion: 1\nRelease: %autorelease\nSummary: x\nLicense: MIT\n%description\nx\n%files\n" +
		"%changelog\n%autochangelog\n"
	req := request(w, w.Commit(map[string]string{"hello.spec": spec}))
	p := prepare(t, s, req)
	if len(p.automatic) == 0 || !p.needsExpansion() {
		t.Fatal("not recognised")
	}
	out, err := exec.Command("rpmspec", "-P", p.Spec).CombinedOutput()
	if err != nil {
		err = &rpmflow.Failure{Kind: rpmflow.FailureSpec, Message: "rpmspec", Excerpt: strings.Split(string(out), "\n")}
	}
	_, err = p.Complete(t.Context(), &fakeRPM{text: out, err: err})
	failtest.Want(t, err, rpmflow.FailureSpec, "%autorelease and %autochangelog", "not defined in the target's",
		"version: from-git")
	known := []byte("Name: hello\nRelease: 1\n")
	if done, err := p.Complete(t.Context(), &fakeRPM{text: known}); err != nil || len(done.Notes) != 1 ||
		!strings.Contains(done.Notes[0], "version: from-git counts commits") {
		t.Errorf("got %q, %v", done.Notes, err)
	}
	w.Git("tag", "v3")
	req.Sources.Version = rpmflow.VersionFromGit
	if p = prepare(t, s, req); len(p.automatic) > 0 || p.Version != "3" {
		t.Errorf("with versions from git: %v, %q", p.automatic, p.Version)
	}
	if _, err := exec.LookPath("rpmspec"); err == nil {
		expand(t, p.Spec, filepath.Dir(p.Spec))
	}
}
