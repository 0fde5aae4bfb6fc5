package local_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/hostrpm"
	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/local"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) {
	lifeline.Main(nil)
	goleak.VerifyTestMain(m)
}

// python is a Python that has rpm's own module.
func python(t *testing.T) string {
	t.Helper()
	for _, p := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(p, "-c", "import rpm").Run() == nil {
			return p
		}
	}
	t.Skip("needs Python's module rpm (python3-rpm): rpm's own view of a spec")
	return ""
}

// asRPM is what rpm's library makes of a spec, in JSON.
const asRPM = `
import json, rpm, sys
spec, sources, expressions, defines = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
rpm.addMacro("_sourcedir", sources)
for name, value in defines:
    rpm.addMacro(name, value)
s = rpm.spec(spec)
print(json.dumps({
    # the flags say whether it is a source (1) or a patch (2)
    "files": sorted([bool(flags & 2), number, name] for name, number, flags in s.sources),
    "values": [rpm.expandMacro(e) for e in expressions],
}))
`

// The expressions are evaluated in every spec. Some of them mean something to shells, to Lua, or to code that looks for
// braces.
var expressions = []string{
	"%{name}-%{version}", "%{?epoch}%{!?epoch:none}", "%{NVR}", "%{SOURCE0}", "%{?SOURCEURL1}", "%%{name}", "}%{name}{",
	"%{lua:print(1+1)}", "%(echo a b)",
	"\"'`$(id)\\ \\\\n [[ ]] ]==]", "%{expand:%{name}}\n%{version}", "ü", "",
}

// TestAgreesWithRPM compares every answer with rpmspec's own, and where rpmspec has none, with that of rpm's library.
func TestAgreesWithRPM(t *testing.T) {
	t.Parallel()
	py := python(t)
	engine, err := hostrpm.New(t.Context(), "")
	if err != nil {
		t.Skipf("needs rpmspec: %v", err)
	}
	dir, err := filepath.Abs("testdata/specs")
	testkit.Must(t, err)
	specs, err := filepath.Glob(filepath.Join(dir, "*.spec"))
	testkit.Must(t, err)
	if len(specs) < 8 {
		t.Fatalf("only %d specs", len(specs))
	}
	macros := []rpmflow.Macro{{Name: "level", Value: "2"}, {Name: "dist", Value: ".el9"}}
	options := []rpmflow.Options{{}, {With: []string{"tests"}, Without: []string{"docs"}, Macros: macros}}
	for _, file := range specs {
		for i, o := range options {
			if i > 0 && !strings.Contains("conditional.spec plain.spec", filepath.Base(file)) {
				continue
			}
			asked := expressions
			if filepath.Base(file) != "plain.spec" {
				asked = expressions[:5]
			}
			t.Run(fmt.Sprintf("%s/%d", filepath.Base(file), i), func(t *testing.T) {
				t.Parallel()
				s := openSpec(t, local.SpecRequest{Engine: engine, Target: rpmflow.Target{Name: "host"}, Options: o,
					File: file})
				top, err := s.Eval(t.Context(), "%{_topdir}")
				testkit.Must(t, err)
				args := []string{"--define", "_sourcedir " + dir, "--define", "_topdir " + top}
				defines := [][]string{}
				for _, m := range o.Definitions() {
					args = append(args, "--define", m.String())
					defines = append(defines, []string{m.Name, m.Value})
				}
				rpmspec := func(more ...string) string {
					return run(t, "rpmspec", append(append(args, more...),
						file)...)
				}

				agree(t, s, rpmspec)
				var want struct {
					Files  [][3]any
					Values []string
				}
				answer := run(t, py, "-c", asRPM, file, dir, encode(t, asked), encode(t, defines))
				testkit.Must(t, json.Unmarshal([]byte(answer), &want))
				sources, err := s.Sources(t.Context())
				testkit.Must(t, err)
				got := map[string]bool{}
				for _, l := range sources {
					got[fmt.Sprint(l.Patch, l.Number, l.Value)] = true
				}
				if len(got) != len(want.Files) {
					t.Errorf("sources: %+v, rpm has %v", sources, want.Files)
				}
				for _, f := range want.Files {
					if !got[fmt.Sprint(f[0], f[1], f[2])] {
						t.Errorf("sources: %v is not among %+v", f, sources)
					}
				}
				for i, e := range asked {
					value, err := s.Eval(t.Context(), e)
					if err != nil {
						t.Errorf("eval %q: %v", e, err)
						continue
					}
					same(t, "eval "+e, value, want.Values[i])
				}
			})
		}
	}
}

