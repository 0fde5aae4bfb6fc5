package source

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sassoftware/go-rpmutils"

	"github.com/rpmflow/rpmflow"
)

func TestVersionOf(t *testing.T) {
	for tag, want := range map[string]string{
		"v1.2": "1.2", "1.2.3": "1.2.3", "V2": "2", "hello-1.2": "1.2", "hello-v1.2": "1.2", "python3-hello-1.2": "1.2", "release/1.2": "1.2", "RELEASE_1_2": "1_2",
		"v1.2-rc1": "1.2~rc1", "1.2rc1": "1.2~rc1", "1.2.0-beta.2": "1.2.0~beta.2", "1.2-alpha-3": "1.2~alpha.3", "1.0a1": "1.0~a1", "1.0b12": "1.0~b12",
		"1.0.dev3": "1.0~dev3", "1.2-SNAPSHOT": "1.2~SNAPSHOT", "1.2~rc1": "1.2~rc1", "1.1.1w": "1.1.1w", "1.2+git5": "1.2+git5", "1.2.post1": "1.2.post1",
	} {
		if got, err := versionOf(tag, defaultVersionTags()); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", tag, got, err, want)
		}
	}
	for tag, word := range map[string]string{"verbose": "has no version in it", "v1.2-3": `"-"`, "1.2:4": `":"`, "1.2é": `"é"`} {
		_, err := versionOf(tag, defaultVersionTags())
		wantFailure(t, err, rpmflow.FailureSource, word, "version_tags")
	}
	for _, tt := range []struct{ pattern, tag, want string }{
		{"n[0-9]*", "n6.1", "6.1"}, {"release-*", "release-2.5", "2.5"}, {"release-*", "release-v2.5-rc1", "2.5~rc1"}, {"v*", "v3.0.1", "3.0.1"}, {"*", "n6.1", "6.1"},
		{"log4j-*", "log4j-2.1", "2.1"}, {"log4j-2.*", "log4j-2.1", "2.1"}, {"2.*", "2.5", "2.5"}, {"n7.*", "n7.1", "7.1"}, {"R_*", "R_2_6_2", "2_6_2"},
		{"b-1.4.2", "b-1.4.2", "1.4.2"}, {"rel/**", "rel/x/1.2", "1.2"}, {"{v,r}[0-9]*", "r5", "5"}, {"curl-*", "curl-8_5_0", "8_5_0"}, {"x86-*", "x86-1.0", "1.0"},
	} {
		if got, err := versionOf(tt.tag, []string{tt.pattern}); err != nil || got != tt.want {
			t.Errorf("%s, %s: got %q, %v; want %q", tt.pattern, tt.tag, got, err, tt.want)
		}
	}
}

// rpmCompare is rpm's own opinion.
func rpmCompare(t *testing.T, a, b string) int {
	t.Helper()
	out, err := exec.Command("rpm", "--eval", fmt.Sprintf("%%{lua:print(rpm.vercmp(%q, %q))}", a, b)).Output()
	if err != nil {
		t.Skipf("needs rpm: how versions sort goes untested; install rpm: %v", err)
	}
	n := 0
	_, err = fmt.Sscan(string(out), &n)
	must(t, err)
	return n
}

