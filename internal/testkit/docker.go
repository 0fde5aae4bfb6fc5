package testkit

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// standinLimit bounds the making of the stand-in image, whose base is downloaded the first time.
const standinLimit = 20 * time.Minute

// checkout is the directory of this checkout. It looks above the package's directory, where the go command starts
// tests. Their own file names say nothing: binaries are built with -trimpath.
func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
	}
}

// Standin is the image with the stand-in for mock. The test is skipped if there is no container engine.
func Standin(t testing.TB) string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "docker", "version").CombinedOutput(); err != nil {
		t.Skipf("needs docker: no engine answers: %s", out)
	}
	image, err := standin()
	if err != nil {
		t.Fatalf("make the stand-in image: %v", err)
	}
	return image
}

// The first test of a package that asks makes the image; in most runs it is there.
var standin = sync.OnceValues(func() (string, error) {
	root, err := checkout()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), standinLimit)
	defer cancel()
	var log strings.Builder
	cmd := exec.CommandContext(ctx, filepath.Join(root, "test", "standin", "build"))
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, log.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1], nil
})
