package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Size{
		"0": 0, "1": 1, "10B": 10, "2KB": 2000, "2KiB": 2048, "3MB": 3e6, "25MiB": 25 << 20, "10GB": 1e10,
		"10 GiB":              10 << 30,
		"9223372036854775807": 1<<63 - 1, "007MiB": 7 << 20,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "x", "GiB", "-1", "+1", "1.5GiB", "10G", "10gib", "10 GiB GiB", "1_000", "0x10",
		"9223372036854775808", "8589934592GiB", " 1"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", in, got)
		}
	}
	for in, want := range map[Size]string{0: "0", 1: "1", 1536: "1536", 1024: "1KiB", 1000: "1KB", 25 << 20: "25MiB",
		1e10: "10GB", 1 << 30: "1GiB"} {
		if got := in.String(); got != want {
			t.Errorf("%d is written %s, want %s", in, got, want)
		}
	}
}

func TestShowDuration(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]string{
		time.Hour: "1h", 10 * time.Minute: "10m", 90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s",
		10 * time.Second:       "10s",
		500 * time.Millisecond: "500ms", 100 * time.Hour: "100h",
	} {
		if got := showDuration(in); got != want {
			t.Errorf("%v is written %s, want %s", in, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	t.Chdir(t.TempDir())
	none := func(string) string { return "" }
	etc := filepath.Join("etc", "rpmflow.yaml")
	check := func(what, want string, wantErr error, got string, err error) {
		t.Helper()
		if !errors.Is(err, wantErr) || (wantErr == nil && got != want) {
			t.Errorf("%s: %q, %v, want %q, %v", what, got, err, want, wantErr)
		}
	}
	got, err := find("", "", "rpmflow.yaml", etc)
	check("none is fine", "", nil, got, err)
	got, err = Find("missing.yaml", none)
	check("explicit but missing", "", fs.ErrNotExist, got, err)
	got, err = Find("", func(name string) string { return map[string]string{"RPMFLOW_CONFIG": "missing.yaml"}[name] })
	check("named by the environment but missing", "", fs.ErrNotExist, got, err)

	write(t, etc, "")
	got, err = find("", "", "rpmflow.yaml", etc)
	check("that of the system", etc, nil, got, err)
	write(t, "rpmflow.yaml", "")
	got, err = Find("", none)
	check("that of the working directory", "rpmflow.yaml", nil, got, err)
	write(t, "other.yaml", "")
	got, err = find("", "other.yaml", "rpmflow.yaml", etc)
	check("that of the environment", "other.yaml", nil, got, err)
	got, err = find("rpmflow.yaml", "other.yaml", "rpmflow.yaml", etc)
	check("the explicit one", "rpmflow.yaml", nil, got, err)

	testkit.Must(t, os.Mkdir("directory", 0o755))
	if got, err := Find("directory", none); err == nil {
		t.Errorf("a directory is taken for a file: %q", got)
	}
	if _, err := Load(Source{File: "missing.yaml"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a missing file: %v", err)
	}
}

// With any file Load neither panics nor hangs, its errors say where, and what it accepts can be dumped.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"testdata/template.yaml", "testdata/example.yaml", "testdata/effective.yaml"} {
		seed, err := os.ReadFile(name)
		testkit.Must(f, err)
		f.Add(seed)
	}
	bad, err := os.ReadFile("testdata/bad.golden")
	testkit.Must(f, err)
	for c := range strings.SplitSeq(string(bad), "=== ") {
		head, _, _ := strings.Cut(c, "---\n")
		_, input, _ := strings.Cut(head, "\n")
		f.Add([]byte(input))
	}
	for _, seed := range []string{
		"&a {log: *a, <<: *a}", "a: &a [*a]\n", "log: &a {<<: [*a, *a, {<<: *a}]}", "projects: &p [*p]",
		"projects:\n- &a {name: a, url: /a, branches: &b [*b]}\n",
		"\ufefflog:\n", "---\n...\n", "? [a]\n: b\n", "projects: [&a {<<: *a}]", "*a: b", "null", "~: x",
		"projects: [{name: a, url: /a, branches: []}]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := load(Source{File: "rpmflow.yaml", Env: []string{"RPMFLOW_HELLO_SECRET=s"}, For: ForOperator}, data)
		if (c == nil) != (err != nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				if !strings.Contains(line, ": ") {
					t.Errorf("an error without a place: %q", line)
				}
			}
			return
		}
		var b strings.Builder
		testkit.Must(t, WriteEffective(&b, c))
		// Secrets apart, the dump is a configuration with the same dump.
		for i := range c.Projects {
			if c.Projects[i].Secret != "" || strings.Contains(b.String(), redacted) {
				return
			}
		}
		if strings.Contains(b.String(), redacted) {
			return
		}
		again, err := load(Source{File: "rpmflow.yaml", For: ForOperator}, []byte(b.String()))
		if err != nil {
			t.Fatalf("the dump does not load: %v\n%s", err, b.String())
		}
		var b2 strings.Builder
		if err := WriteEffective(&b2, again); err != nil || b2.String() != b.String() {
			t.Fatalf("the dump of the dump differs: %v\n%s\n%s", err, b.String(), b2.String())
		}
	})
}
