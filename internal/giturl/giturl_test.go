package giturl_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, scheme, user, host, port, path string
		address                              string // with git as the user
		server                               string
		web                                  string
	}{
		{"https://example.org/a/b.git", "https", "", "example.org", "", "/a/b.git", "https://example.org/a/b.git",
			"https://example.org:443", "https://example.org/a/b.git"},
		{"http://u:p@Example.org:8080/a/", "http", "u:p", "Example.org", "8080", "/a/", "http://Example.org:8080/a/",
			"http://example.org:8080", "http://Example.org:8080/a"},
		{"https://example.org/%40a/b%20c?x#y", "https", "", "example.org", "", "/@a/b c",
			"https://example.org/%40a/b%20c?x#y", "https://example.org:443", "https://example.org/%40a/b%20c"},
		{"https://[::1]:8443/a", "https", "", "::1", "8443", "/a", "https://[::1]:8443/a", "https://[::1]:8443",
			"https://[::1]:8443/a"},
		{"https://example.org", "https", "", "example.org", "", "", "https://example.org", "https://example.org:443",
			"https://example.org"},
		{"HTTPS://t@example.org/a", "https", "t", "example.org", "", "/a", "HTTPS://example.org/a",
			"https://example.org:443",
			"https://example.org/a"},
		{"https://me:secret@example.org:8443/a@b", "https", "me:secret", "example.org", "8443", "/a@b",
			"https://example.org:8443/a@b", "https://example.org:8443", "https://example.org:8443/a@b"},
		{"git://example.org/a", "git", "", "example.org", "", "/a", "git://example.org/a", "git://example.org:9418",
			"https://example.org/a"},
		{"ftp://example.org/a", "ftp", "", "example.org", "", "/a", "ftp://example.org/a", "ftp://example.org:21",
			"https://example.org/a"},
		{"ssh://git@example.org:22/a", "ssh", "git", "example.org", "22", "/a", "ssh://git@example.org:22/a",
			"ssh://example.org:22", "https://example.org/a"},
		{"ssh://example.org/~me/a", "ssh", "", "example.org", "", "/~me/a", "ssh://git@example.org/~me/a",
			"ssh://example.org:22", "https://example.org/~me/a"},
		{"ssh://git:pw@example.org/", "ssh", "git:pw", "example.org", "", "/", "ssh://git@example.org/",
			"ssh://example.org:22", "https://example.org/"},
		{"ssh://me@[fe80::1]:22/a", "ssh", "me", "fe80::1", "22", "/a", "ssh://me@[fe80::1]:22/a", "ssh://[fe80::1]:22",
			"https://[fe80::1]/a"},
		{"git@example.org:a/b.git", "ssh", "git", "example.org", "", "a/b.git", "git@example.org:a/b.git",
			"ssh://example.org:22", "https://example.org/a/b.git"},
		{"example.org:a", "ssh", "", "example.org", "", "a", "git@example.org:a", "ssh://example.org:22",
			"https://example.org/a"},
		{"me@host:/srv/a@b:c.git", "ssh", "me", "host", "", "/srv/a@b:c.git", "me@host:/srv/a@b:c.git", "ssh://host:22",
			"https://host/srv/a@b:c.git"},
		{"git@[::1]:a", "ssh", "git", "::1", "", "a", "git@[::1]:a", "ssh://[::1]:22", "https://[::1]/a"},
		{"[::1]:a", "ssh", "", "::1", "", "a", "git@[::1]:a", "ssh://[::1]:22", "https://[::1]/a"},
		{"git@[::1:22]:a", "ssh", "git", "::1:22", "", "a", "git@[::1:22]:a", "ssh://[::1:22]:22",
			"https://[::1:22]/a"},
		{"[git@::1]:a", "ssh", "git", "::1", "", "a", "git@[::1]:a", "ssh://[::1]:22", "https://[::1]/a"},
		{"[host:2222]:a", "ssh", "", "host", "2222", "a", "git@[host:2222]:a", "ssh://host:2222", "https://host/a"},
		{"me@[host:2222]:a", "ssh", "me", "host", "2222", "a", "me@[host:2222]:a", "ssh://host:2222", "https://host/a"},
		{"[me@host:2222]:/a", "ssh", "me", "host", "2222", "/a", "me@[host:2222]:/a", "ssh://host:2222",
			"https://host/a"},
		{"me@[host]:a", "ssh", "me", "host", "", "a", "me@host:a", "ssh://host:22", "https://host/a"},
		{"[fe80:22]:a@b", "ssh", "", "fe80", "22", "a@b", "git@[fe80:22]:a@b", "ssh://fe80:22", "https://fe80/a@b"},
		{"git@host:2222/a", "ssh", "git", "host", "", "2222/a", "git@host:2222/a", "ssh://host:22",
			"https://host/2222/a"},
		{"git+ssh://me@host:2222/a", "ssh", "me", "host", "2222", "/a", "git+ssh://me@host:2222/a", "ssh://host:2222",
			"https://host/a"},
		{"ssh+git://host/~me/a", "ssh", "", "host", "", "/~me/a", "ssh+git://git@host/~me/a", "ssh://host:22",
			"https://host/~me/a"},
		{"/srv/a", "", "", "", "", "/srv/a", "/srv/a", "", ""},
		{"/srv/a@b:c d", "", "", "", "", "/srv/a@b:c d", "/srv/a@b:c d", "", ""},
		{"./a:b", "", "", "", "", "./a:b", "./a:b", "", ""},
		{"owner/name", "", "", "", "", "owner/name", "owner/name", "", ""},
		{"file:///srv/a%20b.git", "file", "", "", "", "/srv/a b.git", "/srv/a b.git", "", ""},
		{"file://localhost/srv/a", "file", "", "", "", "/srv/a", "/srv/a", "", ""},
	} {
		u, err := giturl.Parse(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		user := ""
		if u.User != nil {
			user = u.User.String()
		}
		web := ""
		if u.Web() != nil {
			web = u.Web().String()
		}
		for _, c := range [][3]string{
			{"scheme", u.Scheme, tt.scheme}, {"user", user, tt.user}, {"host", u.Host, tt.host},
			{"port", u.Port, tt.port},
			{"path", u.Path, tt.path},
			{"address", u.Address("git"), tt.address}, {"server", u.Server(), tt.server}, {"web", web, tt.web},
			{"text", u.String(), tt.text},
		} {
			if c[1] != c[2] {
				t.Errorf("%s: %s is %q, want %q", tt.text, c[0], c[1], c[2])
			}
		}
		if u.Local() != (tt.server == "") {
			t.Errorf("%s: local %t", tt.text, u.Local())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "https:///a", "https://example.org/a\nb", "https://example.org/a%0ab", "https://me:secret%zz@example.org/a",
		"https://me:sec/ret@example.org/a",
		"https://me:12/secret@example.org/a", "https://-secret/a", "https://secret@-h/a",
		"ssh://-osecret@example.org/a",
		"ssh://-oProxyCommand=secret/a",
		"-oProxyCommand=secret:a", "-secret", "ext::sh -c secret", "file://example.org/secret", "file:secret",
		"https:secret",
		"htps://me:secret@example.org/a",
		"secret://example.org/a", "me:secret@example.org/a", "me:sec/secret@example.org:a",
		"https://exa mple.org/secret",
		"user name@host:secret", ":secret", "git@host:-secret",
		"git@host:2222:/secret", "host:2222:/secret", "[host:secret]:a", "[host:]:secret", "[host:65536]:secret",
		"https://example.org:65536/secret", "ssh://git@host:0/secret", "[host:0]:secret",
		"[-host:22]:secret", "git@[-oProxyCommand=secret:22]:a", "[-secret@host:22]:a", "[me:secret@host:22]:a",
		"me:secret@[host:22]:a", "me@[you@host:22]:secret", "[[::1]:22]:secret", "[host:22]secret", "[host:22]:-secret",
		"git+ssh://-osecret@host/a", "git+http://me:secret@host/a",
	} {
		u, err := giturl.Parse(text)
		if err == nil {
			t.Errorf("%q is read as %+v", text, u)
		} else if strings.Contains(err.Error(), "secret") && !strings.HasPrefix(text, "secret") {
			t.Errorf("%q: the error repeats it: %v", text, err)
		}
	}
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ssh://builder@docker": "", "ssh://docker:2222": "", "ssh://me@[::1]:22/": "", "ssh://docker/": "",
		"docker": "has no host", "me@docker:": "has no host", "me@docker:/x": "has no host", "ssh://": "has no host",
		"https://docker": "has no host", "ssh://-oProxyCommand=x": "has no host", "ssh://-x@docker": "has no host",
		"ssh://me:secret@docker": "has a password", "ssh://me%0ayou@docker": "has no valid user",
		"ssh://@docker": "has no valid user", "ssh://docker/run/docker.sock": "has more than a host",
		"ssh://docker?x": "has more than a host", "ssh://docker/#x": "has more than a host",
	} {
		_, err := giturl.ParseServer(text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for _, tt := range [][3]string{
		{"https://example.org/a/b.git", "https://example.org/a/b.git", ""},
		{"https://token@example.org/a", "https://example.org/a", "https://(set)@example.org/a"},
		{"https://u:p@example.com/a.git", "https://example.com/a.git", "https://(set)@example.com/a.git"},
		{"https://me:secret@example.org:8443/a@b", "https://example.org:8443/a@b",
			"https://(set)@example.org:8443/a@b"},
		{"https://example.org:8443/a@b", "https://example.org:8443/a@b", ""},
		{"https://example.org:8443/@scope/b.git", "https://example.org:8443/@scope/b.git", ""},
		{"https://me:se/cret@example.org/a", "https://example.org/a", "https://(set)@example.org/a"},
		{"https://u:1/p@example.com/a.git", "https://example.com/a.git", "https://(set)@example.com/a.git"},
		{"https://u:1/p@example.com:80/a", "https://example.com:80/a", "https://(set)@example.com:80/a"},
		{"https://u:1/p@xn--bcher-kva.xn--p1ai./a", "https://xn--bcher-kva.xn--p1ai./a",
			"https://(set)@xn--bcher-kva.xn--p1ai./a"},
		{"https://u:1/p@bücher.рф/a", "https://bücher.рф/a", "https://(set)@bücher.рф/a"},
		{"https://u:1/p@10.1.2.3/a", "https://10.1.2.3/a", "https://(set)@10.1.2.3/a"},
		{"https://u:1/p@localhost/a", "https://localhost/a", "https://(set)@localhost/a"},
		{"http://host:8081/pkg@1.2.3/", "http://host:8081/pkg@1.2.3/", ""},
		{"http://host:8081/@scope/pkg@1.2.3-rc1/x.tgz", "http://host:8081/@scope/pkg@1.2.3-rc1/x.tgz", ""},
		{"http://host:8081/pkg@v1.20/x", "http://host:8081/pkg@v1.20/x", ""},
		{"http://u:p@host:8081/pkg@1.2.3/x", "http://host:8081/pkg@1.2.3/x", "http://(set)@host:8081/pkg@1.2.3/x"},
		{"https://u:1/p@example.com/pkg@1.2.3/x", "https://example.com/pkg@1.2.3/x",
			"https://(set)@example.com/pkg@1.2.3/x"},
		{"http://host:8081/pkg@1.2.3", "http://host:8081/pkg@1.2.3", ""},
		{"https://me:se@cret@example.org/a", "https://example.org/a", "https://(set)@example.org/a"},
		{"https://me:se%zzcret@example.org/a", "https://example.org/a", "https://(set)@example.org/a"},
		{"https://user%3Aname:secret@example.org/a", "https://example.org/a", "https://(set)@example.org/a"},
		{"http://me:secret@example.org", "http://example.org", "http://(set)@example.org"},
		{"https://me:secret@example.org?x=y", "https://example.org?x=y", "https://(set)@example.org?x=y"},
		{"HTTPS://me:secret@example.org/a", "HTTPS://example.org/a", "HTTPS://(set)@example.org/a"},
		{"nats://me:secret@example.org:4222", "nats://example.org:4222", "nats://(set)@example.org:4222"},
		{"ssh://git@example.org/a", "ssh://git@example.org/a", ""},
		{"ssh://git:secret@example.org:22/a", "ssh://git@example.org:22/a", "ssh://git@example.org:22/a"},
		{"git+ssh://git:secret@host/a", "git+ssh://git@host/a", "git+ssh://git@host/a"},
		{"git@example.org:a/b.git", "git@example.org:a/b.git", ""},
		{"git@[host:22]:a", "git@[host:22]:a", ""},
		{"[git@host:22]:a", "[git@host:22]:a", ""},
		{"[host:22]:a@b", "[host:22]:a@b", ""},
		{"me:secret@[host:22]:a", "[host:22]:a", "(set)@[host:22]:a"},
		{"[me:secret@host:22]:a", "host:22]:a", "(set)@host:22]:a"},
		{"git@example.org:a@b.git", "git@example.org:a@b.git", ""},
		{"me:secret@example.org:a/b.git", "example.org:a/b.git", "(set)@example.org:a/b.git"},
		{"u:p@example.com/a.git", "example.com/a.git", "(set)@example.com/a.git"},
		{"token@example.com/a.git", "example.com/a.git", "(set)@example.com/a.git"},
		{"/srv/git/a@b:c.git", "/srv/git/a@b:c.git", ""},
		{"./a@b", "./a@b", ""},
		{"/a://b@c", "/a://b@c", ""},
		{"file:///srv/git/a.git", "file:///srv/git/a.git", ""},
		{"", "", ""},
	} {
		if tt[2] == "" {
			tt[2] = tt[0]
		}
		if got := giturl.Redact(tt[0]); got != tt[1] {
			t.Errorf("Redact(%q) = %q, want %q", tt[0], got, tt[1])
		}
		if got := giturl.RedactAs(tt[0], "(set)"); got != tt[2] {
			t.Errorf("RedactAs(%q) = %q, want %q", tt[0], got, tt[2])
		}
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"https://github.com/ann/hello.git", "https://github.com/ann/hello.git", true},
		{"https://github.com/ann/hello", "https://token@github.com/Ann/hello.git", true},
		{"git@github.com:ann/hello.git", "https://me:pass@github.com/ann/hello.git/", true},
		{"https://github.com/ann/hello", "ssh://git@GitHub.com:22/ann/hello.git", true},
		{"/srv/git/hello.git/", "file:///srv/git/hello.git", true},
		{"/srv/git/hello.git", "https://host/srv/git/hello.git", false},
		{"https://github.com/ann/hello", "https://gitlab.com/ann/hello", false},
		{"https://github.com/ann/hello", "https://github.com/ann/hello-rpm", false},
		{"https://github.com/", "https://github.com/", false},
	} {
		a, errA := giturl.Parse(tt.a)
		b, errB := giturl.Parse(tt.b)
		if errA != nil || errB != nil || a.Same(b) != tt.want || b.Same(a) != tt.want {
			t.Errorf("%s and %s: %t (%v, %v)", tt.a, tt.b, a.Same(b), errA, errB)
		}
	}
	if (giturl.URL{}).Same(giturl.URL{}) {
		t.Error("nothing is the same as nothing")
	}
}

func TestSameServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"https://host/a", "https://token@HOST:443/b", true},
		{"git@host:a", "git+ssh://host:22/b", true},
		{"[host:2222]:a", "ssh://host:2222/b", true},
		{"https://host/a", "https://host:8443/a", false},
		{"https://host/a", "http://host/a", false},
		{"https://host/a", "ssh://host/a", false},
		{"git@host:a", "git@[host:2222]:a", false},
		{"https://host/a", "https://host.example/a", false},
		{"/srv/a", "file:///srv/a", false},
	} {
		a, errA := giturl.Parse(tt.a)
		b, errB := giturl.Parse(tt.b)
		if errA != nil || errB != nil || a.SameServer(b) != tt.want || b.SameServer(a) != tt.want {
			t.Errorf("%s and %s: %t (%v, %v)", tt.a, tt.b, a.SameServer(b), errA, errB)
		}
	}
	if (giturl.URL{}).SameServer(giturl.URL{}) {
		t.Error("nothing is on the same server as nothing")
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	for _, tt := range [][3]string{
		{"https://host/a/b.git", "../c.git", "https://host/a/c.git"},
		{"https://me:pw@host:8443/a/b.git/", "../../c", "https://me:pw@host:8443/c"},
		{"https://[::1]/b", "./c", "https://[::1]/b/c"},
		{"https://host/b?x#y", "./c", "https://host/b/c"},
		{"https://host/b", "../../evil", ""},
		{"https://host/b", "../../../evil.example/c", ""},
		{"https://host/b", "../", ""},
		{"https://host", "a", "https://host/a"},
		{"ssh://git@host:2222/a/b", "../c", "ssh://git@host:2222/a/c"},
		{"git@host:a/b.git", "../c.git", "git@host:a/c.git"},
		{"git@host:b.git", "../c.git", "git@host:c.git"},
		{"git@host:/srv/b.git", "../c.git", "git@host:/srv/c.git"},
		{"git@[host:2222]:/srv/b.git", "../c.git", "git@[host:2222]:/srv/c.git"},
		{"[git@host:2222]:b.git", "../c.git", "git@[host:2222]:c.git"},
		{"git+ssh://git@host:2222/a/b", "../c", "ssh://git@host:2222/a/c"},
		{"git@host:b.git", "../../c.git", ""},
		{"/srv/a", "../b", "/srv/b"},
		{"file:///srv/a", "../b", "file:///srv/b"},
	} {
		u, err := giturl.Parse(tt[0])
		testkit.Must(t, err)
		got, ok := u.Join(tt[1])
		if ok != (tt[2] != "") || got.String() != tt[2] {
			t.Errorf("%s and %s: %q, %t, want %q", tt[0], tt[1], got.String(), ok, tt[2])
		}
	}
}

