package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Installers are the programs that Install takes.
func Installers() []string { return []string{"dnf", "zypper"} }

// Install has dnf or zypper install packages into an empty root from a repository, given its .repo file, without
// anything of this machine or of an earlier run. It tries everything once. The test is skipped if the program is
// missing.
func Install(t testing.TB, program, repoFile string, packages ...string) (out string, err error) {
	t.Helper()
	root, err := os.MkdirTemp("", "rpmflow-root-") // tests that install in a loop remove it each time
	Must(t, err)
	defer func() { _ = os.RemoveAll(root) }()
	args := []string{"--root", root, "--non-interactive", "--gpg-auto-import-keys", "install"}
	dir := filepath.Join(root, "etc/zypp/repos.d")
	if program == "dnf" {
		dir = filepath.Join(root, "repos.d")
		args = append(dnfArgs(root), "--setopt=retries=1", "install")
	}
	Must(t, os.MkdirAll(dir, 0o755))
	Write(t, filepath.Join(dir, "test.repo"), repoFile)
	return installer(t, program, append(args, packages...)...)
}

// DNF runs another command of dnf with the repositories in root/repos.d and nothing else of this machine. The test is
// skipped if dnf has no such command.
func DNF(t testing.TB, root, command string, args ...string) (out string, err error) {
	t.Helper()
	if out, err := installer(t, "dnf", append(dnfArgs(root), command, "--help")...); err != nil {
		t.Skipf("needs dnf %s: %v: %s", command, err, out)
	}
	return installer(t, "dnf", slices.Concat(dnfArgs(root), []string{command}, args)...)
}

func dnfArgs(root string) []string {
	args := []string{"--assumeyes", "--installroot", root, "--releasever=1",
		"--setopt=reposdir=" + filepath.Join(root, "repos.d"), "--setopt=cachedir=" + filepath.Join(root, "cache"),
		"--setopt=metadata_expire=0"}
	if dir, ok := plugins(); ok {
		args = append(args, "--setopt=pluginpath="+filepath.Join(dir, "dnf-plugins"))
	}
	return args
}

// plugins are those of dnf that scripts/setup has unpacked, because Debian does not install them together with zypper.
func plugins() (dir string, ok bool) {
	root, err := checkout()
	dir = filepath.Join(root, ".cache", "dnf-plugins")
	if err == nil {
		_, err = os.Stat(dir)
	}
	return dir, err == nil
}

func installer(t testing.TB, program string, args ...string) (out string, err error) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s: %v", program, err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if dir, ok := plugins(); ok {
		cmd.Env = append(cmd.Env, "PYTHONPATH="+dir)
	}
	text, err := cmd.CombinedOutput()
	return string(text), err
}
