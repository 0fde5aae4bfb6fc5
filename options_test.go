package rpmflow_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMacros(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]rpmflow.Macro{
		"dist .acme":            {Name: "dist", Value: ".acme"},
		"%dist   .acme ":        {Name: "dist", Value: ".acme"},
		"greet(a:b) echo %{-a}": {Name: "greet(a:b)", Value: "echo %{-a}"},
		`quoted it's "so" \1`:   {Name: "quoted", Value: `it's "so" \1`},
		"empty %{nil}":          {Name: "empty", Value: "%{nil}"},
		"lua_count %{#} {":      {Name: "lua_count", Value: "%{#} {"},
		"shell %(echo {a)":      {Name: "shell", Value: "%(echo {a)"},
		"percent 100%%{":        {Name: "percent", Value: "100%%{"},
		"ümlaut":                {},
		"vendor Ümlaut GmbH":    {Name: "vendor", Value: "Ümlaut GmbH"},
		"dist":                  {},
		"":                      {},
		"a 1":                   {},
		"two 1\nthree 2":        {},
		"two\n3":                {},
		"two 1\\":               {},
		"two %{open":            {},
		"two %(open":            {},
		"two {open":             {},
		"two {body}":            {Name: "two", Value: "{body}"},
		"two %[open":            {},
		"two a\x00b":            {},
		"two \xff":              {},
		"_topdir /":             {},
		"%_rpmfilename x":       {},
		"with-dash 1":           {},
	} {
		m, err := rpmflow.ParseMacro(given)
		if want.Name == "" {
			if err == nil {
				t.Errorf("%q is read as %+v", given, m)
			}
			continue
		}
		if err != nil || m != want {
			t.Errorf("%q is read as %+v, %v, want %+v", given, m, err, want)
		}
		if again, err := rpmflow.ParseMacro(m.String()); err != nil || again != m {
			t.Errorf("%q is shown as %q, and that is read as %+v, %v", given, m, again, err)
		}
	}
	if _, err := rpmflow.ParseMacro("two " + strings.Repeat("x", 1<<20)); err == nil || len(err.Error()) > 400 {
		t.Errorf("a very long macro: %v", err)
	}
}

