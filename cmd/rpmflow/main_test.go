package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// asProgram makes the test binary the program itself, for tests that need it as a process.
const asProgram = "TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if _, child := os.LookupEnv("RPMFLOW_CHILD"); child || os.Getenv(asProgram) != "" {
		main()
		return
	}
	testscript.Main(m, map[string]func(){"rpmflow": main})
}

// TestScripts runs the command line as users do; the host's rpm answers and builds.
func TestScripts(t *testing.T) {
	for _, tool := range []string{"rpmbuild", "rpmspec", "git", "script"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	hello, err := filepath.Abs("../../examples/hello")
	if err != nil {
		t.Fatal(err)
	}
	specs, err := filepath.Abs("../../internal/local/testdata/specs")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "XDG_CACHE_HOME="+filepath.Join(e.WorkDir, ".cache"), "HELLO="+hello, "SPECS="+specs,
				"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "RPMFLOW_BUILDER_ENGINE=rpmbuild",
				"GIT_AUTHOR_NAME=u", "GIT_AUTHOR_EMAIL=u@example.com", "GIT_COMMITTER_NAME=u", "GIT_COMMITTER_EMAIL=u@example.com")
			web := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(e.WorkDir, "www"))))
			e.Defer(web.Close)
			e.Vars = append(e.Vars, "WEB="+web.URL)
			return nil
		},
	})
}
