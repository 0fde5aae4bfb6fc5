package forge

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

const (
	secret = "It's a Secret to Everybody"
	zero   = "0000000000000000000000000000000000000000"
	old    = "1111111111111111111111111111111111111111"
	head   = "2222222222222222222222222222222222222222"
	tag    = "3333333333333333333333333333333333333333"
)

// The example of GitHub's documentation, "Validating webhook deliveries".
func TestVerifyAgreesWithGitHubsExample(t *testing.T) {
	t.Parallel()
	const sig = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	testkit.Must(t, Verify(secret, []byte("Hello, World!"), sig))
	for _, bad := range []string{"", "sha256=", sig[7:], sig[:len(sig)-2], "sha256=" + strings.Repeat("0", 64),
		"sha1=" + sig[7:]} {
		if err := Verify(secret, []byte("Hello, World!"), bad); !errors.Is(err, ErrSignature) {
			t.Errorf("signature %q: %v", bad, err)
		}
	}
	if err := Verify("", nil, Sign("", nil)); !errors.Is(err, ErrSignature) {
		t.Error("an empty secret must never match")
	}
}

// recorded reads testdata/<name>.json: the headers of a delivery, as the forge sends them, and its body.
func recorded(t testing.TB, name string) (http.Header, []byte) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	testkit.Must(t, err)
	var d struct {
		Headers map[string]string
		Body    json.RawMessage
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	h := http.Header{}
	for name, value := range d.Headers {
		h.Set(name, value)
	}
	return h, d.Body
}

// sign replaces the signatures in the headers by right ones. GitHub signs what it sends, Gitea and Forgejo the payload
// in it.
func sign(h http.Header, secret string, sent, payload []byte) http.Header {
	h = h.Clone()
	for name := range h {
		switch name {
		case "X-Gitea-Signature", "X-Forgejo-Signature":
			h.Set(name, strings.TrimPrefix(Sign(secret, payload), signaturePrefix))
		case "X-Hub-Signature-256":
			if h.Get("X-Gitea-Event") != "" {
				sent = payload
			}
			h.Set(name, Sign(secret, sent))
		}
	}
	return h
}

// Deliveries in the shapes that forges send, as JSON and as a form, with right and wrong signatures.
func TestRecordedDeliveries(t *testing.T) {
	t.Parallel()
	gitHub := []string{
		"https://github.com/ann/hello.git", "git@github.com:ann/hello.git", "git://github.com/ann/hello.git",
		"https://github.com/ann/hello", "https://github.com/ann/hello", "ann/hello",
	}
	gitea := []string{
		"https://forge.example/ann/hello.git", "git@forge.example:ann/hello.git", "https://forge.example/ann/hello",
		"https://forge.example/api/v1/repos/ann/hello", "ann/hello",
	}
	uuid := "f6266f16-1bf3-46a5-9ea4-602e06ead473"
	delivery := func(repositories []string, c Change) Delivery {
		return Delivery{ID: uuid, Pusher: "ann", Repositories: repositories, Changes: []Change{c}}
	}
	read := GitHub().Read // its address takes them all
	for _, test := range []struct {
		name string
		want Delivery
		err  error
	}{
		{"github-push", delivery(gitHub, Change{Ref: "refs/heads/main", Before: old, Commit: head, Complete: true,
			Files: []string{"hello.spec"}}), nil},
		{"github-forced", delivery(gitHub, Change{Ref: "refs/heads/main", Before: old, Commit: head}), nil},
		{"github-tag", delivery(gitHub, Change{Ref: "refs/tags/v1.0", Before: zero, Commit: head}), nil},
		{"github-deleted", delivery(gitHub, Change{Ref: "refs/heads/topic", Before: old, Commit: zero}), nil},
		{"github-ping", Delivery{}, NotAPush{"ping"}},
		{"gitea-push", delivery(gitea, Change{Ref: "refs/heads/main", Before: old, Commit: head}), nil},
		{"gitea-tag", delivery(gitea, Change{Ref: "refs/tags/v1.0", Before: zero, Commit: head}), nil},
		{"gitea-create", Delivery{}, NotAPush{"create"}},
		{"gitea-delete", Delivery{}, NotAPush{"delete"}},
		{"forgejo-push", delivery(gitea, Change{Ref: "refs/heads/main", Before: old, Commit: head}), nil},
		{"forgejo-push-of-many", delivery(gitea, Change{Ref: "refs/heads/main", Before: old, Commit: head}), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, body := recorded(t, test.name)
			if test.err == nil {
				test.want.Forge, _, _ = strings.Cut(test.name, "-")
			}
			got, err := read(sign(h, secret, body, body), body, secret)
			if !errors.Is(err, test.err) || !reflect.DeepEqual(got, test.want) {
				t.Fatalf("got %+v, %v\nwant %+v, %v", got, err, test.want, test.err)
			}
			if _, err := read(sign(h, "wrong", body, body), body, secret); !errors.Is(err, ErrSignature) {
				t.Errorf("wrong secret: %v", err)
			}
			if _, err := read(sign(h, "", body, body), body, ""); !errors.Is(err, ErrSignature) {
				t.Errorf("empty secret: %v", err)
			}
			if _, err := read(sign(h, secret, body, body), append(body, ' '), secret); !errors.Is(err, ErrSignature) {
				t.Errorf("another body: %v", err)
			}
			form := []byte("payload=" + url.QueryEscape(string(body)))
			h.Set("Content-Type", "application/x-www-form-urlencoded")
			got, err = read(sign(h, secret, form, body), form, secret)
			if !errors.Is(err, test.err) || !reflect.DeepEqual(got, test.want) {
				t.Errorf("as a form: %+v, %v", got, err)
			}
			for name := range h {
				if strings.HasSuffix(name, "-Signature") || name == "X-Hub-Signature-256" {
					h.Del(name)
				}
			}
			if _, err := read(h, form, secret); !errors.Is(err, ErrSignature) ||
				!strings.Contains(err.Error(), "set a secret") {
				t.Errorf("no signature: %v", err)
			}
		})
	}
}

