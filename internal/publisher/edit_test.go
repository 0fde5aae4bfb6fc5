package publisher_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// many builds this many packages at once, p01 and so on.
func many(t *testing.T, count int) (files []string) {
	t.Helper()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skipf("needs rpmbuild: %v", err)
	}
	dir := t.TempDir()
	var spec strings.Builder
	spec.WriteString("Name: many\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n" +
		"%description\nd\n")
	for n := range count {
		fmt.Fprintf(&spec, "%%package -n p%02d\nSummary: s\n%%description -n p%02d\nd\n%%files -n p%02d\n", n, n, n)
	}
	file := testkit.Write(t, filepath.Join(dir, "many.spec"), spec.String())
	out, err := exec.Command("rpmbuild", "-bb", "--define", "_topdir "+dir, "--define",
		"_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm", file).CombinedOutput()
	if err != nil {
		t.Fatalf("rpmbuild: %v: %s", err, out)
	}
	files, _ = filepath.Glob(filepath.Join(dir, "RPMS", "*.rpm"))
	return files
}

// TestManyPublishers has three publishers publish builds that end at the same time: none is lost, none is twice in the
// repository, and every revision is valid.
func TestManyPublishers(t *testing.T) {
	t.Parallel()
	s := start(t)
	files := many(t, 24)
	var p *publisher.Publisher
	for range 3 {
		p, _ = run(t, s.options(t))
	}
	for _, file := range files {
		s.finish(t, file, file)
	}
	testkit.Until(t, func() error {
		state, err := p.State(t.Context(), binary)
		if err != nil {
			return err
		}
		if n := len(state.Entries()); n != len(files) {
			return fmt.Errorf("%d of %d packages are published", n, len(files))
		}
		return nil
	})
	s.published(t, testkit.Value(p.State(t.Context(), binary))(t).Revision)
	valid(t, p, publisher.Binary)
}

func TestRollbackPinAndRemove(t *testing.T) {
	t.Parallel()
	s := start(t)
	o := s.options(t)
	now := time.Now()
	o.Now = func() time.Time { return now }
	p, stop := run(t, o)
	files := many(t, 6)
	for n, file := range files[:3] {
		s.finish(t, file, file)
		s.published(t, int64(n)+1)
	}
	stop()
	list := func() string {
		body, _, err := s.store.Open(t.Context(), "repos/demo/fedora-43-x86_64/mirrorlist")
		testkit.Must(t, err)
		defer body.Close()
		raw := make([]byte, 200)
		n, _ := body.Read(raw)
		return string(raw[:n])
	}
	shows := func(number int64) {
		t.Helper()
		if !strings.Contains(list(), fmt.Sprintf("/r/%d-", number)) {
			t.Errorf("the mirrorlist is %q, and should name revision %d", list(), number)
		}
		valid(t, p, publisher.Binary)
	}
	shows(3)
	if _, err := p.Rollback(t.Context(), binary, 9); err == nil || !strings.Contains(err.Error(), "no revision 9") {
		t.Errorf("back to a revision that is not there: %v", err)
	}
	_, err := p.Rollback(t.Context(), binary, 1)
	testkit.Must(t, err)
	shows(1)
	_, err = p.Pin(t.Context(), binary, 1, true)
	testkit.Must(t, err)

	if _, err := p.Remove(t.Context(), binary, "p00", "p99"); err == nil || !strings.Contains(err.Error(), "p99") {
		t.Errorf("a package that is not there is removed: %v", err)
	}
	removed := testkit.Value(p.Remove(t.Context(), binary, "p00"))(t)
	if len(removed) != 1 || removed[0] != "p00-1-1.noarch" {
		t.Errorf("removed: %v", removed)
	}
	shows(4) // a new revision ends the rollback

	// Three days later revisions that were replaced are removed, but the pinned one and the newest three.
	now = now.Add(72 * time.Hour)
	p, _ = run(t, o)
	s.finish(t, files[3], files[3])
	testkit.Until(t, func() error {
		var numbers []int64
		for _, r := range testkit.Value(p.State(t.Context(), binary))(t).Revisions {
			numbers = append(numbers, r.Number)
		}
		if !slices.Equal(numbers, []int64{1, 3, 4, 5}) {
			return fmt.Errorf("revisions: %v", numbers)
		}
		return nil
	})
	testkit.Until(t, func() error {
		if findings := testkit.Value(p.Verify(t.Context(), binary))(t).Findings; len(findings) > 0 {
			return fmt.Errorf("findings: %v", findings)
		}
		return nil
	})
}

func TestRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	o := s.options(t)
	rules := rpmflow.Publish{On: true, RefuseLower: true}
	o.Rules = func(string) rpmflow.Publish { return rules }
	p, _ := run(t, o)
	good := binaries(rpms(t, "hello", "2"))
	s.finish(t, "good", good...)
	s.published(t, 1)

	refusedAs := func(id, why string, change func(*rpmflow.Build), files ...string) {
		t.Helper()
		b := s.finishAs(t, id, change, files...)
		testkit.Until(t, func() error {
			pub := s.published(t, 1)
			for _, r := range pub.Refused {
				if r.Build == b.ID && strings.Contains(r.Reason, why) && r.Hint != "" {
					return nil
				}
			}
			return fmt.Errorf("refused: %+v", pub.Refused)
		})
	}
	refused := func(id, why string, files ...string) {
		t.Helper()
		refusedAs(id, why, nil, files...)
	}
	refused("same", "has published another package", binaries(rpms(t, "hello", "2"))...)
	refused("lower", "is published, which is newer", binaries(rpms(t, "hello", "1"))...)
	damaged := testkit.Write(t, filepath.Join(t.TempDir(), "damaged-1.noarch.rpm"), "not an RPM")
	refused("damaged", "not a valid RPM", damaged)
	refused("other architecture", "it is of architecture aarch64", foreign(t))
	other := binaries(rpms(t, "other", "1"))
	refusedAs("gone", "no such object", func(b *rpmflow.Build) { b.Artifacts[0].Key += "-gone" }, other...)
	refusedAs("altered", "it is not what was stored", func(b *rpmflow.Build) {
		b.Artifacts[0].SHA256 = rpmflow.Digest([]byte("x"))
	}, other...)
	refusedAs("renamed", "its header says", func(b *rpmflow.Build) { b.Artifacts[0].NEVRA = "g-1-1.noarch" }, other...)
	refusedAs("longer", "it is not what was stored", func(b *rpmflow.Build) { b.Artifacts[0].Size-- }, other...)
	refusedAs("outside", "cannot be part", func(b *rpmflow.Build) { b.Artifacts[0].Name = "../other.rpm" }, other...)
	valid(t, p, publisher.Binary)
}

func TestRebuildAndPromote(t *testing.T) {
	t.Parallel()
	s := start(t)
	p, stop := run(t, s.options(t))
	files := many(t, 3)
	var builds []string
	for n, file := range files {
		builds = append(builds, s.finish(t, file, file).ID)
		s.published(t, int64(n)+1)
	}
	stop()
	known(t, s)

	stable := publisher.Place{Project: "stable", Target: binary.Target}
	copied := testkit.Value(p.Promote(t.Context(), binary, stable, builds[:2]))(t)
	if !slices.Equal(copied, []string{"p00-1-1.noarch", "p01-1-1.noarch"}) {
		t.Errorf("promoted: %v", copied)
	}
	for _, f := range testkit.Value(p.Verify(t.Context(), stable))(t).Findings {
		t.Errorf("%s: %s", f.Key, f.Wrong)
	}
	if _, err := p.Promote(t.Context(), binary, stable, []string{"none"}); err == nil {
		t.Error("a build that is not there is promoted")
	}
	// What commands show of an id is enough. An empty one, such as an empty variable of a script, is none.
	third := publisher.Place{Project: "third", Target: binary.Target}
	copied = testkit.Value(p.Promote(t.Context(), binary, third, []string{builds[2][:8]}))(t)
	if !slices.Equal(copied, []string{"p02-1-1.noarch"}) {
		t.Errorf("promoted by the beginning of an id: %v", copied)
	}
	for _, none := range []string{"", builds[2][:3], builds[2] + "0"} {
		if _, err := p.Remove(t.Context(), third, none); err == nil || !strings.Contains(err.Error(), "has no ") {
			t.Errorf("removed %q: %v", none, err)
		}
	}
	removed := testkit.Value(p.Remove(t.Context(), third, builds[2][:8]))(t)
	if !slices.Equal(removed, copied) {
		t.Errorf("removed by the beginning of an id: %v", removed)
	}

	// Somebody has damaged the state: nothing can be published until the repository is made again.
	repos := s.store.Repositories()
	const key = "repos/demo/fedora-43-x86_64/state.zst"
	_, version, err := repos.Read(t.Context(), key, 1<<20)
	testkit.Must(t, err)
	_, err = repos.Replace(t.Context(), key, []byte("garbage"), version, storage.Headers{})
	testkit.Must(t, err)
	if _, err := p.State(t.Context(), binary); err == nil || !strings.Contains(err.Error(), "state of a repository") {
		t.Errorf("a damaged state: %v", err)
	}
	made, err := p.Rebuild(t.Context(), binary, false)
	testkit.Must(t, err)
	if len(made.Refused)+len(made.Lost) > 0 || made.Revision != 4 || len(made.Entries()) != len(files) {
		t.Errorf("made again: revision %d, %d packages, refused %v", made.Revision, len(made.Entries()), made.Refused)
	}
	valid(t, p, publisher.Binary)
}

// known gives names as users may type them: those that are configured or have a repository are right.
func known(t *testing.T, s *system) {
	t.Helper()
	o := s.options(t)
	o.Projects = []rpmflow.Project{{Name: "hello", Targets: []string{"host"}}}
	p := testkit.Value(publisher.New(o))(t)
	for names, want := range map[[2]string]string{
		{}: "", {"hello"}: "", {"hello", "host"}: "", {"demo"}: "", {"demo", binary.Target}: "",
		{"helo"}:                     `project "helo" is not known: did you mean hello? known are: demo, hello`,
		{"hello", binary.Target}:     `project "hello": target "` + binary.Target + `" is not known: known are: host`,
		{"demo", "fedora-34-x86_64"}: `project "demo": target "fedora-34-x86_64" is not known: did you mean fedora-43`,
	} {
		got := ""
		if err := p.Known(t.Context(), names[0], names[1]); err != nil {
			what, do := hint.Split(err)
			got = what + ": " + do
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%q: %q", names, got)
		}
	}
}