// Each commit's package is newer than the one before, whatever is tagged.
func TestVersionsSort(t *testing.T) {
	w, s := newWork(t), newStore(t)
	spec := "Name: hello\nVersion: 0\nRelease: 3%{?dist}\nSummary: x\nLicense: MIT\n%description\nx\n%files\n"
	var all []string
	build := func(tags ...string) {
		commit := w.commit(map[string]string{"hello.spec": spec})
		for _, tag := range tags {
			w.git("tag", tag)
		}
		p := prepare(t, s, Request{Project: "hello", URL: w.dir, Ref: "refs/heads/main", Commit: commit, Sources: rpmflow.Sources{Version: rpmflow.VersionFromGit}})
		out, err := exec.Command("rpmspec", "-q", "--srpm", "--qf", "%{version}-%{release}", "--define", "dist .fc43", p.Spec).Output()
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
	short := w.git("rev-parse", "HEAD~1")[:7]
	if all[0] != "1.1-3.fc43" || all[14] != "1.2-3.fc43" || all[15] != "1.2-3.1.g"+short+".fc43" || all[12] != "1.2~rc1-3.fc43" {
		t.Errorf("got %q", all)
	}
	for i := 1; i < len(all); i++ {
		v1, r1, _ := strings.Cut(all[i-1], "-")
		v2, r2, _ := strings.Cut(all[i], "-")
		for name, compare := range map[string]func(a, b string) int{"rpm": func(a, b string) int { return rpmCompare(t, a, b) }, "go-rpmutils": rpmutils.Vercmp} {
			// With the distribution's suffix, and without one.
			bare := func(r string) string { return strings.TrimSuffix(r, ".fc43") }
			if c := compare(v1, v2); c > 0 || c == 0 && (compare(r1, r2) >= 0 || compare(bare(r1), bare(r2)) >= 0) {
				t.Errorf("%s: %s is not older than %s", name, all[i-1], all[i])
			}
		}
	}
}

func TestVersionFromGit(t *testing.T) {
	transports(t, func(t *testing.T, w *work, url string) {
		s := newStore(t)
		req := Request{Project: "hello", URL: url, Ref: "refs/heads/main", Sources: rpmflow.Sources{Version: rpmflow.VersionFromGit}}
		req.Commit = w.commit(map[string]string{"hello.spec": plainSpec, "hello-1.0.tar.gz": "T"})
		_, err := s.Prepare(t.Context(), req, t.TempDir())
		wantFailure(t, err, rpmflow.FailureSource, "no tag that matches v[0-9]*, [0-9]*", "git tag v0.1.0", "version_tags")
		w.git("tag", "v2.0") // of a commit that was fetched before
		w.git("tag", "hello-7")
		p := prepare(t, s, req)
		if p.Version != "2.0" || !strings.HasSuffix(p.Explanation, "; version 2.0 from the tag v2.0") {
			t.Errorf("got %q, %q", p.Version, p.Explanation)
		}
		req.Sources.VersionTags = []string{"hello-*"}
		if p = prepare(t, s, req); p.Version != "7" {
			t.Errorf("got %q", p.Version)
		}
		req.Sources.VersionTags = nil
		w.git("commit", "--quiet", "--allow-empty", "-m", "100% of %{dangerous}\\", "--author", "B %d <b@c>")
		req.Commit = w.git("rev-parse", "HEAD")
		p = prepare(t, s, req)
		want := strings.NewReplacer("Version: 1.0", "Version: 2.0", "Release: 1", "Release: 1.1.g"+req.Commit[:7]+"%{?dist}").Replace(plainSpec) +
			"\n%changelog\n* Sat Feb 03 2024 B %%d <b@c> - 2.0-1.1.g" + req.Commit[:7] + "\n- 100%% of %%{dangerous}\\ (B %%d, 2024-02-03)\n- x (a, 2024-02-03)\n"
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

func TestEditSpec(t *testing.T) {
	v := &gitVersion{tag: "v2", version: "2", commits: 3, commit: strings.Repeat("c", 40), author: "A", time: time.Date(2024, 2, 3, 23, 0, 0, 0, time.UTC),
		log: []logged{{author: "A", mail: "a@b", subject: "s", time: time.Date(2024, 2, 3, 0, 0, 0, 0, time.UTC)}}}
	entry := "* Sat Feb 03 2024 A <a@b> - 2-1.3.gccccccc\n- s (A, 2024-02-03)\n"
	for name, tt := range map[string]struct{ in, want string }{
		"spaces and case":  {"NAME: a\n version :\t1 \nrelease:1\n%description\nVersion: x\n%changelog\n", "NAME: a\n version :\t2 \nrelease:1.3.gccccccc%{?dist}\n%description\nVersion: x\n%changelog\n" + entry},
		"carriage returns": {"Version: 1\r\nRelease: 1\r\n%changelog\r\n", "Version: 2\r\nRelease: 1.3.gccccccc%{?dist}\r\n%changelog\r\n" + entry},
		"number":           {"Version: 1\nRelease: 12%{?dist}.2\n%changelog", "Version: 2\nRelease: 12.3.gccccccc%{?dist}\n%changelog\n" + strings.Replace(entry, "2-1", "2-12", 1)},
		"a macro":          {"Version: 1\n%global rel 7\nRelease: %{rel}%{?dist}\n%changelog\n", "Version: 2\n%global rel 7\nRelease: %{rel}.3.gccccccc%{?dist}\n%changelog\n" + strings.Replace(entry, "2-1", "2-%{rel}", 1)},
		"parts":            {"Version: 1\nRelease: 0.1.%{pre}%dist\n%changelog\n", "Version: 2\nRelease: 0.1.%{pre}.3.gccccccc%{?dist}\n%changelog\n" + strings.Replace(entry, "2-1", "2-0.1.%{pre}", 1)},
		"autorelease":      {"Version: 1\nRelease: %autorelease\n%changelog\n%autochangelog\n", "Version: 2\nRelease: 1.3.gccccccc%{?dist}\n%changelog\n" + entry},
		"autorelease -b":   {"Version: 1\nRelease: %{autorelease -b 7}\n%changelog\n%{?autochangelog}\n", "Version: 2\nRelease: 7.3.gccccccc%{?dist}\n%changelog\n" + strings.Replace(entry, "2-1", "2-7", 1)},
		"macro bodies": {"%define x() \\\nVersion: 5 \\\n%nil\n%{lua:\nprint([[Version: 6\n]])\nRelease: 7\n}\n%if 1\n%global a b\n%endif\nVersion: 1\nRelease: 1\n# Version: 9 %{\n%package x\nVersion: 3\n%changelog\n",
			"%define x() \\\nVersion: 5 \\\n%nil\n%{lua:\nprint([[Version: 6\n]])\nRelease: 7\n}\n%if 1\n%global a b\n%endif\nVersion: 2\nRelease: 1.3.gccccccc%{?dist}\n# Version: 9 %{\n%package x\nVersion: 3\n%changelog\n" + entry},
		"a newer entry": {"Version: 1\nRelease: 1\n%changelog\n* Wed Mar 06 2024 B <b@c> - 1-1\n- x\n",
			"Version: 2\nRelease: 1.3.gccccccc%{?dist}\n%changelog\n" + strings.Replace(entry, "Sat Feb 03", "Wed Mar 06", 1) + "\n* Wed Mar 06 2024 B <b@c> - 1-1\n- x\n"},
	} {
		got, err := v.edit(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %v\n%s\nwant\n%s", name, err, got, tt.want)
		}
	}
	for in, word := range map[string]string{
		"Version: 1\n%if 0\nRelease: 1\n%endif\n":          "line 3, Release, stands in a conditional",
		"%ifarch x86_64\nVersion: 1\n%endif\nRelease: 1\n": "line 2, Version, stands in a conditional",
		"Version: 1\nVersion: 2\nRelease: 1\n":             "lines 1 and 2 both are its Version",
		"Release: 1\n":                                     "no line Version:",
		"Version: 1\n":                                     "no line Release:",
		"%{lua:\nprint('x')\nVersion: 1\n}\nRelease: 1\n":  "no line Version:",
		"Version: 1\n%description\nRelease: 1\n":           "no line Release:",
		"Version: 1\nRelease: 1\n%changelog\n%changelog\n": "two %changelog sections",
		"%define x \\\nVersion: 1\nRelease: 1\n":           "no line Version:",
		"%{?x:\nVersion: 1\n}\nRelease: 1\n":               "no line Version:",
	} {
		_, err := v.edit(in)
		wantFailure(t, err, rpmflow.FailureSpec, word, "version: from-git")
	}
}

func FuzzEditSpec(f *testing.F) {
	f.Add("Version: 1\nRelease: 1\n%changelog\n", "subject", "v1.2-rc1")
	f.Add("%if 1\nVersion: 1\n%endif\n%{lua:\n", "100%\\", "1.0b2")
	f.Fuzz(func(t *testing.T, spec, subject, tag string) {
		version, err := versionOf(tag, nil)
		if err != nil {
			return
		}
		if !rpmVersion.MatchString(version) {
			t.Fatalf("version %q", version)
		}
		v := &gitVersion{tag: tag, version: version, commit: strings.Repeat("c", 40), author: subject, log: []logged{{author: subject, mail: subject, subject: subject}}}
		for line := range strings.Lines(v.entry("1", time.Time{})) {
			if strings.HasSuffix(strings.TrimSuffix(line, "\n"), `\`) || strings.Contains(strings.ReplaceAll(line, "%%", ""), "%") {
				t.Fatalf("rpm would read %q as more than text", line)
			}
		}
		got, err := v.edit(spec)
		if err == nil && strings.Count(got, "\n") < strings.Count(spec, "\n")-1 {
			t.Fatalf("lines are missing: %q", got)
		}
	})
}

// Release is made of macros, and what rpm makes of it has the spec's own number and one suffix.
func TestReleaseOfMacros(t *testing.T) {
	w, s := newWork(t), newStore(t)
	for release, want := range map[string]string{
		"%{rel}%{?dist}": "7", "%rel%{dist}": "7", "%{rel}": "7", "%{full}": "7", "7%{?dist}": "7", "%{?x}%{!?x:5}%{?dist}": "5", "%{?dist}": "1",
	} {
		spec := "%global rel 7\n%global full 7%{?dist}\n" + strings.Replace(plainSpec, "Release: 1", "Release: "+release, 1)
		commit := w.commit(map[string]string{"hello.spec": spec, "hello-1.0.tar.gz": release})
		w.git("tag", "--force", "v1")
		for _, since := range []bool{false, true} {
			if since {
				commit = w.commit(map[string]string{"other": release})
				want += ".1.g" + commit[:7]
			}
			p := prepare(t, s, Request{Project: "hello", URL: w.dir, Ref: "refs/heads/main", Commit: commit, Sources: rpmflow.Sources{Version: rpmflow.VersionFromGit}})
			cmd := exec.Command("rpmspec", "-q", "--srpm", "--qf", "%{version}-%{release} %{changelogname}", "--define", "dist .fc43", p.Spec)
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
	w := newWork(t)
	w.commit(map[string]string{"hello.spec": plainSpec, "hello-1.0.tar.gz": "T"})
	w.git("tag", "v1")
	w.git("-c", "i18n.commitEncoding=ISO-8859-1", "-c", "core.quotePath=false", "commit", "--quiet", "--allow-empty", "--author=Andr\xe9 <a@b>", "-m", "caf\xe9")
	req := w.request(w.git("rev-parse", "HEAD"))
	req.Sources.Version = rpmflow.VersionFromGit
	text := content(t, prepare(t, newStore(t), req).Spec)
	if !strings.Contains(text, " André <a@b> - 1-1.1.g") || !strings.Contains(text, "- café (André, ") {
		t.Errorf("got %s", text)
	}
}

// What the target's rpm does not know is said as it is.
func TestAutomatic(t *testing.T) {
	w, s := newWork(t), newStore(t)
	spec := "Name: hello\nVersion: 1\nRelease: %autorelease\nSummary: x\nLicense: MIT\n%description\nx\n%files\n%changelog\n%autochangelog\n"
	req := w.request(w.commit(map[string]string{"hello.spec": spec}))
	p := prepare(t, s, req)
	if !p.Automatic() {
		t.Fatal("not recognised")
	}
	out, err := exec.Command("rpmspec", "-P", p.Spec).CombinedOutput()
	if err != nil {
		err = &rpmflow.Failure{Kind: rpmflow.FailureSpec, Message: "rpmspec", Excerpt: strings.Split(string(out), "\n")}
	}
	_, err = p.CheckAutomatic(out, err)
	wantFailure(t, err, rpmflow.FailureSpec, "%autorelease and %autochangelog", "does not know", "version: from-git")
	if remark, err := p.CheckAutomatic([]byte("Release: 1\n"), nil); err != nil || !strings.Contains(remark, "version: from-git counts commits") {
		t.Errorf("got %q, %v", remark, err)
	}
	w.git("tag", "v3")
	req.Sources.Version = rpmflow.VersionFromGit
	if p = prepare(t, s, req); p.Automatic() || p.Version != "3" {
		t.Errorf("with versions from git: %v, %q", p.automatic, p.Version)
	}
	if _, err := exec.LookPath("rpmspec"); err == nil {
		expand(t, p.Spec, filepath.Dir(p.Spec))
	}
}
