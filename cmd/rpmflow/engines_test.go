package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rpmflow/rpmflow/internal/local"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestEngines runs local builds with each engine: what a user sees is the same but for what a script says of one of
// them.
func TestEngines(t *testing.T) {
	t.Parallel()
	needTools(t)
	t.Run("rpmbuild", func(t *testing.T) { t.Parallel(); scripts(t, "testdata/engines", "rpmbuild") })
	t.Run("mock", func(t *testing.T) { t.Parallel(); scripts(t, "testdata/engines", "mock") })
}

// scripts runs the scripts of a directory with an engine that is configured, and not named in the commands.
func scripts(t *testing.T, dir, engine string) {
	t.Helper()
	image := ""
	if engine == "mock" {
		image = testkit.Standin(t)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			setup(e, engine)
			if engine != "mock" {
				return nil
			}
			e.Vars = append(e.Vars, "IMAGE="+image, "RPMFLOW_CONFIG="+filepath.Join(e.WorkDir, "config.yaml"),
				"DOCKER_HOST="+os.Getenv("DOCKER_HOST"))
			place, err := local.OpenPlace(filepath.Join(e.WorkDir, ".cache", "rpmflow"))
			if err != nil {
				return err
			}
			e.Defer(func() { forget(t, place.Installation()) })
			text := fmt.Sprintf("targets:\n  - name: standin-1-x86_64\n    image: %s\n    max_age: 1h\n", image)
			return os.WriteFile(filepath.Join(e.WorkDir, "config.yaml"), []byte(text), 0o600)
		},
		Condition: func(cond string) (bool, error) {
			if cond != "mock" && cond != "rpmbuild" {
				return false, fmt.Errorf("unknown condition %s", cond)
			}
			return cond == engine, nil
		},
	})
}

// forget removes the roots of an installation; there are to be no containers any more.
func forget(t *testing.T, installation string) {
	t.Helper()
	list := func(args ...string) []string {
		out, err := exec.Command("docker", append(args, "--filter",
			"label=dev.rpmflow.installation="+installation)...).Output()
		if err != nil {
			t.Errorf("docker %v: %v", args, err)
		}
		return strings.Fields(string(out))
	}
	remove := func(args ...string) {
		if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
			t.Errorf("docker %v: %v: %s", args, err, out)
		}
	}
	for _, id := range list("ps", "-aq") {
		t.Errorf("container %s is left", id)
		remove("rm", "-fv", id)
	}
	for _, name := range list("images", "--format", "{{.Repository}}:{{.Tag}}") {
		remove("rmi", "-f", name)
	}
	for _, name := range list("volume", "ls", "-q") {
		remove("volume", "rm", name)
	}
}
