package docs_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	eventschema "github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// compile builds a block of Go and returns the path of the program.
func compile(t *testing.T, b block) string {
	t.Helper()
	if !strings.HasPrefix(b.text, "package ") {
		t.Fatalf("%s: show a whole program: nothing compiles a part of one", b)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	testkit.Must(t, os.WriteFile(file, []byte(b.text), 0o600))
	program := filepath.Join(dir, "program")
	for _, args := range [][]string{{"vet", file}, {"build", "-o", program, file}} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		cmd := exec.CommandContext(ctx, "go", args...) // in this module, which has the libraries
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%s: go %s: %v\n%s", b, args[0], err, out)
		}
	}
	formatted, err := exec.CommandContext(t.Context(), "gofmt", "-l", file).CombinedOutput()
	if err != nil || len(formatted) > 0 {
		t.Errorf("%s is not formatted: %v %s", b, err, formatted)
	}
	return program
}

// interpret writes a block of Python to a file and has it parsed; python is empty if it cannot be run without
// the library.
func interpret(t *testing.T, b block) (python, program string) {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Logf("%s: not even parsed: there is no python3", b)
		return "", ""
	}
	program = filepath.Join(t.TempDir(), "program.py")
	testkit.Must(t, os.WriteFile(program, []byte(b.text), 0o600))
	parse := exec.CommandContext(t.Context(), python, "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())",
		program)
	if out, err := parse.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", b, err, out)
	}
	if err := exec.CommandContext(t.Context(), python, "-c", "import nats").Run(); err != nil {
		t.Logf("%s: parsed, not run: python3 has no nats-py", b)
		return "", ""
	}
	return python, program
}

var secretFile = regexp.MustCompile(`(?m)^\s*(?:- )?\w+_file: *([^\s#]+)`)

// TestSnippets compiles Go, loads configurations and parses JSON.
func TestSnippets(t *testing.T) {
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			if b.info != "go" && b.info != "python" && b.info != "yaml" && b.info != "json" {
				continue
			}
			t.Run(b.String(), func(t *testing.T) {
				switch b.info {
				case "go":
					compile(t, b)
				case "python":
					interpret(t, b)
				case "yaml":
					checkYAML(t, b)
				case "json":
					checkJSON(t, b)
				}
			})
		}
	}
}

// checkYAML loads what is a configuration, or the projects of one.
func checkYAML(t *testing.T, b block) {
	t.Helper()
	var top map[string]any
	if err := yaml.Unmarshal([]byte(b.text), &top); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	text := b.text
	if !strings.HasPrefix(text, "# rpmflow.yaml\n") {
		if top["projects"] == nil {
			return
		}
		if top["targets"] == nil { // projects to be added to a file that has some
			text += "targets: [{name: fedora-43-x86_64}]\n"
		}
	}
	dir := t.TempDir()
	for _, m := range secretFile.FindAllStringSubmatch(text, -1) {
		testkit.Must(t, os.WriteFile(filepath.Join(dir, m[1]), []byte("secret\n"), 0o600))
	}
	path := filepath.Join(dir, "rpmflow.yaml")
	testkit.Must(t, os.WriteFile(path, []byte(text), 0o600))
	cfg, err := config.Load(config.Source{File: path, For: config.ForOperator})
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	if len(cfg.Warnings) > 0 {
		t.Errorf("%s: %v", b, cfg.Warnings)
	}
}

// checkJSON takes an object for what its members say that it is.
func checkJSON(t *testing.T, b block) {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(b.text), &object); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	switch {
	case object["specversion"] != nil:
		if err := eventschema.Validate([]byte(b.text)); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	case object["after"] != nil:
		header := http.Header{forge.GenericSignature: {forge.Sign("secret", []byte(b.text))}}
		delivery, err := forge.Generic().Read(header, []byte(b.text), "secret")
		if err != nil || delivery.ID != object["delivery"] || delivery.Pusher != object["pusher"] {
			t.Errorf("%s: read as %+v: %v", b, delivery, err)
		}
	case object["push"] != nil:
		strict(t, b, &api.Push{})
	case object["error"] != nil:
		strict(t, b, &httpd.Problem{})
	default:
		t.Errorf("%s: nothing checks what this is", b)
	}
}

// strict decodes an answer; every field must be known.
func strict(t *testing.T, b block, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(b.text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Errorf("%s: %v", b, err)
	}
}
