package e2e_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/test/system"
)

// TestMistakesOfThePackager pushes packages that cannot be built: each ends in its own kind, with words that lead to
// the fix, at once and not after retries, and with a log.
func TestMistakesOfThePackager(t *testing.T) {
	t.Parallel()
	with := func(change map[string]string) map[string]string {
		files := maps.Clone(inTree())
		maps.Copy(files, change)
		for name, content := range files {
			if content == "" {
				delete(files, name)
			}
		}
		return files
	}
	spec := func(old, replacement string) map[string]string {
		return with(map[string]string{"rpm/greet.spec": strings.Replace(greetSpec, old, replacement, 1)})
	}
	cases := []struct {
		name    string
		files   map[string]string
		kind    rpmflow.FailureKind
		phase   rpmflow.Phase
		message string // in message, hint or excerpt
		engines string
	}{
		{"no spec", with(map[string]string{"rpm/greet.spec": ""}), rpmflow.FailureSource, rpmflow.PhaseSources,
			"no spec",
			"mock rpmbuild"},
		{"two specs", with(map[string]string{"rpm/other.spec": greetSpec}), rpmflow.FailureSource, rpmflow.PhaseSources,
			"rpm/other.spec", "mock rpmbuild"},
		{"unparsable spec", spec("%prep", "%if 1\n%prep"), rpmflow.FailureSpec, rpmflow.PhaseSRPM, "%if",
			"mock rpmbuild"},
		{"missing source", spec("Source1:        notes.txt", "Source1:        absent.txt"), rpmflow.FailureSource,
			rpmflow.PhaseSRPM, "absent.txt", "mock rpmbuild"},
		{"unknown BuildRequires", spec("BuildRequires:  make", "BuildRequires:  nosuch-package-devel"),
			rpmflow.FailureDependencies, rpmflow.PhaseDependencies, "nosuch-package-devel", "mock"},
		{"failing build", with(map[string]string{"greet.c": "int main(void) { return undeclared; }\n"}),
			rpmflow.FailureBuild,
			rpmflow.PhaseRPMs, "undeclared", "mock rpmbuild"},
		{"unpackaged file", spec("%{_bindir}/greet\n\n", "\n"), rpmflow.FailureBuild, rpmflow.PhaseRPMs, "npackaged",
			"mock rpmbuild"},
	}
	for _, engine := range []string{"mock", "rpmbuild"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			r := system.NewRepository(t)
			s := system.Start(t, engine, r.Project("greet", ""))
			r.Announce(t, s, "greet")
			for _, tc := range cases {
				if !strings.Contains(tc.engines, engine) {
					continue
				}
				t.Run(tc.name, func(t *testing.T) {
					r.Push(t, tc.files)
					b := s.Finished(t).Build
					o := b.Outcome
					if o.Result != rpmflow.Failed || o.Kind != tc.kind || o.Phase != tc.phase || b.Attempt != 1 {
						t.Errorf("attempt %d: %s, kind %s in phase %s: %s", b.Attempt, o.Result, o.Kind, o.Phase,
							o.Message)
					}
					said := strings.Join(append([]string{o.Message, o.Hint}, o.Excerpt...), "\n")
					if !strings.Contains(said, tc.message) || o.Hint == "" {
						t.Errorf("nothing of %q in what is printed:\n%s", tc.message, said)
					}
					if log := system.FetchLog(t, s, b); !strings.Contains(log, tc.message) {
						t.Errorf("nothing of %q in build.log:\n%s", tc.message, log)
					}
				})
			}
			if engine == "mock" {
				system.NothingLeft(t, s)
			}
		})
	}
}