// Each forge has an address, and its name in the record whichever of the addresses for it a delivery has come to.
func TestAddresses(t *testing.T) {
	t.Parallel()
	taken := map[string]string{}
	for _, f := range Forges() {
		for _, name := range []string{"github-push", "gitea-push", "forgejo-push"} {
			h, body := recorded(t, name)
			if d, err := f.Read(sign(h, secret, body, body), body, secret); err == nil {
				taken[f.Name] += d.Forge + " "
			}
		}
	}
	want := map[string]string{"github": "github gitea forgejo ", "gitea": "gitea forgejo ", "forgejo": "forgejo "}
	if !maps.Equal(taken, want) {
		t.Errorf("%v, want %v", taken, want)
	}
}

// A wrong signature in the forge's own header is not replaced by that in another one.
func TestSignatureOfTheForge(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{"gitea-push": "X-Gitea-Signature",
		"forgejo-push": "X-Forgejo-Signature"} {
		h, body := recorded(t, name)
		h = sign(h, secret, body, body)
		h.Set(header, strings.TrimPrefix(Sign("wrong", body), signaturePrefix))
		if _, err := GitHub().Read(h, body, secret); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
		h.Del(header) // X-Hub-Signature-256 is right, and the only one that some proxies and old versions leave
		if _, err := GitHub().Read(h, body, secret); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, event, body string }{
		{"no event", "", `{}`},
		{"not JSON", "push", `<xml/>`},
		{"a list", "push", `[]`},
		{"short commit", "push", `{"ref":"refs/heads/main","after":"abc"}`},
		{"short old commit", "push", `{"ref":"refs/heads/main","before":"abc","after":"` + head + `"}`},
		{"odd ref", "push", `{"ref":"main","after":"` + head + `"}`},
		{"ref with ..", "push", `{"ref":"refs/heads/../../etc","after":"` + head + `"}`},
	} {
		h := http.Header{"X-Github-Event": {test.event}, "X-Hub-Signature-256": {Sign(secret, []byte(test.body))}}
		if _, err := GitHub().Read(h, []byte(test.body), secret); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	form := http.Header{"X-Gitea-Event": {"push"}, "Content-Type": {"application/x-www-form-urlencoded"}}
	_, err := Gitea().Read(form, []byte(`{"ref":"refs/heads/main"}`), secret)
	if !errors.Is(err, ErrPayload) || !strings.Contains(err.Error(), "no field payload") {
		t.Errorf("JSON that is sent as a form: %v", err)
	}
}

// A key is the same for the same change of the same delivery, and another one for every other change.
func TestKeys(t *testing.T) {
	t.Parallel()
	main := Change{Ref: "refs/heads/main", Before: old, Commit: head}
	topic := Change{Ref: "refs/heads/topic", Before: old, Commit: head}
	later := main
	later.Before, later.Commit = head, tag
	seen := map[string]bool{}
	for _, d := range []Delivery{{ID: "1"}, {ID: "2"}} {
		for _, c := range []Change{main, topic} {
			seen[d.Key(c)] = true
		}
	}
	for _, c := range []Change{main, topic, later} {
		seen[Delivery{}.Key(c)] = true
	}
	if len(seen) != 7 {
		t.Errorf("%d different keys: %v", len(seen), seen)
	}
	// pushes are stored under it
	if key := (Delivery{}).Key(main); key != fmt.Sprintf("refs/heads/main %s %s", old, head) {
		t.Errorf("key %q", key)
	}
}

func TestRepositoryOfADelivery(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, url string
		want      bool
	}{
		{"https://github.com/ann/hello.git", "https://github.com/ann/hello.git", true},
		{"https://github.com/ann/hello", "https://token@github.com/Ann/hello.git", true},
		// such a URL is refused by the configuration
		{"git@github.com:ann/hello.git", "https://me:pa/ss@github.com/ann/hello.git", false},
		{"git@github.com:ann/hello.git", "https://me:pass@github.com/ann/hello.git/", true},
		{"https://github.com/ann/hello", "ssh://git@github.com:22/ann/hello.git", true},
		{"ann/hello", "git@github.com:ann/hello.git", true},
		{"ann/hello", "/srv/ann/hello.git", false},
		{"hello", "git@github.com:ann/hello.git", false},
		{"/srv/git/hello.git", "/srv/git/hello.git", true},
		{"/srv/git/hello.git/", "file:///srv/git/hello.git", true},
		{"/srv/git/hello.git", "https://host/srv/git/hello.git", false},
		{"srv/git/hello", "/srv/git/hello.git", false},
		{"https://github.com/ann/hello", "https://gitlab.com/ann/hello", false},
		{"https://github.com/ann/hello", "https://github.com/ann/hello-rpm", false},
		{"", "", false},
		{"https://github.com/", "https://github.com/", false},
	} {
		if got := (Delivery{Repositories: []string{"https://elsewhere.example/x",
			tt.name}}).IsOf(tt.url); got != tt.want {
			t.Errorf("a delivery of %q is of %q: %v", tt.name, tt.url, got)
		}
	}
}