func TestWithUser(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://host:80/a?x": "https://me:pw@host:80/a?x", "https://u@host/a": "https://me:pw@host/a",
		"git@host:a": "me@host:a", "[::1]:a": "me@[::1]:a",
		"[host:22]:/a": "me@[host:22]:/a", "/srv/a": "/srv/a",
	} {
		u, err := giturl.Parse(in)
		testkit.Must(t, err)
		got := u.WithUser(url.UserPassword("me", "pw"))
		if got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
		if again, err := giturl.Parse(got.String()); err != nil || again.String() != want || again.Host != u.Host {
			t.Errorf("%s: %+v, %v", want, again, err)
		}
	}
	u, err := giturl.Parse("https://u:p@host/a")
	if err != nil || u.WithUser(nil).String() != "https://host/a" {
		t.Errorf("without a user: %s, %v", u.WithUser(nil), err)
	}
}

func TestNameAndSecrets(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://host/a/hello.git": "hello", "git@host:hello": "hello", "/srv/hello/": "hello", "https://host/": "",
		"https://host": "", "host:a/b.git/": "b",
	} {
		if u, err := giturl.Parse(in); err != nil || u.Name() != want {
			t.Errorf("%s: %q, %v", in, u.Name(), err)
		}
	}
	u, err := giturl.Parse("https://tok%20en:p%40ss@host/a")
	testkit.Must(t, err)
	for _, want := range []string{"tok en", "tok+en", "tok%20en", "p@ss", "p%40ss"} {
		if !strings.Contains(strings.Join(u.Secrets(), "\n"), want) {
			t.Errorf("%q is missing among %q", want, u.Secrets())
		}
	}
	if u, err = giturl.Parse("ssh://git@host/a"); err != nil || len(u.Secrets()) != 0 {
		t.Errorf("%q, %v", u.Secrets(), err)
	}
}

