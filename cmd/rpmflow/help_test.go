package main

import (
	"bytes"
	"regexp"
	"testing"
)

// help is what a command line prints, and the flags in it.
func help(t *testing.T, args ...string) (flags []string) {
	t.Helper()
	cmd := command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z0-9-]+)`).FindAllStringSubmatch(out.String(), -1) {
		flags = append(flags, m[1])
	}
	return flags
}

// The help of `rpmflow up` has the flags that people need; --help-all has all of them.
func TestHelpOfUp(t *testing.T) {
	t.Parallel()
	if short := help(t, "up", "--help"); len(short) != 10 {
		t.Errorf("%d flags: %v", len(short), short)
	}
	all := help(t, "up", "--help-all")
	if len(all) < 50 || len(help(t, "up", "--help", "--help-all")) != len(all) {
		t.Errorf("%d flags: %v", len(all), all)
	}
}
