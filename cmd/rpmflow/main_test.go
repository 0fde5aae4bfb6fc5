package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	t.Parallel()
	needTools(t)
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Setup: func(e *testscript.Env) error { setup(e, "rpmbuild"); return nil },
	})
}

func needTools(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "rpmspec", "git", "script"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
}

// setup gives a script what it may count on: examples, a web server of its directory www, and nothing of the user's
// own.
func setup(e *testscript.Env, engine string) {
	web := httptest.NewServer(cutting(http.FileServer(http.Dir(filepath.Join(e.WorkDir, "www")))))
	e.Defer(web.Close)
	here, _ := os.Getwd() // else the scripts find no examples
	e.Vars = append(e.Vars, "XDG_CACHE_HOME="+filepath.Join(e.WorkDir, ".cache"), "WEB="+web.URL,
		"HELLO="+filepath.Join(here, "../../examples/hello"), "SPECS="+filepath.Join(here,
			"../../internal/local/testdata/specs"),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "RPMFLOW_BUILDER_ENGINE="+engine,
		"GIT_AUTHOR_NAME=u", "GIT_AUTHOR_EMAIL=u@example.com", "GIT_COMMITTER_NAME=u",
		"GIT_COMMITTER_EMAIL=u@example.com")
}

// cutting breaks off below /cut/ after the first bytes of a file: only who asks for the rest gets it whole.
func cutting(files http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, cut := strings.CutPrefix(r.URL.Path, "/cut")
		if r.URL.Path = path; cut && r.Header.Get("Range") == "" {
			w = &brief{ResponseWriter: w}
		}
		files.ServeHTTP(w, r)
	})
}

type brief struct{ http.ResponseWriter }

func (s *brief) Write(p []byte) (int, error) {
	_, _ = s.ResponseWriter.Write(p[:min(3, len(p))])
	_ = http.NewResponseController(s.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}
