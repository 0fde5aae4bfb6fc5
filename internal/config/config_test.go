package config

import (
	"cmp"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/osrelease"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// write makes a file in the working directory, which is the test's own.
func write(t *testing.T, name, content string) string {
	t.Helper()
	testkit.Must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	testkit.Must(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

// mustLoad loads with every secret, unless src says for whom.
func mustLoad(t *testing.T, src Source) *Config {
	t.Helper()
	src.For = cmp.Or(src.For, ForOperator)
	c, err := Load(src)
	testkit.Must(t, err)
	return c
}

func TestPrecedence(t *testing.T) {
	t.Chdir(t.TempDir())
	file := write(t, "rpmflow.yaml", "builder:\n  poll: 4s\n  archs: aarch64\n  engine: mock\n")
	env := []string{"RPMFLOW_BUILDER_POLL=5s", "RPMFLOW_BUILDER_ARCHS=x86_64, aarch64", "RPMFLOW_LOG_LEVEL=", "HOME=/"}
	flags := map[string]string{"builder.poll": "6s"}
	for _, tc := range []struct {
		name  string
		src   Source
		poll  time.Duration
		archs []string
	}{
		{"defaults", Source{}, 3 * time.Second, []string{rpmflow.HostArch()}},
		{"file", Source{File: file}, 4 * time.Second, []string{"aarch64"}},
		{"environment", Source{File: file, Env: env}, 5 * time.Second, []string{"x86_64", "aarch64"}},
		{"flags", Source{File: file, Env: env, Flags: flags}, 6 * time.Second, []string{"x86_64", "aarch64"}},
		{"flags alone", Source{Flags: flags}, 6 * time.Second, []string{rpmflow.HostArch()}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := mustLoad(t, tc.src)
			if c.Builder.Poll != tc.poll || !slices.Equal(c.Builder.Archs, tc.archs) {
				t.Errorf("poll %v, archs %v; want %v, %v", c.Builder.Poll, c.Builder.Archs, tc.poll, tc.archs)
			}
			if c.Log.Level != slog.LevelInfo {
				t.Errorf("an empty variable changed the level to %v", c.Log.Level)
			}
		})
	}
}

func TestExample(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, Source{File: "testdata/example.yaml", Env: []string{"RPMFLOW_HELLO_SECRET=env-s3cret"}})
	here, err := filepath.Abs("testdata")
	testkit.Must(t, err)
	wantTargets := []rpmflow.Target{
		{Name: "fedora-42-x86_64", Arch: "x86_64", Config: "fedora-42-x86_64", Image: "rpmflow/mock:latest",
			MaxAge: time.Minute},
		{Name: "opensuse-leap-15.6-aarch64", Arch: "aarch64", Config: "opensuse-leap-15.6-aarch64",
			Image: "rpmflow/mock:latest", MaxAge: time.Minute,
			Options: rpmflow.Options{
				Macros:  []rpmflow.Macro{{Name: "vendor", Value: "Example"}, {Name: "dist", Value: ".acme"}},
				Without: []string{"docs"},
				MockOptions: []rpmflow.MockOption{{Key: "nosync", Value: "true"}, {Key: "module_enable",
					Value: "nodejs:22"},
					{Key: "module_enable"}},
			}},
		{Name: "Ours", Arch: "x86_64", Config: filepath.Join(here, "mock/ours.cfg"),
			ConfigDir: filepath.Join(here, "mock"),
			Image:     "registry.example.com:5000/mock:6.7", MaxAge: time.Minute},
	}
	if !reflect.DeepEqual(c.Targets, wantTargets) {
		t.Errorf("targets:\n%+v\nwant\n%+v", c.Targets, wantTargets)
	}
	wantProjects := []rpmflow.Project{
		{
			Name: "Hello.World", URL: "https://git.example.com/hello.git", Branches: []string{"main", "f4?",
				"release-1.10"},
			Tags:   []string{"v*"},
			Layout: rpmflow.LayoutInTree, Spec: "SPECS/hello.spec", Targets: []string{"fedora-42-x86_64"},
			Secret:  "env-s3cret",
			Timeout: 90 * time.Minute, Concurrency: 2, Trust: true,
			Options: rpmflow.Options{
				Macros: []rpmflow.Macro{{Name: "quoted", Value: `it's "so" %{nil}`}}, With: []string{"tests", "docs"},
				NoCheck: true,
				Repositories: []rpmflow.Repo{
					{URL: "https://repo.example.com/$releasever/$basearch/", Priority: 50,
						GPGKey: "https://repo.example.com/KEY"},
					{URL: "http://10.0.0.1/r"},
				},
			},
		},
		{
			Name: "1.10", URL: "git@git.example.com:group/lib.git", Branches: []string{"trunk"},
			Layout:  rpmflow.LayoutAuto,
			Targets: []string{"fedora-42-x86_64", "opensuse-leap-15.6-aarch64", "Ours"}, Secret: "0123",
			Timeout:     time.Hour,
			Concurrency: 4,
		},
		{
			Name: "merged", URL: "/srv/git/merged.git", Branches: []string{"trunk"}, Layout: rpmflow.LayoutDistGit,
			Sources: rpmflow.Sources{
				Lookaside: "https://lookaside.example.com/{name}/{hash}",
				Mirrors:   []string{"https://mirror.example.com/sources", "ftp://ftp.example.com/{file}"},
				Checksums: []string{"md5:d41d8cd98f00b204e9800998ecf8427e lib-1.0.tar.gz"},
			},
			Targets: []string{"fedora-42-x86_64", "opensuse-leap-15.6-aarch64", "Ours"}, Secret: "0123",
			Timeout:     time.Hour,
			Concurrency: 4,
		},
		{
			Name: "nova", URL: "https://git.example.com/nova.git", Branches: []string{"main", "master"},
			Layout: rpmflow.LayoutSplit,
			Sources: rpmflow.Sources{Fallback: "rpm-master",
				Substitute: []rpmflow.Substitution{{Name: "VERSION", Value: "{version}"}, {Name: "X", Value: "a=b"}}},
			Packaging: rpmflow.Packaging{URL: "git@git.example.com:rpm/nova.git",
				Directories: []rpmflow.TargetDirectory{
					{Target: "fedora-*", Directory: "fedora"}, {Target: "opensuse-leap-15.6-aarch64"},
					{Target: "Ours", Directory: "a/b"},
				}},
			Targets: []string{"fedora-42-x86_64", "opensuse-leap-15.6-aarch64", "Ours"}, Timeout: time.Hour,
			Concurrency: 4,
		},
		{
			Name: "mono", URL: "/srv/git/mono.git", Branches: []string{"main", "master"}, Layout: rpmflow.LayoutAuto,
			Targets: []string{"fedora-42-x86_64", "opensuse-leap-15.6-aarch64", "Ours"}, Secret: "1",
			Timeout:     time.Hour,
			Concurrency: 4,
			Packages: []rpmflow.PackageSource{
				{Name: "a", Directory: "packages/a", Paths: []string{"packages/a/**", "macros/", "!**/README.md"}},
				{Name: "2", Spec: "two.spec"},
			},
		},
		{
			Name: "vendor", URL: "/srv/git/vendor.git", Branches: []string{"main", "master"},
			Layout:  rpmflow.LayoutSRPM,
			Targets: []string{"fedora-42-x86_64", "opensuse-leap-15.6-aarch64", "Ours"}, Secret: "1",
			Timeout:     time.Hour,
			Concurrency: 4,
			Sources:     rpmflow.Sources{Directory: "upstream", SRPMs: []string{"**/*.src.rpm", "!old/**"}},
		},
		{
			Name: "part", URL: "/srv/git/part.git", Branches: []string{"main", "master"}, Layout: rpmflow.LayoutAuto,
			Spec: "part.spec", Paths: []string{"rpm/**", "src/**"},
			Targets: []string{"fedora-42-x86_64", "opensuse-leap-15.6-aarch64", "Ours"}, Secret: "1",
			Timeout:     time.Hour,
			Concurrency: 4,
			Sources:     rpmflow.Sources{Directory: "rpm/part"},
		},
	}
	for i := range wantProjects {
		wantProjects[i].Publish.On = true
	}
	if !reflect.DeepEqual(c.Projects, wantProjects) {
		t.Errorf("projects:\n%+v\nwant\n%+v", c.Projects, wantProjects)
	}
	if p, ok := c.Project("Hello.World"); !ok || p.Concurrency != 2 {
		t.Errorf("Project: %v, %v", p, ok)
	}
	if _, ok := c.Project("hello.world"); ok {
		t.Error("a project's name lost its case")
	}
	if target, ok := c.Target("Ours"); !ok || target.Arch != "x86_64" {
		t.Errorf("Target: %v, %v", target, ok)
	}
	if c.S3.Bucket != "0123" || c.NATS.Password != "012 #é: Ü" {
		t.Errorf("values were damaged: bucket %q, password %q", c.S3.Bucket, string(c.NATS.Password))
	}
	if len(c.Warnings) != 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
}

// Targets that a builder can never build for are named; without targets the host's rpmbuild
// has one.
func TestEngines(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		text    string
		program Program
		want    string // in the only warning; empty: there is none
	}{
		{"builder: {engine: rpmbuild, archs: x86_64}\ntargets: [{name: host, arch: x86_64}, {name: " +
			"fedora-42-x86_64}, " +
			"{name: fedora-42-aarch64}]", ForOperator, `target "fedora-42-x86_64": builder.engine is rpmbuild`},
		{"builder: {engine: rpmbuild, archs: x86_64}\ntargets: [{name: fedora-42-x86_64}]", ForBuilder,
			"wait for another builder"},
		{"builder: {engine: rpmbuild, archs: x86_64}\ntargets: [{name: fedora-42-x86_64}]", ForListener, ""},
		{"builder: {archs: x86_64}\ntargets: [{name: host-fedora-42-x86_64}, {name: fedora-42-x86_64}]", ForOperator,
			`target "host-fedora-42-x86_64": by its name`},
		{"builder: {engine: rpmbuild}\nprojects: [{name: hello, url: /srv/git/hello.git}]", ForOperator, ""},
	} {
		got, err := Load(Source{File: write(t, "rpmflow.yaml", c.text), For: c.program})
		testkit.Must(t, err)
		if len(got.Warnings) > 1 || strings.Contains(strings.Join(got.Warnings, ""), c.want) != true ||
			(c.want == "") != (len(got.Warnings) == 0) {
			t.Errorf("%s: %q", c.text, got.Warnings)
		}
		if own := rpmflow.HostTarget(osrelease.Read()).Name; len(got.Projects) > 0 &&
			(len(got.Targets) != 1 || got.Targets[0].Name != own || got.Projects[0].Targets[0] != own) {
			t.Errorf("targets %+v", got.Targets)
		}
	}
}

