package config

import (
	"cmp"
	"encoding/json"
	"fmt"
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
)

// write makes a file in the working directory, which is the test's own.
func write(t *testing.T, name, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// mustLoad loads with every secret, unless src says for whom.
func mustLoad(t *testing.T, src Source) *Config {
	t.Helper()
	src.For = cmp.Or(src.For, ForOperator)
	c, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
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
	if err != nil {
		t.Fatal(err)
	}
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
				Repositories: []rpmflow.Repository{
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
		if err != nil {
			t.Fatal(err)
		}
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

func TestSecretsAreNeverShown(t *testing.T) {
	t.Chdir(t.TempDir())
	const hidden = "hunter2"
	write(t, "token", hidden+"-file\n")
	c := mustLoad(t, Source{
		File: write(t, "rpmflow.yaml", "projects:\n- name: p\n  url: https://user:"+hidden+"@example.com/p.git\n"+
			"  secret: "+hidden+"\n"),
		Env: []string{
			"RPMFLOW_NATS_USER=u", "RPMFLOW_NATS_PASSWORD=" + hidden, "RPMFLOW_LISTENER_TOKEN_FILE=token",
			"RPMFLOW_S3_ACCESS_KEY=" + hidden,
			"RPMFLOW_S3_SECRET_KEY_ENV=SK", "SK=" + hidden,
		},
	})
	if c.Listener.Token != hidden+"-file" || c.S3.SecretKey != hidden || c.Projects[0].Secret != hidden {
		t.Error("secrets were not read")
	}
	var b strings.Builder
	if err := WriteEffective(&b, c); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), redacted); n != 6 {
		t.Errorf("%d secrets are said to be set, want 6:\n%s", n, b.String())
	}
	marshalled, err := json.Marshal(struct{ N, S, L any }{c.NATS, c.S3, c.Listener})
	if err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "nats", c.NATS, "token", c.Listener.Token)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "nats", c.NATS, "token", c.Listener.Token)
	for _, shown := range []string{b.String(), string(marshalled),
		fmt.Sprintf("%v %+v %#v %q %x", c.NATS, c.S3, c.Listener, c.NATS.Password, c.S3.SecretKey)} {
		if strings.Contains(shown, hidden) || strings.Contains(shown, fmt.Sprintf("%x", hidden)) {
			t.Errorf("a secret is shown: %s", shown)
		}
	}

	for _, bad := range []string{
		"nats:\n  password: *hunter2\n", "nats:\n  password: &hunter2\n", "nats:\n  password: !hunter2 x\n",
		"nats:\n  password: [hunter2]\n",
		"nats:\n  password: hunter2: x\n", "nats:\n  password: hunter2\n", "nats: hunter2\n",
		"nats:\n  user: u\n  password_env: hunter2\n",
		"nats:\n  password: hunter2\n  password_file: x\n", "nats:\n  url: nats://u:hunter2@h\n",
		"nats:\n  url: nats://u:hunt/hunter2@h\n",
		"projects:\n- name: p\n  url: https://u:hunter2@h\n",
		"projects:\n- name: p\n  url: https://u:hunt/hunter2@h/x\n",
		"projects:\n- name: p\n  url: u:hunter2@h/x\n", "projects:\n- name: p\n  url: ssh://u:hunter2@h/x\n",
		"projects:\n- name: p\n  url: htps://u:hunter2@h/x\n",
		"projects:\n- name: p\n  url: https://hunter2@-h/x\n", "s3:\n  endpoint: http://u:hunter2@h:1\n",
		"public_url: http://u:hunter2@h:1\n",
		"builder:\n  docker:\n    host: tcp://u:hunter2@h:1\n", "projects:\n- name: p\n  secret: [hunter2]\n",
		"listener:\n  token: {hunter2: x}\n",
	} {
		_, err := Load(Source{File: write(t, "bad.yaml", bad), For: ForOperator})
		if err == nil || strings.Contains(err.Error(), hidden) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, k := range Keys() {
		if !k.Secret {
			continue
		}
		_, err := Load(Source{Env: []string{k.Env + "=" + hidden, k.Env + "_FILE=x", "RPMFLOW_LOG_LEVEL=loud"},
			For: ForOperator})
		if err == nil || strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: %v", k.Env, err)
		}
	}
}

func TestSecretOfAStrongerPlaceReplacesTheWeaker(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "conf/token", "from file")
	if err := os.Chmod("conf/token", 0o644); err != nil {
		t.Fatal(err)
	}
	src := Source{File: write(t, "conf/rpmflow.yaml", "listener:\n  token_file: token\n  token: ''\n  token_env: ''\n")}
	c := mustLoad(t, src)
	if c.Listener.Token != "from file" {
		t.Errorf("token %q", string(c.Listener.Token))
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "conf/token can be read by all users") {
		t.Errorf("warnings: %q", c.Warnings)
	}
	src.Env = []string{"RPMFLOW_LISTENER_TOKEN=from environment"}
	if c := mustLoad(t, src); c.Listener.Token != "from environment" || len(c.Warnings) != 0 {
		t.Errorf("token %q, warnings %q", string(c.Listener.Token), c.Warnings)
	}
	src.Flags = map[string]string{"listener.token_env": "T"}
	src.Env = append(src.Env, "T=from flag")
	if c := mustLoad(t, src); c.Listener.Token != "from flag" {
		t.Errorf("token %q", string(c.Listener.Token))
	}
}

