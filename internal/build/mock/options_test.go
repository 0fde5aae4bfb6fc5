package mock

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocktest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestConfigurationIsWhatWasGiven has Python read what is written for it.
func TestConfigurationIsWhatWasGiven(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skipf("needs python3: %v", err)
	}
	var options []rpmflow.MockOption
	for _, s := range []string{
		"nosync=true", "use_bootstrap=False", "releasever=none", "rpmbuild_timeout=+5",
		"dynamic_buildrequires_max_loops=08",
		"module_enable=nodejs:22", "module_enable=perl", "module_install=one", "module_install=",
		`dist=it's "so" \n \ ü ` +
			"\t'''\U0001F600", "chroot_setup_cmd=a=b",
	} {
		o, err := rpmflow.ParseMockOption(s)
		testkit.Must(t, err)
		options = append(options, o)
	}
	repositories := []rpmflow.Repo{
		{URL: "https://r.example.com/$releasever/it's%20so/"}, {URL: "http://r/", Priority: 5, GPGKey: "https://r/key"},
		{URL: "http://r"},
	}
	config, macros := buildConfig(7, rpmflow.Options{
		Macros:  []rpmflow.Macro{{Name: "dist", Value: `.it's"so"{{ 1 }}`}, {Name: "fun(a:)", Value: "%{#}"}},
		Without: []string{"a-b"}, NoCheck: true,
	})
	program := `
import json
config_opts = {"dnf.conf": "[main]", "environment": {},
    "macros": {"%dist": 1, "fun": 1, "%_without_a_b": 1, "%other": 1}}
` + string(optionsConfig(options)) + string(repositoriesConfig(repositories)) +
		string(ownConfig("http://localhost:8080/repos/p/t/r/1-01234567/", "p", "http://172.17.0.1:9")) +
		string(config) +
		"print(json.dumps(config_opts))\n"
	cmd := exec.Command("python3", "-c", program)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, program)
	}
	var got map[string]any
	testkit.Must(t, json.Unmarshal(out, &got))
	conf := got["dnf.conf"].(string)
	delete(got, "dnf.conf")
	want := map[string]any{
		"nosync": true, "use_bootstrap": false, "releasever": nil, "rpmbuild_timeout": 5.0,
		"dynamic_buildrequires_max_loops": 8.0,
		"module_enable":                   []any{"nodejs:22", "perl"}, "module_install": []any{"one"},
		"dist": `it's "so" ` +
			`\n \ ü ` +
			"\t'''\U0001F600", "chroot_setup_cmd": "a=b",
		"environment": map[string]any{"SOURCE_DATE_EPOCH": "7"}, "check": false, "macrofile": "/rpmflow/macros",
		"macros": map[string]any{"%other": 1.0},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if want := "%dist .it's\"so\"{{ 1 }}\n%fun(a:) %{#}\n%_without_a_b --without-a-b\n"; string(macros) != want {
		t.Errorf("macros %q, want %q", macros, want)
	}
	for _, line := range []string{
		"baseurl=https://r.example.com/$releasever/it's%20so/", "priority=5", "gpgcheck=1", "gpgkey=https://r/key",
		"gpgcheck=0",
		"baseurl=http://localhost:8080/repos/p/t/r/1-01234567/", "repo_gpgcheck=1", "proxy=http://172.17.0.1:9",
		"gpgkey=http://localhost:8080/repos/p/t/RPM-GPG-KEY-p",
		"[" + repositoryID("http://r/") + "]", "[" + repositoryID("http://r") + "]",
	} {
		if !strings.Contains(conf, "\n"+line+"\n") {
			t.Errorf("no line %q in %q", line, conf)
		}
	}
	if config, macros := buildConfig(7, rpmflow.Options{}); macros != nil ||
		string(config) != "config_opts['environment']['SOURCE_DATE_EPOCH'] = '7'\n" {
		t.Errorf("for nothing: %q, %q", config, macros)
	}
}

const optionalSpec = `Name: p
Version: 1
Release: 1%{?dist}
Summary: A package
License: MIT
BuildArch: noarch
%bcond_without docs
%if %{with docs}
BuildRequires: doctool
%endif
BuildRequires: acme-devel
Provides: word(%{?word})
%description
A package.
%if %{with docs}
%package docs
Summary: Words
%description docs
Words.
%files docs
%endif
%build
%install
%check
exit 1
%files
`

