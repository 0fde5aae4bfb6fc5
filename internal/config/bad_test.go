package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestBadInputs reads testdata/bad.golden: cases of an input (=== name, then the file; "env:" lines set variables,
// "flag:" lines flags) and the exact errors (---) that it must give. -update rewrites the errors.
func TestBadInputs(t *testing.T) {
	raw, err := os.ReadFile("testdata/bad.golden")
	testkit.Must(t, err)
	golden, err := filepath.Abs("testdata/bad.golden")
	testkit.Must(t, err)
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	testkit.Must(t, err)
	write(t, "empty", "")
	write(t, "newline", "\n")
	write(t, "large", strings.Repeat("x", maxSecret+1))

	cases := strings.Split(string(raw), "=== ")[1:]
	for i, c := range cases {
		head, want, _ := strings.Cut(c, "---\n")
		name, input, _ := strings.Cut(head, "\n")
		src, file := Source{Flags: map[string]string{}}, ""
		for line := range strings.Lines(input) {
			if v, ok := strings.CutPrefix(line, "env: "); ok {
				src.Env = append(src.Env, strings.TrimSuffix(v, "\n"))
			} else if v, ok := strings.CutPrefix(line, "flag: "); ok {
				key, value, _ := strings.Cut(strings.TrimSuffix(v, "\n"), "=")
				src.Flags[key] = value
			} else {
				file += line
			}
		}
		src.File = write(t, "rpmflow.yaml", strings.ReplaceAll(file, "<TAB>", "\t"))
		src.For = ForOperator
		_, err := Load(src)
		got := "no error\n"
		if err != nil {
			got = strings.ReplaceAll(err.Error(), here, "HERE") + "\n"
		}
		cases[i] = name + "\n" + input + "---\n" + got
		if !*update && got != want {
			t.Errorf("%s: got\n%swant\n%s", name, got, want)
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if *update {
		testkit.Must(t, os.WriteFile(golden, []byte("=== "+strings.Join(cases, "=== ")), 0o644))
	}
}
