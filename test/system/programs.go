package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// programs are the binaries, built once for the tests that need processes of their own.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

// Program is the path of one of the programs. A package whose tests use any calls RemovePrograms at the end.
func Program(t testing.TB, name string) string {
	t.Helper()
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "rpmflow-test-bin-"); programs.err != nil {
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

// RemovePrograms removes what Program has built.
func RemovePrograms() {
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
}

// InstallHook makes a bare repository announce its pushes, with the command that users type.
func InstallHook(t testing.TB, bare, url, secret string) {
	t.Helper()
	file := filepath.Join(bare, "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(Program(t, "rpmflow"), "hook", "install", bare, "--url", url, "--secret-file", file).CombinedOutput(); err != nil {
		t.Fatalf("rpmflow hook install: %v: %s", err, out)
	}
}
