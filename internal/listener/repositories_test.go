package listener_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestDirectoriesOfRepositories lists what is there, for people and for programs.
func TestDirectoriesOfRepositories(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.startS3()
	o := w.options()
	o.ReposURL = "https://packages.example.com"
	o.Projects[0].Publish = rpmflow.Publish{On: true}
	d := w.listen(o)
	if a := d.get("/repos/"); a.status != http.StatusOK || !strings.Contains(a.text, "Nothing is here yet") {
		t.Errorf("without a repository: %d %s", a.status, a.text)
	}
	file := filepath.Join(t.TempDir(), "file")
	testkit.Must(w.t, os.WriteFile(file, []byte("content"), 0o600))
	const dir = "hello/fedora-43-x86_64/"
	for _, name := range []string{"hello.repo", "mirrorlist", "r/1-abc/repodata/repomd.xml", `a&b+c~1^2.rpm`} {
		_, err := w.store.PutFile(t.Context(), "repos/"+dir+name, file, rpmflow.KindLog)
		testkit.Must(w.t, err)
	}
	a := d.get("/repos/" + dir)
	for _, want := range []string{
		`<h1>/repos/hello/fedora-43-x86_64/</h1>`, `<a href="../">`, `<a href="./r/">r/</a></td><td></td>`,
		`--add-repo https://packages.example.com/hello/fedora-43-x86_64/hello.repo<`,
		`<a href="./a&amp;b+c~1%5E2.rpm">a&amp;b+c~1^2.rpm</a></td><td class="number">7<`,
	} {
		if !strings.Contains(a.text, want) {
			t.Errorf("not on the page: %s", want)
		}
	}
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/html; charset=utf-8" || t.Failed() {
		t.Errorf("%d %v %s", a.status, a.header, a.text)
	}
	if a := d.get("/repos/" + dir + "a&b+c~1%5E2.rpm"); a.text != "content" {
		t.Errorf("the link of a name with other characters: %d %s", a.status, a.text)
	}
	a = d.do(http.MethodGet, "/repos/hello/", nil, "Accept", "application/json")
	var list api.Directory
	if err := json.Unmarshal([]byte(a.text), &list); err != nil || list.Path != "hello/" || list.More ||
		len(list.Entries) != 1 || list.Entries[0].Name != "fedora-43-x86_64/" || !list.Entries[0].Modified.IsZero() {
		t.Errorf("%d %s: %v", a.status, a.text, err)
	}
	if a := d.get("/repos/hello"); a.status != http.StatusOK && a.header.Get("Location") != "/repos/hello/" {
		t.Errorf("without a slash: %d %v", a.status, a.header)
	}
	for _, path := range []string{"/repos/other/", "/repos/hello/x", "/repos/hello/../../builds/"} {
		if a := d.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	if a := d.get("/api/v1/projects"); !strings.Contains(a.text, `"url": "`+o.ReposURL+"/hello/") {
		t.Errorf("how to install: %s", a.text)
	}
}

// TestURLsForClients serves a mirrorlist and a .repo file under the names by which clients come.
func TestURLsForClients(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	w.startS3()
	const dir = "repos/hello/fedora-43-x86_64/"
	list := filepath.Join(t.TempDir(), "mirrorlist")
	for _, configured := range []string{"http://packages.example.com", "https://packages.example.com",
		"https://packages.example.com/builds", "https://elsewhere.example.com"} {
		o := w.options()
		o.PublicURL, o.ReposURL = configured, configured+"/repos"
		if strings.Contains(configured, "elsewhere") { // a publisher.url of its own
			o.PublicURL = "http://packages.example.com"
		}
		d := w.listen(o)
		url := o.ReposURL + "/hello/fedora-43-x86_64/"
		stored := url + "r/3-abcdef/"
		testkit.Must(t, os.WriteFile(list, []byte(stored+"\n"), 0o600))
		_, err := w.store.PutFile(t.Context(), dir+"mirrorlist", list, rpmflow.KindLog)
		testkit.Must(t, err)
		testkit.Must(t, os.WriteFile(list,
			[]byte("mirrorlist="+url+"mirrorlist\ngpgkey="+url+"RPM-GPG-KEY-hello\n"), 0o600))
		_, err = w.store.PutFile(t.Context(), dir+"hello.repo", list, rpmflow.KindLog)
		testkit.Must(t, err)
		for _, c := range []struct {
			host    string
			headers []string
			want    string // the beginning of URLs, if the listener serves the configured one itself, at its top
		}{
			{"10.1.2.3:8080", nil, "http://10.1.2.3:8080/repos"},
			{"[::1]:8080", nil, "http://[::1]:8080/repos"},
			{"packages.example.com", nil, o.ReposURL},
			{"alias.example.com", []string{"X-Forwarded-Proto", "https"}, "https://alias.example.com/repos"},
			{"alias.example.com", []string{"X-Forwarded-Proto", "https", "X-Forwarded-For", "10.1.1.1"},
				"https://alias.example.com/repos"},
			// What the client has asked for is not known.
			{"backend:8080", []string{"X-Forwarded-For", "10.1.1.1"}, o.ReposURL},
			{"backend:8080", []string{"Via", "1.1 proxy"}, o.ReposURL},
			{"backend:8080", []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "alias.example.com"},
				o.ReposURL},
			{"alias.example.com", []string{"X-Forwarded-Proto", "gopher"}, o.ReposURL},
		} {
			want := c.want
			if o.PublicURL+"/repos" != o.ReposURL || strings.HasSuffix(configured, "/builds") {
				want = o.ReposURL
			}
			headers := append([]string{"Host", c.host}, c.headers...)
			a := d.do(http.MethodGet, "/repos/hello/fedora-43-x86_64/mirrorlist", nil, headers...)
			if a.text != want+"/hello/fedora-43-x86_64/r/3-abcdef/\n" {
				t.Errorf("%s asked as %s %v: %d %s", configured, c.host, c.headers, a.status, a.text)
			}
			if a.header.Get("ETag") != `"`+rpmflow.Digest([]byte(a.text))+`"` {
				t.Errorf("the version is not that of the text: %s", a.header.Get("ETag"))
			}
			a = d.do(http.MethodGet, "/repos/hello/fedora-43-x86_64/hello.repo", nil, headers...)
			if !strings.HasPrefix(a.text, "mirrorlist="+want+"/hello/") ||
				!strings.Contains(a.text, "\ngpgkey="+want+"/hello/") {
				t.Errorf("%s asked as %s %v: %s", configured, c.host, c.headers, a.text)
			}
		}
	}
}
