package rpmflow_test

import (
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
)

func TestPackagingDirectory(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ directories, target, want string }{
		{"fedora-*=f *=o", "fedora-43-x86_64", "f"},
		{"fedora-*=f *=o", "centos-7-x86_64", "o"},
		{"fedora-*=f", "centos-7-x86_64", ""},
		{"el-*=el !el-7-*=el el-7-*=el7", "el-7-x86_64", "el7"},
		{"el-*=el !el-7-*=el el-7-*=el7", "el-9-x86_64", "el"},
		{"el-*=el !el-7-*=el", "el-7-x86_64", ""},
		{"el-*=el !el-7-*=el el-7-aarch64=el", "el-7-aarch64", "el"},
		{"el-*=el *=o el-9-*=el", "el-9-x86_64", "el"},
		{"el-8-*=el *=o el-9-*=el", "el-9-x86_64", "o"},
		{"**=all", "el-9-x86_64", "all"},
		{"{el,fedora}-*=both", "fedora-43-x86_64", "both"},
	} {
		var p rpmflow.Packaging
		for _, d := range strings.Fields(tt.directories) {
			target, dir, _ := strings.Cut(d, "=")
			p.Directories = append(p.Directories, rpmflow.TargetDirectory{Target: target, Directory: dir})
		}
		if got := p.Directory(tt.target); got != tt.want {
			t.Errorf("%s of %s: %q, want %q", tt.target, tt.directories, got, tt.want)
		}
	}
}

func TestWants(t *testing.T) {
	t.Parallel()
	p := rpmflow.Project{Name: "demo", Branches: []string{"main", "feature/**", "!feature/**/wip"},
		Tags: []string{"v*", "!v*-rc*"}}
	const branches = `project "demo" builds branches main, feature/**, !feature/**/wip only`
	for ref, want := range map[string]string{
		"refs/heads/main": "", "refs/heads/feature/a": "", "refs/heads/feature/a/b": "", "refs/tags/v1.0": "",
		"refs/heads/feature/a/wip": `branch "feature/a/wip" is not built: ` + branches,
		"refs/tags/v1.0-rc1":       `tag "v1.0-rc1" is not built: project "demo" builds tags v*, !v*-rc* only`,
		"refs/heads/mainx":         `branch "mainx" is not built: ` + branches,
		"refs/notes/x": "refs/notes/x is neither a branch nor a tag: " +
			"only refs/heads/… and refs/tags/… are built",
	} {
		if reason, ok := p.Wants(ref); reason != want || ok != (want == "") {
			t.Errorf("%s: %q, %v", ref, reason, ok)
		}
	}
}
