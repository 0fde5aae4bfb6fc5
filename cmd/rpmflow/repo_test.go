package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestRepoRefuses types what cannot work: the error says what to do.
func TestRepoRefuses(t *testing.T) {
	t.Parallel()
	file := testkit.Write(t, filepath.Join(t.TempDir(), "rpmflow.yaml"), "data_dir: "+t.TempDir()+"\n")
	for _, test := range []struct {
		args       []string
		what, hint string
	}{
		{[]string{"rollback", "hello", "host", "-1"}, "-1", "rpmflow repo show lists"},
		{[]string{"show", "hello", "host"}, "no rpmflow up runs over data_dir", "start rpmflow up"},
	} {
		cmd := command()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(append(append([]string{"repo"}, test.args...), "--config", file))
		what, do := hint.Split(cmd.ExecuteContext(t.Context()))
		if !strings.Contains(what, test.what) || !strings.Contains(do, test.hint) {
			t.Errorf("%v: %s: %s", test.args, what, do)
		}
	}
}

// TestShownMessage shows a build whose message would clear the screen.
func TestShownMessage(t *testing.T) {
	t.Parallel()
	var b rpmflow.Build
	b.Outcome = &rpmflow.Outcome{Result: rpmflow.Failed, Message: "bad\x1b[2J\nline\r"}
	var out bytes.Buffer
	testkit.Must(t, printBuild(&out, b))
	if !strings.Contains(out.String(), "bad[2J\nline\n") || strings.ContainsAny(out.String(), "\x1b\r") {
		t.Errorf("%q", out.String())
	}
}
