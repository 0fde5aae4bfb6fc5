package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rpmflow/rpmflow/internal/config"
)

// TestRelativeRepository has ./path start at the directory of the file that has it, wherever the program runs.
func TestRelativeRepository(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "rpmflow.yaml")
	text := "targets: [{name: host}]\nprojects:\n- {name: hello, url: ./git/hello.git}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cfg.Projects[0].URL, filepath.Join(dir, "git", "hello.git"); got != want {
		t.Errorf("url is %s, want %s", got, want)
	}
}