// A key that cannot be set by its variable, or that has no documentation, is not finished.
func TestEveryKey(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "file", "from a file\n")
	sample := map[string]string{
		"path": "file", "URL": "https://other.example.com", "list of URLs": "tls://other.example.com:4222",
		"text":     "other",
		"secret":   "other",
		"variable": "OTHER", "duration": "77s", "size": "77MiB", "integer": "77", "number": "0.77",
		"true|false":            "false",
		"1|3":                   "3",
		"list of architectures": "s390x", "list of names": "other", "list of addresses": "10.1.0.0/16,other",
		"address": ":7777", "debug|info|warn|error": "warn", "text|json": "json", "auto|mock|rpmbuild": "rpmbuild",
	}
	// Some keys are right only together with others, and some only without.
	with := write(t, "with.yaml",
		"nats:\n  user: u\ns3:\n  access_key: a\n  secret_key: s\ngateway:\n  cert_file: file\n  key_file: file\n")
	without := write(t, "without.yaml", "")
	seen := map[string]bool{}
	for _, k := range Keys() {
		t.Run(k.Path, func(t *testing.T) {
			if k.Doc == "" || k.Env == "" || k.Type == "" || seen[k.Env] || !strings.HasSuffix(k.Doc, ".") {
				t.Fatalf("incomplete or not unique: %+v", k)
			}
			seen[k.Env] = true
			value := sample[k.Type]
			if k.Path == "builder.docker.host" {
				value = "tcp://other:2376"
			}
			file := with
			if strings.HasPrefix(k.Path, "gateway.") && k.Type == "path" {
				value = write(t, "another", "from another file\n")
			}
			if strings.HasPrefix(k.Path, "nats.token") || strings.HasPrefix(k.Path, "nats.nkey") ||
				k.Path == "nats.credentials" {
				file = without
			}
			env := []string{"OTHER=from a variable"}
			before := mustLoad(t, Source{File: file, Env: env})
			after := mustLoad(t, Source{File: file, Env: append(env, k.Env+"="+value)})
			if reflect.DeepEqual(before, after) {
				t.Errorf("%s=%s changes nothing", k.Env, value)
			}
			if flagged := mustLoad(t, Source{File: file, Env: env,
				Flags: map[string]string{k.Path: value}}); !reflect.DeepEqual(flagged, after) {
				t.Errorf("flag and variable differ")
			}
		})
	}
	for _, k := range ListKeys() {
		if k.Doc == "" || k.Type == "" || k.Env != "" {
			t.Errorf("incomplete: %+v", k)
		}
	}
	for _, s := range sections(new(Config).settings(nil)) {
		if sectionDoc(s) == "" {
			t.Errorf("section %s is not explained", s)
		}
	}
}