// A parsed URL is parsed the same again, and shows no password.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"https://me:pw@host:80/a.git", "git@host:a", "git@[host:2222]:a", "git+ssh://h/a",
		"[::1]:a", "/srv/a", "file:///a", "ssh://git:pw@[fe80::1%25eth0]:22/~a", "u:1/p@h.x/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		shown := giturl.Redact(text)
		u, err := giturl.Parse(text)
		if err != nil {
			return
		}
		if shown != u.Redacted() {
			t.Errorf("%q is shown as %q and %q", text, shown, u.Redacted())
		}
		clean, err := giturl.Parse(shown)
		if err != nil {
			t.Fatalf("%q without credentials is %q: %v", text, shown, err)
		}
		if _, secret := clean.User.Password(); secret || clean.User.Username() != "" && clean.Scheme != "ssh" {
			t.Errorf("%q is shown as %q", text, shown)
		}
		if clean.Host != u.Host || clean.Port != u.Port || clean.Path != u.Path || clean.Server() != u.Server() ||
			u.Location() != "" && !u.Same(clean) {
			t.Errorf("%+v without credentials is %+v", u, clean)
		}
		if address, err := giturl.Parse(u.Address("git")); err != nil || strings.HasPrefix(u.Address("git"), "-") ||
			address.Path != u.Path {
			t.Errorf("%q is called as %q: %v", text, u.Address("git"), err)
		}
		if joined, ok := u.Join("../x"); ok && joined.Server() != u.Server() {
			t.Errorf("%q: ../x is on %q", text, joined)
		}
		u.Web()
	})
}