func FuzzMacro(f *testing.F) {
	for _, s := range []string{"dist .acme", "a(b:) %{-b}", "x\ny z", `two %{a\}}`, "two \\", "two %%{"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := rpmflow.ParseMacro(s)
		if err != nil {
			return
		}
		if line := m.String(); strings.ContainsAny(line, "\n\r\x00") || strings.HasSuffix(line, `\`) ||
			strings.ContainsAny(m.Name, " \t'\"\\") {
			t.Errorf("%q is read as %q", s, line)
		}
		if again, err := rpmflow.ParseMacro(m.String()); err != nil || again != m {
			t.Errorf("%q: %+v is shown as %q, and that is read as %+v, %v", s, m, m.String(), again, err)
		}
	})
}

func TestOptionsOfACommandLine(t *testing.T) {
	t.Parallel()
	o, err := rpmflow.ParseOptions([]string{"dist .a", "debug_package %{nil}", "dist .b"}, []string{"docs", "docs"},
		[]string{"tests-net"})
	testkit.Must(t, err)
	equal(t, o.Definitions(), []rpmflow.Macro{
		{Name: "debug_package", Value: "%{nil}"}, {Name: "dist", Value: ".b"},
		{Name: "_with_docs", Value: "--with-docs"}, {Name: "_without_tests_net", Value: "--without-tests-net"},
	})

	_, err = rpmflow.ParseOptions([]string{"x"}, []string{"--with docs", "a"}, []string{"a"})
	for _, problem := range []string{`"x"`, `"--with docs"`, `condition "a" is in both with and without`} {
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("got %v, want it to say %s", err, problem)
		}
	}
}

func TestOptionsOfAProjectOverThoseOfATarget(t *testing.T) {
	t.Parallel()
	target := rpmflow.Options{
		Macros: []rpmflow.Macro{{"dist", ".t"}, {"vendor", "T"}, {"f(a)", "t"}}, With: []string{"a", "b"},
		Without: []string{"c"}, NoCheck: true,
		Repositories: []rpmflow.Repo{{URL: "https://t", Trusted: true}, {URL: "https://both", Trusted: true}},
		MockOptions:  []rpmflow.MockOption{{"nosync", "true"}, {"module_enable", "a"}, {"module_enable", "b"}},
	}
	project := rpmflow.Options{
		Macros: []rpmflow.Macro{{"dist", ".p"}, {"f(b)", "p"}}, With: []string{"c"}, Without: []string{"b", "d"},
		Repositories: []rpmflow.Repo{{URL: "https://both", Priority: 5}, {URL: "https://p"}},
		MockOptions:  []rpmflow.MockOption{{"module_enable", "c"}},
	}
	got := project.Over(target)
	equal(t, got, rpmflow.Options{
		Macros: []rpmflow.Macro{{"vendor", "T"}, {"dist", ".p"}, {"f(b)", "p"}}, With: []string{"a", "c"},
		Without: []string{"b", "d"}, NoCheck: true,
		Repositories: []rpmflow.Repo{{URL: "https://t", Trusted: true},
			{URL: "https://both", Priority: 5, Trusted: true}, {URL: "https://p"}},
		MockOptions: []rpmflow.MockOption{{"nosync", "true"}, {"module_enable", "c"}},
	})
	equal(t, got.Untrusted(), []string{"https://p"})
	equal(t, got.Trust().Untrusted(), nil)
	own := rpmflow.Options{UseOwnRepository: true}
	equal(t, own.Untrusted(), []string{"use_own_repository"})
	equal(t, own.Over(target.Trust()).Untrusted(), []string{"use_own_repository"})
	equal(t, own.Trust().Over(target), own.Over(target).Trust())
	equal(t, own.Trust().Over(target).Untrusted(), nil)
	equal(t, got.Untrusted(), []string{"https://p"}) // what was given is left as it was
	equal(t, project.Repositories[0].Trusted, false)
	equal(t, rpmflow.Options{}.Over(rpmflow.Options{}), rpmflow.Options{})
	equal(t, rpmflow.Options{Without: []string{"x"}}.Over(rpmflow.Options{With: []string{"x"}}),
		rpmflow.Options{Without: []string{"x"}})
}

func equal[T any](t *testing.T, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestRepositories(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]rpmflow.Repo{
		"https://repo.example.com/f$releasever/$basearch/": {URL: "https://repo.example.com/f$releasever/$basearch/"},
		"http://10.0.0.1:8080/r priority=10":               {URL: "http://10.0.0.1:8080/r", Priority: 10},
		" https://r/  gpgkey=https://r/key.asc  priority=1 ": {URL: "https://r/", Priority: 1,
			GPGKey: "https://r/key.asc"},
		"":                            {},
		"repo.example.com":            {},
		"file:///srv/repo":            {},
		"https://":                    {},
		"https://user:geheim@r/":      {},
		"https://user:geh/eim@r/":     {},
		"https://geheim@r/a@b":        {},
		"user:geheim@r/":              {},
		"https://r/{{ releasever }}":  {},
		"https://r/ priority=0":       {},
		"https://r/ priority=x":       {},
		"https://r/ cost=1":           {},
		"https://r/ gpgkey=/etc/key":  {},
		"https://r/\npriority=1\n[x]": {},
		"https://r/\"\"\"":            {},
		"https://r/ https://s/":       {},
	} {
		r, err := rpmflow.ParseRepo(given)
		if want.URL == "" {
			if err == nil || strings.Contains(err.Error(), "geheim") {
				t.Errorf("%q is read as %+v, %v", given, r, err)
			}
			continue
		}
		if err != nil || r != want {
			t.Errorf("%q is read as %+v, %v, want %+v", given, r, err, want)
		}
		if again, err := rpmflow.ParseRepo(r.String()); err != nil || again != r {
			t.Errorf("%q is shown as %q, and that is read as %+v, %v", given, r, again, err)
		}
	}
}

func TestMockOptions(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]rpmflow.MockOption{
		"chroot_additional_packages=a b /usr/bin/c": {Key: "chroot_additional_packages", Value: "a b /usr/bin/c"},
		"module_enable=": {Key: "module_enable"},
		"rpmbuild_opts=--short-circuit -D 'a b=c'": {Key: "rpmbuild_opts", Value: "--short-circuit -D 'a b=c'"},
		"dist=it's \\ \"fc\" ü":                    {Key: "dist", Value: "it's \\ \"fc\" ü"},
		"nosync":                                   {},
		"isolation=nspawn":                         {},
		"use_bootstrap_image=true":                 {},
		"docker_unshare_warning=false":             {},
		"plugin_conf=x":                            {},
		"rpmbuild_networking=true":                 {},
		"use_nspawn=true":                          {},
		"rpmbuild_command=/bin/sh":                 {},
		"dnf_common_opts=--nogpgcheck":             {},
		"dnf.conf=[x]":                             {},
		"macros=x":                                 {},
		"dist=a\nb":                                {},
		"dist={{ 1 }}":                             {},
		"dist={% raw %}":                           {},
		"chroot_setup_cmd=install @x --repofrompath=evil,http://evil": {},
		"chroot_additional_packages=https://evil/x.rpm":               {},
	} {
		o, err := rpmflow.ParseMockOption(given)
		if want.Key == "" {
			if err == nil {
				t.Errorf("%q is read as %+v", given, o)
			}
			continue
		}
		if err != nil || o != want || o.String() != given {
			t.Errorf("%q is read as %+v, %v, want %+v", given, o, err, want)
		}
	}
}

func TestIsSRPM(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"a-1-1.src.rpm": true, "dir/a.srpm": true, "/srv/a.src.rpm": true,
		"a-1-1.nosrc.rpm": false, "a-1-1.noarch.rpm": false, ".src.rpm": false, "dir/.srpm": false,
		"a.src.rpm/b": false, "": false,
	} {
		if got := rpmflow.IsSRPM(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}