// FuzzReaders reads foreign input: what is accepted can be stored and answered.
func FuzzReaders(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		h, body := recorded(f, strings.TrimSuffix(filepath.Base(file), ".json"))
		brand := ""
		for _, b := range []string{"Gitea", "Forgejo"} {
			if h.Get("X-"+b+"-Event") != "" {
				brand = b
			}
		}
		f.Add(brand, "push", "application/json", body)
		f.Add(brand, "push", "application/x-www-form-urlencoded", []byte("payload="+url.QueryEscape(string(body))))
	}
	f.Add("Rpmflow", "", "",
		[]byte(`{"ref":"refs/heads/main","before":"`+old+`","after":"`+head+`",`+
			`"files":["a"],"gone":["a"],"repository":"git@h:x"}`))
	f.Add("Rpmflow", "", "",
		[]byte(`{"delivery":"1","changes":[{"ref":"refs/heads/a","after":"`+head+`"},`+
			`{"ref":"refs/heads/b","after":"`+head+`"}]}`))
	f.Fuzz(func(t *testing.T, brand, event, contentType string, body []byte) {
		h := http.Header{"Content-Type": {contentType}, "X-Github-Event": {event}}
		h.Set("X-Hub-Signature-256", Sign(secret, body))
		read := GitHub().Read
		switch brand {
		case "Gitea", "Forgejo":
			h.Set("X-"+brand+"-Event", event)
			if raw, err := payload(h, body); err == nil {
				h.Set("X-"+brand+"-Signature", strings.TrimPrefix(Sign(secret, raw), signaturePrefix))
			}
		case "Rpmflow":
			h.Set("X-Rpmflow-Signature-256", Sign(secret, body))
			read = Generic().Read
		}
		d, err := read(h, body, secret)
		if err != nil {
			if errors.Is(err, ErrSignature) {
				t.Fatalf("the signature is right: %v", err)
			}
			return
		}
		refs := map[string]bool{}
		for _, c := range d.Changes {
			if c.check() != nil || refs[c.Ref] || d.Key(c) == "" {
				t.Errorf("accepted %+v", c)
			}
			refs[c.Ref] = true
			if !c.Complete && (c.Files != nil || c.Gone != nil) {
				t.Errorf("files of an incomplete list: %+v", c)
			}
			for _, g := range c.Gone {
				if !strings.Contains(strings.Join(c.Files, "\n"), g) {
					t.Errorf("%q is gone, but not a file of the push", g)
				}
			}
		}
		if len(d.Changes) == 0 || len(d.Changes) > maxChanges {
			t.Errorf("%d changes", len(d.Changes))
		}
		for _, name := range d.Repositories {
			if name == "" {
				t.Error("a repository without a name")
			}
			if u, err := giturl.Parse(name); err == nil && u.Location() != "" && u.Host != "" && !d.IsOf(name) {
				t.Errorf("it is not of %q", name)
			}
		}
	})
}
