package config

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		testkit.Must(t, os.WriteFile(name, []byte(got), 0o644))
	}
	want, err := os.ReadFile(name)
	testkit.Must(t, err)
	if got != string(want) {
		t.Errorf("%s differs (-update rewrites it); got\n%s", name, got)
	}
}

func TestTemplate(t *testing.T) {
	var b strings.Builder
	testkit.Must(t, WriteTemplate(&b))
	golden(t, "testdata/template.yaml", b.String())

	defaults := mustLoad(t, Source{})
	c := mustLoad(t, Source{File: "testdata/template.yaml"})
	c.File = ""
	if !reflect.DeepEqual(c, defaults) {
		t.Errorf("the template gives\n%+v\nwant the defaults\n%+v", c, defaults)
	}
	for _, k := range append(Keys(), ListKeys()...) {
		if !regexp.MustCompile(`(?m)^[ #-]*`+leaf(k.Path)+`:`).MatchString(b.String()) ||
			!strings.Contains(b.String(), k.Env) {
			t.Errorf("the template lacks %s or %s", k.Path, k.Env)
		}
	}

	example := regexp.MustCompile(`(?m)^#  `).ReplaceAllString(b.String(), "  ")
	t.Chdir(t.TempDir())
	c = mustLoad(t, Source{File: write(t, "rpmflow.yaml", example), Env: []string{"HELLO_WEBHOOK_SECRET=s"}})
	if len(c.Targets) != 1 || len(c.Projects) != 1 || c.Projects[0].Secret != "s" {
		t.Errorf("the examples without their comment signs give %+v, %+v", c.Targets, c.Projects)
	}

	// Those that still are comments inside the examples are keys with their defaults, too.
	full := regexp.MustCompile(`(?m)^    # ([a-z_]+: \S+)$`).ReplaceAllString(example, "    $1")
	again := mustLoad(t, Source{File: write(t, "rpmflow.yaml", full), Env: []string{"HELLO_WEBHOOK_SECRET=s"}})
	if full == example || !reflect.DeepEqual(again, c) {
		t.Errorf("the defaults in the examples are not the defaults:\n%+v\n%+v", again, c)
	}
}

func TestEffective(t *testing.T) {
	c := mustLoad(t, Source{
		File:  "testdata/example.yaml",
		Env:   []string{"RPMFLOW_HELLO_SECRET=s", "RPMFLOW_BUILDER_ARCHS=x86_64,aarch64"},
		Flags: map[string]string{"builder.name": "builder-1"},
	})
	var b strings.Builder
	testkit.Must(t, WriteEffective(&b, c))
	here, err := filepath.Abs(".")
	testkit.Must(t, err)
	golden(t, "testdata/effective.yaml", strings.ReplaceAll(b.String(), here, "HERE"))

	// Without secrets the values in effect are a configuration with the same effect.
	same := regexp.MustCompile(`(?m)^ *[a-z_]+: \(set\)\n`).ReplaceAllString(b.String(), "")
	t.Chdir(t.TempDir())
	again := mustLoad(t, Source{File: write(t, "rpmflow.yaml", same)})
	c.File, c.NATS.Password = again.File, ""
	for i := range c.Projects {
		c.Projects[i].Secret = ""
		if len(c.Projects[i].Tags) == 0 {
			c.Projects[i].Tags = again.Projects[i].Tags // an empty list is as good as none
		}
	}
	if !reflect.DeepEqual(again, c) {
		t.Errorf("reading the values in effect gives\n%+v\nwant\n%+v", again, c)
	}
}
