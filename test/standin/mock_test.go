// Package standin_test shows that the stand-in for mock does what the end-to-end tests rely on, and refuses what mock
// refuses. It builds the image with ./build and drives it with the docker command, as rpmflow does through the API:
// files are copied in and out, each step has a container of its own. Nobody imports it.
package standin_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/sassoftware/go-rpmutils"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

const helloSpec = `Name: hello
Version: 1.0
Release: 1%{?dist}
Summary: Says hello
License: MIT
Source0: hello.c
BuildRequires: gcc, make >= 3
%description
Says hello.
%prep
%setup -q -c -T
cp %{SOURCE0} .
%build
make hello
%install
install -D hello %{buildroot}/usr/bin/hello
%check
./hello
%files
/usr/bin/hello
`

const helloC = "#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }\n"

// mockUser and mockGroup are the image's own.
const mockUser, mockGroup = 1000, 135

// step is one container: what is put into it, what it runs, and what it may do.
type step struct {
	image   string
	network string            // none when empty
	files   map[string]string // path -> content; a path with a slash at its end is a directory of the user's
	args    []string          // of mock
	plain   bool              // without SUDO_UID
	unable  bool              // without CAP_SYS_ADMIN
}

// ended is a step that has run; its container is still there.
type ended struct {
	container      string
	code           int
	stdout, stderr string
}

// docker runs the docker command with a bound on its time.
func docker(t *testing.T, stdin io.Reader, args ...string) (stdout, stderr []byte, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	err = cmd.Run()
	return out.Bytes(), errs.Bytes(), err
}

func mustDocker(t *testing.T, stdin io.Reader, args ...string) string {
	t.Helper()
	out, errs, err := docker(t, stdin, args...)
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return strings.TrimSpace(string(out))
}

// image builds the stand-in's image. Without what that needs the test is skipped, which counts as a failure in CI.
func image(t *testing.T) string {
	t.Helper()
	if _, errs, err := docker(t, nil, "version"); err != nil {
		t.Skipf("needs docker: no engine answers: %v %s", err, errs)
	}
	cmd := exec.CommandContext(t.Context(), "./build")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("needs the stand-in's image, which ./build cannot make: %v", err)
	}
	lines := strings.Fields(string(out))
	return lines[len(lines)-1]
}

// run creates the container, copies the files in, starts it and waits.
func run(t *testing.T, s step) ended {
	t.Helper()
	create := []string{"create", "--network", "none", "--user", "root", "--security-opt", "no-new-privileges",
		"--cap-drop", "ALL"}
	if s.network != "" {
		create[2] = s.network
	}
	capabilities := "CHOWN DAC_OVERRIDE FOWNER FSETID SETFCAP SETUID SETGID SYS_CHROOT"
	if !s.unable {
		capabilities += " SYS_ADMIN"
	}
	for c := range strings.FieldsSeq(capabilities) {
		create = append(create, "--cap-add", c)
	}
	user := fmt.Sprint(mockUser)
	if s.plain {
		user = "" // and not just left out: a committed image keeps its container's environment
	}
	create = append(create, "--env", "SUDO_UID="+user, "--env", fmt.Sprintf("SUDO_GID=%d", mockGroup))
	id := mustDocker(t, nil, append(append(create, s.image, "mock"), s.args...)...)
	t.Cleanup(func() { _, _, _ = docker(t, nil, "rm", "--force", "--volumes", id) })

	var in bytes.Buffer
	w := tar.NewWriter(&in)
	for name, content := range s.files {
		h := &tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: 0o644, Size: int64(len(content)), Uid: mockUser,
			Gid: mockGroup}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		testkit.Must(t, w.WriteHeader(h))
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Must(t, w.Close())
	mustDocker(t, &in, "cp", "-", id+":/")

	out, errs, err := docker(t, nil, "start", "--attach", id)
	e := ended{container: id, stdout: string(out), stderr: string(errs)}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		e.code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return e
}

// succeeded runs a step that has to.
func succeeded(t *testing.T, s step) ended {
	t.Helper()
	e := run(t, s)
	if e.code != 0 {
		t.Fatalf("mock %s: exit code %d\n%s\n%s", strings.Join(s.args, " "), e.code, e.stdout, e.stderr)
	}
	return e
}

// commit makes an image of a container, for the time of the test.
func commit(t *testing.T, e ended) string {
	t.Helper()
	id := mustDocker(t, nil, "commit", e.container)
	t.Cleanup(func() { _, _, _ = docker(t, nil, "rmi", "--force", id) })
	return id
}

