// Package e2e_test drives the whole system as its users do: a git push goes in; an RPM, a log and a finished event come out. NATS,
// S3, git, Docker and rpm are the real ones; mock is the stand-in image, or real mock when MOCK_IMAGE, MOCK_CONFIGDIR and
// MOCK_TARGET say so.
package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

func TestMain(m *testing.M) {
	lifeline.Main(map[string]lifeline.Func{gateway.ChildName: gateway.Child})
	code := m.Run()
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// programs are the binaries, built once for the tests that need processes of their own.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

func program(t *testing.T, name string) string {
	t.Helper()
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "rpmflow-e2e-bin-"); programs.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", programs.dir+"/", "github.com/rpmflow/rpmflow/cmd/...")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			programs.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return filepath.Join(programs.dir, name)
}
