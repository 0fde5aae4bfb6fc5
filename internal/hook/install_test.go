package hook_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/hook"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestInstall(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	file := filepath.Join(r.bare, "hooks", "post-receive")
	before, err := os.ReadFile(file)
	if err != nil || strings.Count(string(before), "\n") != 2 || !strings.Contains(string(before), "exec "+
		"'"+os.Args[0]+"' hook post-receive") {
		t.Errorf("%s, %v", before, err)
	}
	r.install(r.bare, r.listener.URL)
	r.install(r.tree, r.listener.URL) // one with a work tree
	if after, _ := os.ReadFile(file); string(after) != string(before) {
		t.Errorf("installed again it is %s", after)
	}
	if info, err := os.Stat(filepath.Join(r.tree, ".git", "hooks", "post-receive")); err != nil ||
		info.Mode().Perm()&0o111 == 0 {
		t.Errorf("%v, %v", info, err)
	}
	install := func(url, secretFile string) error {
		return hook.Install(t.Context(), r.bare, os.Args[0], url, secretFile, io.Discard)
	}
	good, open, empty := r.secretFile(), filepath.Join(t.TempDir(), "open"), filepath.Join(t.TempDir(), "empty")
	for name, content := range map[string]string{open: secret, empty: ""} {
		testkit.Must(t, os.WriteFile(name, []byte(content), 0o600))
	}
	testkit.Must(t, os.Chmod(open, 0o644))
	url := "http://h/hooks/generic/hello"
	for _, tt := range []struct{ url, secret, want string }{
		{url, open, "others can read or write"}, {url, empty, "is empty"}, {url, good + "x", "no such file"},
		{url, r.bare, "is not a file"},
		{"http://h/hooks/github/hello", good, "--url"}, {"h/hooks/generic/hello", good, "--url"},
		{"http://h/hooks/generic/", good, "--url"},
	} {
		if err := install(tt.url, tt.secret); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s with %s: %v", tt.url, tt.secret, err)
		}
	}
	for content, want := range map[string]string{
		"#!/bin/sh\nexec /elsewhere/rpmflow hook post-receive\n":              "",
		"#!/bin/sh\necho mine\n":                                              "is not overwritten",
		"#!/bin/sh\n# see rpmflow hook post-receive\n":                        "is not overwritten",
		"#!/bin/sh\ntee log | rpmflow hook post-receive\necho mine\nexit 0\n": "",
	} {
		testkit.Must(t, os.WriteFile(file, []byte(content), 0o755))
		err := install(url, good)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
		if now, _ := os.ReadFile(file); strings.Contains(content, "mine") && string(now) != content {
			t.Errorf("%q was overwritten", content)
		}
	}
	r.git("-C", r.bare, "config", "core.hooksPath", t.TempDir())
	if err := install(url, good); err == nil || !strings.Contains(err.Error(), "core.hooksPath") {
		t.Errorf("%v", err)
	}
}
