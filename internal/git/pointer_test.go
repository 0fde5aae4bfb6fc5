package git

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestLFSEndpoints(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://host/a/b":                 "https://host/a/b.git/info/lfs",
		"https://me:pw@host:8443/a/b.git/": "https://host:8443/a/b.git/info/lfs",
		"http://host/b.git":                "http://host/b.git/info/lfs",
		"ssh://git@host:2222/a/b.git":      "https://host/a/b.git/info/lfs",
		"ssh://host/a/b":                   "https://host/a/b.git/info/lfs",
		"git@host:a/b.git":                 "https://host/a/b.git/info/lfs",
		"git@host:/a/b":                    "https://host/a/b.git/info/lfs",
		"git@[host:2222]:/a/b":             "https://host/a/b.git/info/lfs",
		"git@[::1]:a/b":                    "https://[::1]/a/b.git/info/lfs",
		"ssh://git@[2001:db8::1]:2222/b":   "https://[2001:db8::1]/b.git/info/lfs",
		"/srv/git/b.git":                   "",
	} {
		r, err := parseRemote(url)
		testkit.Must(t, err)
		if got := r.with(Access{Token: "tok"}).lfsEndpoint(); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
	for url, want := range map[string]string{ // base64 of user:password
		"https://host/a": "Basic eC1hY2Nlc3MtdG9rZW46dG9r", "git@host:a": "Basic eC1hY2Nlc3MtdG9rZW46dG9r",
		"https://me:pw@host/a": "Basic bWU6cHc=",
	} {
		r, err := parseRemote(url)
		testkit.Must(t, err)
		if got := r.with(Access{Token: "tok"}).lfsAuthorization(); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
	r, err := parseRemote("git@host:a")
	testkit.Must(t, err)
	if got := r.with(Access{}).lfsAuthorization(); got != "" {
		t.Errorf("without a token: %s", got)
	}
}

func FuzzPointers(f *testing.F) {
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	for name, text := range map[string]string{
		"a":                      "version https://git-lfs.github.com/spec/v1\noid sha256:x\nsize 1\n",
		strings.Repeat("l", 300): "x", "latin\xe9": "",
	} {
		h := &tar.Header{Name: name, Size: int64(len(text)), Mode: 0o644, Typeflag: tar.TypeReg}
		testkit.Must(f, out.WriteHeader(h))
		if _, err := out.Write([]byte(text)); err != nil {
			f.Fatal(err)
		}
	}
	testkit.Must(f, out.Close())
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, content []byte) {
		names, _ := pointers(bytes.NewReader(content))
		for _, name := range names {
			if strings.ContainsAny(name, "\n\x00\x1b") {
				t.Errorf("name %q is not fit for a message", name)
			}
		}
	})
}
