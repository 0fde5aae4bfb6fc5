package local_test

import (
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
	"github.com/rpmflow/rpmflow/internal/local"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestAgreesWithRPMInTheRoot compares the answers from a target's root with those of the same rpm outside of it, which
// gets what the target defines.
func TestAgreesWithRPMInTheRoot(t *testing.T) {
	t.Parallel()
	target := rpmflow.Target{Name: "standin-1-x86_64", Arch: "x86_64", Config: "standin-1-x86_64",
		Image: testkit.Standin(t), MaxAge: time.Hour}
	installation := rpmflow.DeriveID(t.Name(), time.Now().String())
	engine, err := mock.New(mock.Settings{Network: "bridge", PIDs: 4096, Installation: installation,
		Logger: slog.New(slog.DiscardHandler)})
	testkit.Must(t, err)
	t.Cleanup(func() {
		testkit.Must(t, engine.Shut())
		made, err := exec.Command("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter",
			"label="+images.LabelInstallation+"="+installation).Output()
		testkit.Must(t, err)
		for name := range strings.FieldsSeq(string(made)) {
			testkit.Must(t, exec.Command("docker", "rmi", "-f", name).Run())
		}
	})

	const sources = "/builddir/build/SOURCES"
	beside := strings.TrimSpace(run(t, "docker", "run", "-d", target.Image, "sleep", "600"))
	t.Cleanup(func() { testkit.Must(t, exec.Command("docker", "rm", "-fv", beside).Run()) })
	run(t, "docker", "exec", beside, "mkdir", "-p", sources)
	run(t, "docker", "cp", "testdata/specs/.", beside+":"+sources)
	o := rpmflow.Options{With: []string{"tests"}, Without: []string{"docs"},
		Macros: []rpmflow.Macro{{Name: "level", Value: "2"}}}
	// Each question is a container, so that not every spec is asked about. The last of them does not end in a newline.
	for _, name := range []string{"conditional.spec", "included.spec", "subpackages.spec", "nothing.spec"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // containers take their time
			file := filepath.Join("testdata/specs", name)
			s := openSpec(t, local.SpecRequest{Engine: engine, Target: target, Options: o, File: file})
			rpmspec := func(args ...string) string {
				all := []string{"exec", beside, "rpmspec", "--define", "_topdir /builddir/build", "--define",
					"dist .s1"}
				for _, m := range o.Definitions() {
					all = append(all, "--define", m.String())
				}
				return run(t, "docker", append(append(all, args...), sources+"/"+name)...)
			}
			agree(t, s, rpmspec)
			const expression = "%{name} %{_sourcedir} %{?dist} %{level}\n"
			got, err := s.Eval(t.Context(), expression)
			testkit.Must(t, err)
			same(t, "eval "+expression, got, rpmspec("-q", "--srpm", "--qf", `%{NAME}`)+" "+sources+" .s1 2\n")
		})
	}
}
