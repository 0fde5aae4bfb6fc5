package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// build makes the programs, unless they are up to date. All packages below test/ use the same ones.
var build = sync.OnceValues(func() (dir string, err error) {
	if dir := os.Getenv("TEST_PROGRAMS"); dir != "" { // scripts/test has made them
		return dir, nil
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	if out, err := exec.Command(filepath.Join(root, "scripts", "build")).CombinedOutput(); err != nil {
		return "", fmt.Errorf("scripts/build: %w: %s", err, out)
	}
	return filepath.Join(root, "bin"), nil
})

// Programs is the directory with the programs of this checkout.
func Programs(t testing.TB) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Program is the path of one of the programs.
func Program(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(Programs(t), name)
}

// InstallHook makes a bare repository announce its pushes, with the command that users type.
func InstallHook(t testing.TB, bare, url, secret string) {
	t.Helper()
	file := filepath.Join(bare, "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(Program(t, "rpmflow"), "hook", "install", bare, "--url", url, "--secret-file",
		file).CombinedOutput(); err != nil {
		t.Fatalf("rpmflow hook install: %v: %s", err, out)
	}
}