func TestAcceptsSubmissions(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]bool{
		"127.0.0.1:8080": true, "[::1]:8080": true, "localhost:8080": true, "127.8.8.8:1": true,
		":8080": false, "0.0.0.0:8080": false, "[::]:8080": false, "192.0.2.1:8080": false,
		"localhost.example.com:8080": false, "": false,
	} {
		if got := (Listener{Listen: listen}).AcceptsSubmissions(); got != want {
			t.Errorf("%q: %v", listen, got)
		}
		if !(Listener{Listen: listen, Token: "t"}).AcceptsSubmissions() {
			t.Errorf("%q: refuses in spite of its token", listen)
		}
	}
}

func TestCheckBuilder(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "conf/ours.cfg", "")
	write(t, "conf/mock/there.cfg", "")
	if err := os.Mkdir("conf/dir.cfg", 0o755); err != nil {
		t.Fatal(err)
	}
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
	if err != nil {
		t.Fatal(err)
	}
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

// Each secret has a list of the programs that get it, and no other does.
func TestWhoGetsSecrets(t *testing.T) {
	t.Parallel()
	running := []Program{ForListener, ForBuilder, ForOperator}
	want := map[string][]Program{
		"nats.password":                running,
		"nats.token":                   running,
		"nats.nkey":                    running,
		"s3.access_key":                {ForListener, ForBuilder, ForS3, ForOperator},
		"s3.secret_key":                {ForListener, ForBuilder, ForS3, ForOperator},
		"listener.token":               {ForListener, ForOperator},
		"gateway.listener_secret_key":  {ForS3, ForOperator},
		"gateway.builder_secret_key":   {ForS3, ForOperator},
		"gateway.publisher_secret_key": {ForS3, ForOperator},
		"projects[].token":             running,
		"projects[].secret":            {ForListener, ForOperator},
		"unlisted":                     nil,
	}
	var unlisted Secret
	got := map[string][]Program{"unlisted": nil}
	for _, program := range []Program{ForListener, ForBuilder, ForS3, ForOperator, NoSecrets, "new program"} {
		l := &loader{program: program}
		settings := slices.Concat(new(Config).settings(l), secret(l, "unlisted", "", &unlisted))
		for _, s := range projectSettings(new(rpmflow.Project), l) {
			s.path = "projects[]." + s.path
			settings = append(settings, s)
		}
		for _, s := range settings {
			if !s.secret {
				continue
			}
			if err := s.set(input{values: []string{"value"}}); err != nil {
				t.Fatal(err)
			}
			if s.get()[0] != "" {
				got[s.path] = append(got[s.path], program)
			}
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}

// Credentials in the URL of a repository are for those that get the project's token.
func TestWhoGetsCredentialsInURLs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, without string }{
		{"https://me:hunter2@host/a.git", "https://host/a.git"},
		{"https://token@host:8443/a.git", "https://host:8443/a.git"},
		{"https://host/a.git", "https://host/a.git"},
		{"ssh://git@host:22/a.git", "ssh://git@host:22/a.git"},
		{"git@[host:22]:a.git", "git@[host:22]:a.git"},
		{"git+ssh://git@host/a.git", "git+ssh://git@host/a.git"},
		{"/srv/a@b.git", "/srv/a@b.git"},
	} {
		for program, want := range map[Program]string{
			ForListener: tt.url, ForBuilder: tt.url, ForOperator: tt.url,
			ForS3: tt.without, NoSecrets: tt.without, "new program": tt.without,
		} {
			text := "projects:\n  - {name: hello, layout: split, url: '" + tt.url + "', packaging_url: '" + tt.url +
				"-rpm'}\n"
			c, err := load(Source{For: program}, []byte(text))
			if err != nil {
				t.Errorf("%s for %q: %v", tt.url, program, err)
				continue
			}
			if p := c.Projects[0]; p.URL != want || p.Packaging.URL != want+"-rpm" {
				t.Errorf("%q gets %s and %s, want %s", program, p.URL, p.Packaging.URL, want)
			}
		}
	}
}

// A builder works without the secrets of webhooks and API, and does not get them where they are set.
func TestSecretsOfOthers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rpmflow.yaml")
	text := "listener: {token_file: gone}\nnats: {user: builder, password_env: OURS}\n" +
		"gateway: {builder_secret_key: root}\n" +
		"projects:\n  - {name: hello, url: /srv/hello.git, secret_env: NOT_HERE}\n" +
		"  - {name: other, url: /srv/other.git, secret: s3cret}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	src := Source{File: file, Env: []string{"OURS=ours"}, For: ForBuilder}
	c, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	if c.NATS.Password != "ours" || c.Listener.Token != "" || c.Projects[0].Secret != "" ||
		c.Projects[1].Secret != "" ||
		c.Gateway.BuilderSecretKey != "" {
		t.Errorf("a builder has %+v", c)
	}
	src.For = ForListener
	if _, err := Load(src); err == nil || !strings.Contains(err.Error(), "NOT_HERE") ||
		!strings.Contains(err.Error(), "listener.token_file") {
		t.Errorf("a listener without its secrets: %v", err)
	}
}
