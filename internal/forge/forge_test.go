package forge

import (
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

const (
	secret = "It's a Secret to Everybody"
	old    = "1111111111111111111111111111111111111111"
	head   = "2222222222222222222222222222222222222222"
	tag    = "3333333333333333333333333333333333333333"
)

// The example of GitHub's documentation, "Validating webhook deliveries".
func TestVerifyAgreesWithGitHubsExample(t *testing.T) {
	const sig = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	if err := Verify(secret, []byte("Hello, World!"), sig); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "sha256=", sig[7:], sig[:len(sig)-2], "sha256=" + strings.Repeat("0", 64), "sha1=" + sig[7:]} {
		if err := Verify(secret, []byte("Hello, World!"), bad); !errors.Is(err, ErrSignature) {
			t.Errorf("signature %q: %v", bad, err)
		}
	}
	if err := Verify("", nil, Sign("", nil)); !errors.Is(err, ErrSignature) {
		t.Error("an empty secret must never match")
	}
}

func TestGitHub(t *testing.T) {
	header := func(event string) http.Header {
		return http.Header{"X-Github-Event": {event}, "X-Github-Delivery": {"guid-1"}, "Content-Type": {"application/json"}}
	}
	for _, tc := range []struct {
		name, event, body string
		want              Change
		err               error
	}{
		{"branch", "push", `{"ref":"refs/heads/main","before":"` + old + `","after":"` + head + `","pusher":{"name":"ann"},"head_commit":{"id":"` + head + `"}}`,
			Change{Ref: "refs/heads/main", Before: old, Commit: head, Delivery: "guid-1", Pusher: "ann"}, nil},
		{"annotated tag", "push", `{"ref":"refs/tags/v1","before":"` + strings.Repeat("0", 40) + `","after":"` + tag + `","head_commit":{"id":"` + head + `"}}`,
			Change{Ref: "refs/tags/v1", Before: strings.Repeat("0", 40), Commit: head, Delivery: "guid-1"}, nil},
		{"deleted", "push", `{"ref":"refs/heads/x","before":"` + old + `","after":"` + strings.Repeat("0", 40) + `","head_commit":null}`,
			Change{Ref: "refs/heads/x", Before: old, Commit: strings.Repeat("0", 40), Delivery: "guid-1"}, nil},
		{"ping", "ping", `{"zen":"…"}`, Change{}, NotAPush{"ping"}},
		{"no event", "", `{}`, Change{}, ErrPayload},
		{"not JSON", "push", `<xml/>`, Change{}, ErrPayload},
		{"short commit", "push", `{"ref":"refs/heads/main","after":"abc"}`, Change{}, ErrPayload},
		{"odd ref", "push", `{"ref":"main","after":"` + head + `"}`, Change{}, ErrPayload},
		{"ref with ..", "push", `{"ref":"refs/heads/../../etc","after":"` + head + `"}`, Change{}, ErrPayload},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := header(tc.event)
			h.Set("X-Hub-Signature-256", Sign(secret, []byte(tc.body)))
			got, err := GitHub(h, []byte(tc.body), secret)
			if !errors.Is(err, tc.err) || !reflect.DeepEqual(got, tc.want) {
				t.Fatalf("got %+v, %v", got, err)
			}
			if tc.err == nil {
				form := "payload=" + url.QueryEscape(tc.body)
				h.Set("Content-Type", "application/x-www-form-urlencoded")
				h.Set("X-Hub-Signature-256", Sign(secret, []byte(form)))
				if got, err := GitHub(h, []byte(form), secret); err != nil || !reflect.DeepEqual(got, tc.want) {
					t.Fatalf("as a form: %+v, %v", got, err)
				}
			}
			h.Set("X-Hub-Signature-256", Sign("wrong", []byte(tc.body)))
			if _, err := GitHub(h, []byte(tc.body), secret); !errors.Is(err, ErrSignature) {
				t.Fatalf("wrong secret: %v", err)
			}
			h.Del("X-Hub-Signature-256")
			if _, err := GitHub(h, []byte(tc.body), secret); !errors.Is(err, ErrSignature) {
				t.Fatalf("no signature: %v", err)
			}
		})
	}
}

func FuzzGeneric(f *testing.F) {
	f.Add([]byte(`{"ref":"refs/heads/main","before":"` + old + `","after":"` + head + `"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		h := http.Header{}
		h.Set("X-Rpmflow-Signature-256", Sign(secret, body))
		c, err := Generic(h, body, secret)
		if err == nil && (c.Delivery == "" || len(c.Commit) < 40 || !strings.HasPrefix(c.Ref, "refs/")) {
			t.Fatalf("accepted %+v", c)
		}
	})
}
