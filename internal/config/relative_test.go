package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestRelativeRepository has ./path start at the directory of the file that has it, wherever the program runs.
func TestRelativeRepository(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "rpmflow.yaml")
	text := "targets: [{name: host}]\nprojects:\n- {name: hello, url: ./git/hello.git}\n"
	testkit.Must(t, os.WriteFile(file, []byte(text), 0o600))
	cfg, err := config.Load(config.Source{File: file})
	testkit.Must(t, err)
	if got, want := cfg.Projects[0].URL, filepath.Join(dir, "git", "hello.git"); got != want {
		t.Errorf("url is %s, want %s", got, want)
	}
}