// repository is what a repository of one package has in its metadata.
const repositoryScript = `mkdir -p /repo/extra/repodata && cd /repo/extra/repodata
echo "<metadata xmlns='http://linux.duke.edu/metadata/common'>
<package type='rpm'><name>acme-devel</name></package></metadata>" | gzip >primary.xml.gz
echo "<repomd xmlns='http://linux.duke.edu/metadata/repo'><revision>$1</revision>
<data type='primary'><location href='repodata/primary.xml.gz'/></data></repomd>" >repomd.xml`

// TestOptions: what a build asks for is in its package; its repositories are its own; its roots are shared with no
// other build who asks for other ones.
func TestOptions(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	e := h.engine(t)
	publish := func(revision string) {
		mocktest.Docker(t, "exec", h.repository, "sh", "-c", repositoryScript, "sh", revision)
	}
	publish("1")
	extra := rpmflow.Repo{URL: "http://" + mocktest.Docker(t, "inspect", "--format",
		"{{.NetworkSettings.IPAddress}}", h.repository) + "/extra/", Trusted: true}
	asked := rpmflow.Options{
		Macros:  []rpmflow.Macro{{Name: "dist", Value: ".acme"}, {Name: "word", Value: `it's{"so"}{{x}}{#`}},
		Without: []string{"docs"}, NoCheck: true, Repositories: []rpmflow.Repo{extra},
	}
	dir := t.TempDir()
	spec, sources := filepath.Join(dir, "p.spec"), filepath.Join(dir, "sources")
	testkit.Write(t, spec, optionalSpec)
	testkit.Must(t, os.Mkdir(sources, 0o700))
	run := func(name, project string, o rpmflow.Options, target rpmflow.Target) (a *attempt, rpms []string, err error) {
		t.Helper()
		a = h.openFor(t, e, name, target,
			rpmflow.Build{BuildRequest: rpmflow.BuildRequest{Project: project, Package: "p",
				Options: o}})
		testkit.Must(t, a.Root(t.Context()))
		srpm, err := a.SRPM(t.Context(), spec, sources)
		testkit.Must(t, err)
		a.containers = 0
		if err := a.Dependencies(t.Context(), srpm); err != nil {
			return a, nil, err
		}
		rpms, err = a.RPMs(t.Context(), srpm)
		return a, rpms, err
	}

	first, rpms, err := run("first", "p", asked, h.target)
	testkit.Must(t, err)
	if len(rpms) != 1 || filepath.Base(rpms[0]) != "p-1-1.acme.noarch.rpm" {
		t.Errorf("packages %q", rpms)
	}
	provides, err := exec.Command("rpm", "-qp", "--provides", rpms[0]).Output()
	if want := `word(it's{"so"}{{x}}{#)`; err != nil || !slices.Contains(strings.Split(string(provides), "\n"), want) {
		t.Errorf("provides %q, want %s among it: %v", provides, want, err)
	}
	i := slices.IndexFunc(first.Logs(), func(l string) bool { return filepath.Base(l) == configLog })
	for _, want := range []string{"baseurl=" + extra.URL, `#   %dist .acme`, "config_opts['check'] = False"} {
		if log := readFile(t, first.Logs()[i]); !strings.Contains(log, want) {
			t.Errorf("%s has no %q:\n%s", configLog, want, log)
		}
	}
	query, err := h.openQuery(t, e, asked).Query(t.Context(), spec, sources, "-q", "--provides")
	if err != nil || !strings.Contains(string(query), `word(it's{"so"}{{x}}{#)`) {
		t.Errorf("the spec provides %q: %v", query, err)
	}

	var failure *rpmflow.Failure
	for name, c := range map[string]struct {
		project string
		o       rpmflow.Options
		words   string
	}{
		"another project":       {"q", rpmflow.Options{Without: asked.Without, NoCheck: true}, "acme-devel"},
		"the same without":      {"p", rpmflow.Options{Without: asked.Without, NoCheck: true}, "acme-devel"},
		"with docs, by a macro": {"p", rpmflow.Options{Repositories: asked.Repositories}, "doctool"},
		"%check is not left out": {"p", rpmflow.Options{Without: asked.Without, Repositories: asked.Repositories},
			"%check"},
		"a repository that is not": {"p",
			rpmflow.Options{Repositories: []rpmflow.Repo{{URL: extra.URL + "nosuch/",
				Trusted: true}}}, ""},
	} {
		_, _, err := run(name, c.project, c.o, h.target)
		if packagers := errors.As(err, &failure); err == nil || packagers != (c.words != "") ||
			!strings.Contains(err.Error(),
				c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}

	again, _, err := run("again", "p", asked, h.target)
	testkit.Must(t, err)
	if again.root.Image != first.root.Image || again.containers != 1 {
		t.Errorf("%d containers, the root %s; it was %s", again.containers, again.root.Image, first.root.Image)
	}
	strict := h.target
	strict.MaxAge = time.Nanosecond
	checked, _, err := run("checked", "p", asked, strict)
	testkit.Must(t, err)
	if checked.containers != 2 {
		t.Errorf("%d containers; the repository had to be asked, and had not changed", checked.containers)
	}
	publish("2")
	changed, _, err := run("changed", "p", asked, strict)
	testkit.Must(t, err)
	if changed.root.Image != first.root.Image || changed.s.deps.ID == checked.s.deps.ID {
		t.Errorf("root %s, dependencies %s; they were %s, %s, and only the project's own repository has changed",
			changed.root.Image, changed.s.deps.ID, first.root.Image, checked.s.deps.ID)
	}

	asked.MockOptions = []rpmflow.MockOption{{Key: "chroot_additional_packages", Value: "zstd xz"}}
	own, _, err := run("own root", "p", asked, h.target)
	testkit.Must(t, err)
	if own.root.Image == first.root.Image || own.root.Config == first.root.Config {
		t.Errorf("options of mock are not in the root %+v; without it was %+v", own.root, first.root)
	}
	list := mocktest.Docker(t, "run", "--rm", "--network", "none", "--entrypoint", "sh", own.root.Image, "-c",
		"cat /var/lib/mock/*/root/var/lib/rpm/standin-packages; ls /var/lib/mock/*/root/var/cache/dnf")
	if !strings.Contains(list, "zstd") || strings.Contains(list, "acme") || strings.Contains(list, "extra") {
		t.Errorf("the root has %s", list)
	}
}

func (h *host) openQuery(t *testing.T, e *Engine, o rpmflow.Options) *attempt {
	t.Helper()
	a := h.openFor(t, e, "query", h.target, rpmflow.Build{BuildRequest: rpmflow.BuildRequest{Project: "p", Package: "p",
		Options: o}})
	testkit.Must(t, a.Root(t.Context()))
	return a
}

// TestTrust: without user namespaces a project's own repositories need the operator's word.
func TestTrust(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	e := h.engine(t)
	facts, err := e.Facts(t.Context())
	testkit.Must(t, err)
	o := rpmflow.Options{Repositories: []rpmflow.Repo{{URL: "http://a/", Trusted: true}, {URL: "http://b/"}}}
	_, err = e.Open(t.Context(), build.Job{Build: rpmflow.Build{BuildRequest: rpmflow.BuildRequest{Project: "p",
		Options: o}}, Target: h.target, Dir: t.TempDir()})
	var failure *rpmflow.Failure
	if refused := errors.As(err, &failure); refused == facts.UserNamespaces {
		t.Fatalf("with user namespaces %v: %v", facts.UserNamespaces, err)
	} else if refused && (failure.Kind != rpmflow.FailureDependencies || !strings.Contains(failure.Message,
		"http://b/") ||
		strings.Contains(failure.Message, "http://a/") || !strings.Contains(failure.Hint, "trust: true")) {
		t.Errorf("%s: %v; %s", failure.Kind, failure, failure.Hint)
	}
	s, err := e.Open(t.Context(), build.Job{Build: rpmflow.Build{BuildRequest: rpmflow.BuildRequest{Project: "p",
		Options: o.Trust()}}, Target: h.target, Dir: t.TempDir()})
	testkit.Must(t, err)
	testkit.Must(t, s.Close(t.Context()))
}