// results reads a result directory, and sees to it that all in it is the unprivileged user's.
func results(t *testing.T, e ended, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	r := tar.NewReader(strings.NewReader(mustDocker(t, nil, "cp", e.container+":"+dir, "-")))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return files
		}
		testkit.Must(t, err)
		content, err := io.ReadAll(r)
		testkit.Must(t, err)
		if h.Uid != mockUser || h.Gid != mockGroup {
			t.Errorf("%s belongs to %d:%d, want %d:%d", h.Name, h.Uid, h.Gid, mockUser, mockGroup)
		}
		files[path.Base(h.Name)] = string(content)
	}
}

// target is a configuration with one repository, in a container: every engine lets containers reach each other.
func target(t *testing.T, image string) string {
	t.Helper()
	id := mustDocker(t, nil, "run", "--detach", image, "sh", "-c",
		"mkdir -p /repo/repodata && echo '<repomd/>' >/repo/repodata/repomd.xml && exec python3 -m http.server "+
			"--directory "+
			"/repo 80")
	t.Cleanup(func() { _, _, _ = docker(t, nil, "rm", "--force", "--volumes", id) })
	testkit.Eventually(t, "an answer of the repository", func() bool {
		_, _, err := docker(t, nil, "exec", id, "python3", "-c",
			"import urllib.request as r; r.urlopen('http://127.0.0.1/')")
		return err == nil
	})
	ip := mustDocker(t, nil, "inspect", "--format", "{{.NetworkSettings.IPAddress}}", id)
	return "include('/etc/mock/standin-1-x86_64.cfg')\nconfig_opts['dnf.conf'] = '[main]\\n[r]\\nbaseurl=http://" + ip +
		"/\\n'\n"
}

// args splits a command line that has no spaces within its arguments.
func args(format string, a ...any) []string { return strings.Fields(fmt.Sprintf(format, a...)) }