func TestCheckBuilder(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "conf/ours.cfg", "")
	write(t, "conf/mock/there.cfg", "")
	testkit.Must(t, os.Mkdir("conf/dir.cfg", 0o755))
	c := mustLoad(t, Source{File: write(t, "conf/rpmflow.yaml", `targets:
- {name: shipped}
- {name: own-file, config: ours.cfg}
- {name: own-dir, config: there, config_dir: mock}
- {name: no-file, config: theirs.cfg}
- {name: no-dir, config: there, config_dir: mick}
- {name: not-in-dir, config_dir: mock}
- {name: dir-as-file, config: dir.cfg}
- {name: file-as-dir, config_dir: ours.cfg}
`)})
	here, err := os.Getwd()
	testkit.Must(t, err)
	const want = `target "no-file": config: stat HERE/conf/theirs.cfg: no such file or directory: name a mock configuration that this builder can read
target "no-dir": config_dir: stat HERE/conf/mick: no such file or directory: name a directory that this builder can read
target "not-in-dir": config: stat HERE/conf/mock/not-in-dir.cfg: no such file or directory: name a mock configuration that this builder can read
target "dir-as-file": config: HERE/conf/dir.cfg is not a file
target "file-as-dir": config_dir: HERE/conf/ours.cfg is not a directory`
	if err := c.CheckBuilder(); err == nil || err.Error() != strings.ReplaceAll(want, "HERE", here) {
		t.Errorf("got\n%v\nwant\n%s", err, strings.ReplaceAll(want, "HERE", here))
	}
	c.Targets = c.Targets[:3]
	if err := c.CheckBuilder(); err != nil {
		t.Error(err)
	}
}
