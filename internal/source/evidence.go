package source

import (
	"path"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// Names that show that a tree is the source itself, and names that any repository of a package may have.

// buildFiles are patterns of what a program is built with. A Makefile is missing: packagers have them, too.
var buildFiles = []string{
	"configure", "configure.ac", "configure.in", "Makefile.am", "Makefile.PL", "Build.PL", "CMakeLists.txt",
	"meson.build", "setup.py", "setup.cfg", "pyproject.toml", "go.mod", "Cargo.toml", "package.json", "*.gemspec",
	"pom.xml", "build.gradle", "build.gradle.kts", "build.xml", "*.cabal", "composer.json", "dune-project",
	"SConstruct", "wscript", "*.pro", "mix.exs", "rebar.config", "build.zig", "Package.swift", "WORKSPACE",
	"MODULE.bazel", "Rakefile", "deno.json", "*.csproj", "*.sln", "Kconfig",
}

// codeSuffixes are those of files that are compiled or run as the program itself.
var codeSuffixes = []string{
	".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".go", ".rs", ".py", ".pl", ".pm", ".rb", ".java", ".kt",
	".scala", ".js", ".ts", ".hs", ".ml", ".swift", ".zig", ".cs", ".f", ".f90", ".s", ".S", ".asm", ".vala", ".d",
	".lua", ".erl", ".ex", ".php", ".m", ".mm", ".tcl",
}

// packagersDirs are names of directories that repositories with packaging only have: none of them is evidence of a
// source tree.
var packagersDirs = []string{
	"specs", "sources", "srpms", "rpms", "build", "buildroot", "patches", "patch", "systemd", "selinux", "sepolicy",
	"files", "debian", "conf", "config", "configs", "etc", "contrib", "scripts", "script", "tools", "helpers", "doc",
	"docs", "man", "test", "tests", "plans", "ci", "tmt", "rpm", "rpmlint", "rpmbuild", "sysusers", "tmpfiles",
	"tmpfiles.d", "sysusers.d", "sysconfig", "logrotate", "packaging", "package", "packages", "dist", "vendor",
	"third_party", "node_modules", "testdata", "examples", "licenses", "keys", "gpg", "units", "init", "macros",
	"ansible", "containers", "docker",
}

func isBuildFile(name string) bool {
	return slices.ContainsFunc(buildFiles, func(pattern string) bool { return pathmatch.Match(pattern, name) })
}

func isMakefile(name string) bool {
	return strings.EqualFold(name, "makefile") || name == "GNUmakefile"
}

func isCode(name string) bool { return slices.Contains(codeSuffixes, path.Ext(name)) }

func isPackagersDir(name string) bool {
	return strings.HasPrefix(name, ".") || slices.Contains(packagersDirs, strings.ToLower(name))
}

// evidence is what a directory of a tree has of a program.
type evidence struct {
	strong []string // build files, src
	weak   []string // code without them, and a Makefile
}

// findEvidence searches the entries of a directory, and those of its directories.
func findEvidence(tree git.Tree, list []git.Entry) (e evidence, err error) {
	for _, entry := range list {
		if !entry.IsDir() {
			e.file(entry.Name())
			continue
		}
		if isPackagersDir(entry.Name()) {
			continue
		}
		below, err := tree.Entries(entry)
		if err != nil {
			return e, err
		}
		e.dir(entry.Name(), below)
	}
	return e, nil
}

func (e *evidence) file(name string) {
	switch {
	case isBuildFile(name):
		e.strong = append(e.strong, name)
	case isCode(name), isMakefile(name):
		e.weak = append(e.weak, name)
	}
}

func (e *evidence) dir(name string, below []git.Entry) {
	has := func(is func(string) bool) bool {
		return slices.ContainsFunc(below, func(b git.Entry) bool { return !b.IsDir() && is(b.Name()) })
	}
	switch {
	case name == "src", has(isBuildFile):
		e.strong = append(e.strong, name)
	case has(isCode):
		e.weak = append(e.weak, name)
	}
}
