package standin_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestRepository: packages of a repository are installed with rpm, and not if something is wrong with them.
func TestRepository(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"rpmbuild", "createrepo_c"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	base := image(t)
	dir := t.TempDir()
	for _, version := range []string{"9", "10"} {
		spec := filepath.Join(dir, "acme.spec")
		testkit.Write(t, spec, "Name: acme\nVersion: "+version+"\nRelease: 1\nSummary: For tests\nLicense: MIT\n"+
			"BuildArch: noarch\nProvides: acme-devel\n%description\nFor tests.\n%install\n"+
			"mkdir -p %{buildroot}/usr/share/acme\n"+
			"echo %{version} >%{buildroot}/usr/share/acme/version\n%files\n/usr/share/acme\n")
		shell(t, "rpmbuild", "-bb", "--quiet", "--define", "_rpmdir "+dir+"/repo", "--define", "_topdir "+dir, spec)
	}
	shell(t, "createrepo_c", "--quiet", dir+"/repo")
	shell(t, "cp", "-r", dir+"/repo", dir+"/damaged")
	shell(t, "sh", "-c", "echo >>"+dir+"/damaged/noarch/acme-10-1.noarch.rpm")
	server := mustDocker(t, nil, "create", base, "sh", "-c", "exec python3 -m http.server --directory /srv 80")
	t.Cleanup(func() { _, _, _ = docker(t, nil, "rm", "--force", "--volumes", server) })
	mustDocker(t, nil, "cp", dir+"/.", server+":/srv")
	mustDocker(t, nil, "start", server)
	testkit.Eventually(t, "an answer of the repository", func() bool {
		_, _, err := docker(t, nil, "exec", server, "python3", "-c",
			"import urllib.request as r; r.urlopen('http://127.0.0.1/')")
		return err == nil
	})
	url := "http://" + mustDocker(t, nil, "inspect", "--format", "{{.NetworkSettings.IPAddress}}", server)

	root := commit(t, succeeded(t, step{image: base, args: args("-r standin-1-x86_64 --init")}))
	spec := strings.Replace(helloSpec, "BuildRequires: gcc,", "BuildRequires: gcc, acme-devel,", 1)
	const options = "-n -N --resultdir /out "
	source := succeeded(t, step{image: root,
		args:  args("-r standin-1-x86_64 " + options + "--buildsrpm --spec /in/hello.spec --sources /in/sources"),
		files: map[string]string{"/in/hello.spec": spec, "/in/sources/hello.c": helloC, "/out/": ""}})
	srpm := results(t, source, "/out")["hello-1.0-1.s1.src.rpm"]
	install := func(repository string) step {
		return step{image: root, network: "bridge",
			args: args("-r /x.cfg " + options + "--installdeps /in/hello.src.rpm"),
			files: map[string]string{"/in/hello.src.rpm": srpm, "/out/": "",
				"/x.cfg": "include('/etc/mock/standin-1-x86_64.cfg')\n" +
					"config_opts['dnf.conf'] = '[main]\\n[r]\\n" + repository + "\\n'\n"}}
	}

	installed := commit(t, succeeded(t, install("baseurl="+url+"/repo\\ngpgcheck=0")))
	e := succeeded(t, step{image: installed, args: []string{"-r", "standin-1-x86_64", "--quiet", "--offline",
		"--chroot", "rpm -q acme; cat /usr/share/acme/version"}})
	if e.stdout != "acme-10-1.noarch\n10\n" {
		t.Errorf("installed: %q", e.stdout)
	}
	for _, c := range []struct{ options, text string }{
		{"baseurl=" + url + "/repo\\ngpgcheck=1", "acme-10-1.noarch.rpm is not signed"},
		{"baseurl=" + url + "/repo\\nrepo_gpgcheck=1", "Status code: 404"},
		{"baseurl=" + url + "/damaged", "checksum doesn't match"},
		{"baseurl=" + url + "/nosuch", "Status code: 404"},
		{"baseurl=" + url + "/repo\\nproxy=http://127.0.0.1:1", "Failed to connect"},
	} {
		if e := run(t, install(c.options)); e.code != 30 || !strings.Contains(e.stderr, c.text) {
			t.Errorf("%s: exit code %d without %q:\n%s", c.options, e.code, c.text, e.stderr)
		}
	}
	e = run(t, install("baseurl="+url+"/repo\\ngpgchekc=1"))
	if e.code != 3 || !strings.Contains(e.stderr, "gpgchekc") {
		t.Errorf("an option that is none: exit code %d:\n%s", e.code, e.stderr)
	}
}

func shell(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}