// agree compares the answers with what rpmspec prints about the same spec.
func agree(t *testing.T, s *local.Spec, rpmspec func(args ...string) string) {
	t.Helper()
	text, err := s.Expanded(t.Context())
	testkit.Must(t, err)
	same(t, "expanded", string(text), rpmspec("-P"))
	lines, err := s.Requires(t.Context())
	testkit.Must(t, err)
	same(t, "requires", joined(lines), rpmspec("-q", "--requires"))
	lines, err = s.BuildRequires(t.Context())
	testkit.Must(t, err)
	same(t, "build-requires", joined(lines), rpmspec("-q", "--buildrequires"))
	lines, err = s.Provides(t.Context())
	testkit.Must(t, err)
	same(t, "provides", joined(lines), rpmspec("-q", "--provides"))
	packages, err := s.Packages(t.Context())
	testkit.Must(t, err)
	var names, full []string
	for _, p := range packages {
		names, full = append(names, p.Name), append(full, p.NEVRA())
	}
	same(t, "packages", joined(names), rpmspec("-q", "--qf", `%{NAME}\n`))
	same(t, "nevra", joined(full), rpmspec("-q", "--qf", `%{NEVRA}\n`))
	sources, err := s.Sources(t.Context())
	testkit.Must(t, err)
	var basenames []string
	for _, l := range sources {
		basenames = append(basenames, l.Name())
	}
	// As rpm names the files in the source package.
	listed := strings.Fields(rpmspec("-q", "--srpm", "--qf", `[%{SOURCE}\n][%{PATCH}\n]`))
	if !reflect.DeepEqual(sorted(basenames), sorted(listed)) {
		t.Errorf("files %q, rpm has %q", basenames, listed)
	}
}

func openSpec(t *testing.T, req local.SpecRequest) *local.Spec {
	t.Helper()
	place, err := local.OpenPlace(t.TempDir())
	testkit.Must(t, err)
	work, err := place.Begin()
	testkit.Must(t, err)
	t.Cleanup(func() { testkit.Must(t, work.End()) })
	var log bytes.Buffer
	req.Log = &log
	s, err := local.OpenSpec(t.Context(), req, work)
	testkit.Must(t, err)
	t.Cleanup(func() { testkit.Must(t, s.Close(t.Context())) })
	return s
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, rpm says %q", what, got, want)
	}
}

func joined(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
	return b.String()
}

func sorted(list []string) map[string]int {
	m := map[string]int{}
	for _, l := range list {
		m[l]++
	}
	return m
}

func encode(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	testkit.Must(t, err)
	return string(text)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("%s %q: %v: %s", name, args, err, exit.Stderr)
	}
	testkit.Must(t, err)
	return string(out)
}

// TestBadSpecs checks the errors for specs that cannot be queried.
func TestBadSpecs(t *testing.T) {
	t.Parallel()
	engine, err := hostrpm.New(t.Context(), "")
	if err != nil {
		t.Skipf("needs rpmspec: %v", err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		testkit.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		return filepath.Join(dir, name)
	}
	s := openSpec(t, local.SpecRequest{Engine: engine, File: write("open.spec", "Name: open\n%if 1\n")})
	whole := openSpec(t, local.SpecRequest{Engine: engine, File: "testdata/specs/nothing.spec"})
	for what, ask := range map[string]func() error{
		"sources": func() error { _, err := s.Sources(t.Context()); return err },
		"eval":    func() error { _, err := s.Eval(t.Context(), "%{name}"); return err },
		"macro":   func() error { _, err := whole.Eval(t.Context(), "%{name"); return err },
	} {
		var f *rpmflow.Failure
		if err := ask(); !errors.As(err, &f) || f.Kind != rpmflow.FailureSpec || f.Hint == "" {
			t.Errorf("%s of a spec that does not end: %v", what, err)
		}
	}
	place, err := local.OpenPlace(t.TempDir())
	testkit.Must(t, err)
	for _, name := range []string{"none.spec", "."} {
		work, err := place.Begin()
		testkit.Must(t, err)
		request := local.SpecRequest{Engine: engine, File: filepath.Join(dir, name), Log: os.Stderr}
		if _, err := local.OpenSpec(t.Context(), request, work); err == nil {
			t.Errorf("%s is taken for a spec", name)
		}
		testkit.Must(t, work.End())
	}
}

// TestInstallation keeps commands with another place from taking these commands' containers for abandoned ones.
func TestInstallation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	here, err := local.OpenPlace(dir)
	testkit.Must(t, err)
	again, err := local.OpenPlace(dir + "/x/..")
	testkit.Must(t, err)
	other, err := local.OpenPlace(t.TempDir())
	testkit.Must(t, err)
	if here.Installation() != again.Installation() || here.Installation() == other.Installation() {
		t.Errorf("%s, the same place %s, another %s", here.Installation(), again.Installation(), other.Installation())
	}
}
