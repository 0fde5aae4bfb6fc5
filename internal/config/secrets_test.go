package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

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
	testkit.Must(t, WriteEffective(&b, c))
	if n := strings.Count(b.String(), redacted); n != 6 {
		t.Errorf("%d secrets are said to be set, want 6:\n%s", n, b.String())
	}
	marshalled, err := json.Marshal(struct{ N, S, L any }{c.NATS, c.S3, c.Listener})
	testkit.Must(t, err)
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
	testkit.Must(t, os.Chmod("conf/token", 0o644))
	src := Source{File: write(t, "conf/rpmflow.yaml", "listener:\n  token_file: token\n  token: ''\n  token_env: ''\n")}
	c := mustLoad(t, src)
	if c.Listener.Token != "from file" {
		t.Errorf("token %q", string(c.Listener.Token))
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "conf/token can be read by all users") {
		t.Errorf("warnings: %q", c.Warnings)
	}
	for text, want := range map[string]int{
		"-----BEGIN PGP PUBLIC KEY BLOCK-----\n":                                        0,
		"-----BEGIN PGP PUBLIC KEY BLOCK-----\n-----BEGIN PGP PRIVATE KEY BLOCK-----\n": 1,
	} {
		write(t, "conf/token", text)
		testkit.Must(t, os.Chmod("conf/token", 0o644))
		if c := mustLoad(t, src); len(c.Warnings) != want {
			t.Errorf("warnings of %q: %q", text, c.Warnings)
		}
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

// Each secret has a list of the programs that get it, and no other does.
func TestWhoGetsSecrets(t *testing.T) {
	t.Parallel()
	sources := []Program{ForListener, ForBuilder, ForOperator}
	running := []Program{ForListener, ForBuilder, ForPublisher, ForOperator}
	want := map[string][]Program{
		"nats.password":                running,
		"nats.token":                   running,
		"nats.nkey":                    running,
		"s3.access_key":                {ForListener, ForBuilder, ForPublisher, ForS3, ForOperator},
		"s3.secret_key":                {ForListener, ForBuilder, ForPublisher, ForS3, ForOperator},
		"publisher.signing_key":        {ForPublisher, ForOperator},
		"listener.token":               {ForListener, ForOperator},
		"gateway.listener_secret_key":  {ForS3, ForOperator},
		"gateway.builder_secret_key":   {ForS3, ForOperator},
		"gateway.publisher_secret_key": {ForS3, ForOperator},
		"projects[].token":             sources,
		"projects[].secret":            {ForListener, ForOperator},
		"unlisted":                     nil,
	}
	var unlisted Secret
	got := map[string][]Program{"unlisted": nil}
	for _, program := range []Program{
		ForListener, ForBuilder, ForPublisher, ForS3, ForOperator, NoSecrets, "new program",
	} {
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
			testkit.Must(t, s.set(input{values: []string{"value"}}))
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
			p := c.Projects[0]
			for got, want := range map[string]string{fetched(t, p.URL, p.User): want,
				fetched(t, p.Packaging.URL, p.Packaging.User): want + "-rpm"} {
				if got != want {
					t.Errorf("%q gets %s, want %s", program, got, want)
				}
			}
			if p.URL != tt.without || p.Packaging.URL != tt.without+"-rpm" {
				t.Errorf("%q has %s and %s, want %s", program, p.URL, p.Packaging.URL, tt.without)
			}
		}
	}
}

// fetched is what a repository is fetched from.
func fetched(t *testing.T, address string, user *url.Userinfo) string {
	t.Helper()
	u, err := giturl.Parse(address)
	testkit.Must(t, err)
	if user != nil {
		u = u.WithUser(user)
	}
	return u.String()
}

// A builder works without the secrets of webhooks and API, and does not get them where they are set.
func TestSecretsOfOthers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rpmflow.yaml")
	text := "listener: {token_file: gone}\nnats: {user: builder, password_env: OURS}\n" +
		"gateway: {builder_secret_key: root}\n" +
		"projects:\n  - {name: hello, url: /srv/hello.git, secret_env: NOT_HERE}\n" +
		"  - {name: other, url: /srv/other.git, secret: s3cret}\n"
	testkit.Must(t, os.WriteFile(file, []byte(text), 0o600))
	src := Source{File: file, Env: []string{"OURS=ours"}, For: ForBuilder}
	c, err := Load(src)
	testkit.Must(t, err)
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