func TestBuild(t *testing.T) {
	t.Parallel()
	base := image(t)
	cfg := target(t, base)

	start := succeeded(t, step{image: base, network: "bridge", files: map[string]string{"/t.x.cfg": cfg},
		args: args("-r /t.x.cfg --init")})
	root := commit(t, start)

	parsed := succeeded(t, step{image: root, files: map[string]string{"/in/hello.spec": helloSpec},
		args: []string{"-r", "/t.x.cfg", "--quiet", "--offline", "--unpriv", "--chroot",
			"rpm --eval %dist; id -un; echo ~; test ! -e /in && echo hidden"}})
	if want := ".s1\nmockbuild\n/builddir\nhidden\n"; parsed.stdout != want {
		t.Errorf("in the root: %q, want %q", parsed.stdout, want)
	}

	const offline = "-r /t.x.cfg --offline --no-clean --no-cleanup-after --resultdir /out "
	source := succeeded(t, step{image: root,
		args:  args(offline + "--buildsrpm --spec /in/hello.spec --sources /in/sources"),
		files: map[string]string{"/in/hello.spec": helloSpec, "/in/sources/hello.c": helloC, "/out/": ""}})
	srpm := results(t, source, "/out")["hello-1.0-1.s1.src.rpm"]

	in := map[string]string{"/in/hello.src.rpm": srpm, "/out/": ""}
	deps := succeeded(t, step{image: root, network: "bridge", files: in,
		args: args("-r /t.x.cfg --no-clean --no-cleanup-after --resultdir /out --installdeps /in/hello.src.rpm")})

	if early := run(t, step{image: root, files: in,
		args: args(offline + "--rebuild /in/hello.src.rpm")}); early.code != 30 {
		t.Errorf("rebuild without gcc installed: exit code %d, want 30\n%s", early.code, early.stderr)
	}
	built := succeeded(t, step{image: commit(t, deps), files: in,
		args: args(offline + "--config-opts print_main_output=True --rebuild /in/hello.src.rpm")})
	files := results(t, built, "/out")
	for _, name := range []string{"root.log", "state.log", "hw_info.log", "hello-1.0-1.s1.src.rpm"} {
		if files[name] == "" {
			t.Errorf("no %s among the results", name)
		}
	}
	if !strings.HasSuffix(files["build.log"], "\nChild return code was: 0\n") ||
		!strings.Contains(built.stdout, "+ make hello") {
		t.Errorf("build.log, and standard output:\n%s\n%s", files["build.log"], built.stdout)
	}
	if !strings.Contains(files["installed_pkgs.log"], "gcc-") {
		t.Errorf("installed_pkgs.log: %q", files["installed_pkgs.log"])
	}
	rpm, err := rpmutils.ReadRpm(strings.NewReader(files["hello-1.0-1.s1.x86_64.rpm"]))
	if err != nil {
		t.Fatalf("the RPM: %v", err)
	}
	if nevra, err := rpm.Header.GetNEVRA(); err != nil || nevra.String() != "hello-0:1.0-1.s1.x86_64.rpm" {
		t.Errorf("the RPM: %v %v", nevra, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	base := image(t)
	spec := func(build string) string { return strings.Replace(helloSpec, "make hello", build, 1) }
	const r = "-r standin-1-x86_64 --resultdir /out "
	const buildsrpm = r + "--no-clean -N --buildsrpm --spec /in/hello.spec --sources /in/sources"
	root := commit(t, succeeded(t, step{image: base, args: args("-r standin-1-x86_64 --init")}))

	// pack makes an SRPM of a spec.
	pack := func(t *testing.T, spec string) string {
		e := succeeded(t, step{image: root, args: args(buildsrpm), files: map[string]string{"/in/hello.spec": spec,
			"/in/sources/hello.c": helloC, "/out/": ""}})
		return results(t, e, "/out")["hello-1.0-1.s1.src.rpm"]
	}
	config := func(lines string) map[string]string {
		return map[string]string{"/x.cfg": "include('/etc/mock/standin-1-x86_64.cfg')\n" + lines + "\n"}
	}

	for _, c := range []struct {
		name string
		step step
		srpm string // of this spec, as /in/hello.src.rpm
		code int
		text string // on standard error
		log  string // the end of build.log
	}{
		{name: "unknown option", step: step{args: args("-r standin-1-x86_64 --bogus --init")}, code: 5,
			text: "--bogus"},
		{name: "plain root", step: step{plain: true, args: args("-r standin-1-x86_64 --init")}, code: 1,
			text: "will not run from the root account"},
		{name: "no SYS_ADMIN", step: step{unable: true, args: args("-r standin-1-x86_64 --init")}, code: 80,
			text: "Namespace unshare failed."},
		{name: "no SYS_ADMIN, gone on",
			step: step{unable: true, args: args("-r /x.cfg --init"),
				files: config("config_opts['docker_unshare_warning'] = False")},
			code: 32, text: "Let skip unsharing"},
		{name: "no isolation", step: step{args: args("-r /x.cfg --init"),
			files: config("config_opts['isolation'] = None")},
			code: 3, text: "isolation"},
		{name: "bootstrap image", step: step{args: args("-r /x.cfg --init"),
			files: config("config_opts['use_bootstrap'] = config_opts['use_bootstrap_image'] = True")}, code: 3,
			text: "use_bootstrap_image"},
		{name: "no configuration", step: step{args: args("-r nosuch-1-x86_64 --init")}, code: 3,
			text: "Non-existing Mock config 'nosuch-1-x86_64'"},
		{name: "configuration is not Python",
			step: step{args: args("-r /x.cfg --init"), files: config("config_opts['a'] = (")}, code: 3,
			text: "Config error: /x.cfg"},
		{name: "repository out of reach", step: step{args: args("-r /x.cfg --init"),
			files: config("config_opts['dnf.conf'] = '[r]\\nbaseurl=http://nosuch.invalid/\\n'")}, code: 30,
			text: "Could not resolve host: nosuch.invalid"},
		{name: "result directory not to be made",
			step: step{args: args("-r standin-1-x86_64 --resultdir /root/out --init")},
			code: 70, text: "/root/out"},
		{name: "spec error", step: step{args: args(buildsrpm), files: map[string]string{"/in/hello.spec": "%if 1\n" +
			helloSpec, "/in/sources/": "", "/out/": ""}},
			code: 1, text: "ERROR: Command failed", log: "\nChild return code was: 1\n"},
		{name: "unknown BuildRequires", srpm: strings.Replace(helloSpec, "gcc,", "nosuch-devel,", 1),
			step: step{args: args(r + "--no-clean --installdeps /in/hello.src.rpm")},
			code: 30, text: "No matching package to install: 'nosuch-devel'"},
		{name: "failing build", srpm: spec("exit 3"),
			step: step{args: args(r + "--no-clean -N --rebuild /in/hello.src.rpm")},
			code: 1, text: "ERROR: Exception(/in/hello.src.rpm)", log: "\nChild return code was: 1\n"},
		{name: "failing check left out", srpm: spec("make hello && echo false >hello"),
			step: step{args: args(r + "--no-clean -N --nocheck --rebuild /in/hello.src.rpm")}},
		{name: "no network while it builds", srpm: spec("getent hosts example.com"),
			step: step{args: args(r + "--no-clean -N --rebuild /in/hello.src.rpm")},
			code: 1, log: "\nChild return code was: 1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.step
			s.image = root
			if s.files == nil {
				s.files = map[string]string{"/out/": ""}
			}
			if c.srpm != "" {
				s.files["/in/hello.src.rpm"] = pack(t, c.srpm)
			}
			e := run(t, s)
			if e.code != c.code || !strings.Contains(e.stderr, c.text) {
				t.Errorf("exit code %d, want %d with %q:\n%s", e.code, c.code, c.text, e.stderr)
			}
			if c.log != "" && !strings.HasSuffix(results(t, e, "/out")["build.log"], c.log) {
				t.Errorf("build.log does not end with %q:\n%s", c.log, results(t, e, "/out")["build.log"])
			}
		})
	}
}