// TestPushesThatBuildNothing are answered with the reason, in the words that git shows to the user who pushes.
func TestPushesThatBuildNothing(t *testing.T) {
	t.Parallel()
	r := system.NewRepository(t)
	s := system.Start(t, "rpmbuild", r.Project("greet", ""))
	r.Announce(t, s, "greet")
	r.Push(t, inTree())
	s.Finished(t)

	system.Git(t, r.Tree, "checkout", "--quiet", "-b", "topic")
	if answer := r.Push(t, inTree(), "topic"); !strings.Contains(answer, `branch "topic" is not built`) {
		t.Errorf("a branch that is not configured: %s", answer)
	}
	if answer := system.Git(t, r.Tree, "push", "origin", ":topic"); !strings.Contains(answer,
		"refs/heads/topic was deleted") {
		t.Errorf("a deleted branch: %s", answer)
	}
	system.Git(t, r.Tree, "tag", "v1")
	if answer := system.Git(t, r.Tree, "push", "origin", "v1"); !strings.Contains(answer, `tag "v1" is not built`) {
		t.Errorf("a tag: %s", answer)
	}
	if builds := system.List(t, s, ""); len(builds) != 1 {
		t.Errorf("%d builds", len(builds))
	}
}

// TestTheSameCommitGivesTheSameBytes builds one commit twice in clean roots.
func TestTheSameCommitGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	r := system.NewRepository(t)
	s := system.Start(t, "mock", r.Project("greet", "  tags: ['*']\n"))
	r.Announce(t, s, "greet")
	r.Push(t, inTree())
	first := s.Finished(t).Build
	system.Git(t, r.Tree, "tag", "again")
	system.Git(t, r.Tree, "push", "origin", "again")
	second := s.Finished(t).Build
	if first.Commit != second.Commit || first.ID == second.ID || first.Outcome.Result != rpmflow.Succeeded ||
		second.Outcome.Result != rpmflow.Succeeded {
		t.Fatalf("%s: %+v, %s: %+v", first.Commit, first.Outcome, second.Commit, second.Outcome)
	}
	sums := map[string]string{}
	for _, a := range first.Artifacts {
		if a.Kind != rpmflow.KindLog {
			sums[a.Name] = a.SHA256
		}
	}
	for _, a := range second.Artifacts {
		if a.Kind != rpmflow.KindLog && sums[a.Name] != a.SHA256 {
			t.Errorf("%s: %s, and then %s", a.Name, sums[a.Name], a.SHA256)
		}
	}
}

// TestGeneratedBuildRequires builds a package that asks for another one while it is prepared: its own code has no
// network, so what it asks for is installed apart from it.
func TestGeneratedBuildRequires(t *testing.T) {
	t.Parallel()
	more := "zlib-devel"
	if os.Getenv("MOCK_IMAGE") == "" {
		more = "zstd" // what the stand-in can install
	}
	r := system.NewRepository(t)
	s := system.Start(t, "mock", r.Project("greet", ""))
	r.Announce(t, s, "greet")
	files := inTree()
	files["rpm/greet.spec"] = strings.Replace(greetSpec, "%build\n",
		"%generate_buildrequires\necho "+more+"\n\n%build\n",
		1)
	r.Push(t, files)
	b := s.Finished(t).Build
	if b.Outcome.Result != rpmflow.Succeeded {
		t.Fatalf("%+v\n%s", *b.Outcome, system.FetchLog(t, s, b))
	}
	if len(b.Packages) != 3 {
		t.Errorf("packages: %+v", b.Packages)
	}
	i := slices.IndexFunc(b.Artifacts, func(a rpmflow.Artifact) bool { return a.Name == "installed_pkgs.log" })
	if i < 0 || !strings.Contains(system.Gunzip(t, system.Object(t, s, b.Artifacts[i].Key)), more) {
		t.Errorf("%s is not among the installed packages", more)
	}

	files["rpm/greet.spec"] = strings.Replace(files["rpm/greet.spec"], "echo "+more, "echo nosuch-package-devel", 1)
	r.Push(t, files)
	o := s.Finished(t).Build.Outcome
	if o.Kind != rpmflow.FailureDependencies || !strings.Contains(o.Message, "nosuch-package-devel") {
		t.Errorf("an unknown one: %+v", *o)
	}
	system.NothingLeft(t, s)
}
