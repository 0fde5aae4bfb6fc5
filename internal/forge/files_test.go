package forge

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestGitHubFiles(t *testing.T) {
	many := func(n int, of string) string { return strings.TrimSuffix(strings.Repeat(of+",", n), ",") }
	commit := func(id, files string) string { return fmt.Sprintf(`{"id":%q,%s}`, id, files) }
	last := commit(head, `"added":["a/new"],"modified":["b","a/old"],"removed":["c"]`)
	for _, tc := range []struct {
		name, before, more string
		files, gone        string // "-": unknown
	}{
		{"one commit", old, `"commits":[` + last + `]`, "[a/new a/old b c]", "[c]"},
		{"removed and added again", old, `"commits":[` + commit(tag, `"removed":["b","x"]`) + `,` + last + `]`, "[a/new a/old b c x]", "[c x]"},
		{"added and removed again", old, `"commits":[` + commit(tag, `"added":["c"]`) + `,` + last + `]`, "[a/new a/old b c]", "[c]"},
		{"a new branch", strings.Repeat("0", 40), `"commits":[` + last + `]`, "-", ""},
		{"forced", old, `"forced":true,"commits":[` + last + `]`, "-", ""},
		{"no commits", old, `"commits":[]`, "-", ""},
		{"none at all", old, `"x":1`, "-", ""},
		{"not up to the new commit", old, `"commits":[` + commit(tag, `"added":["a"]`) + `]`, "-", ""},
		{"a merge", old, `"commits":[` + commit(tag, `"added":["a"]`) + `,` + commit(head, `"added":[],"modified":[]`) + `]`, "-", ""},
		{"as many commits as there can be", old, `"commits":[` + many(2047, commit(tag, `"added":["a"]`)) + `,` + last + `]`, "-", ""},
		{"nearly", old, `"commits":[` + many(2046, commit(tag, `"added":["a"]`)) + `,` + last + `]`, "[a a/new a/old b c]", "[c]"},
		{"as many files as there can be", old, `"commits":[` + commit(head, `"added":["x",`+many(2999, `"a"`)+`]`) + `]`, "-", ""},
		{"Gitea's, cut", old, `"total_commits":7,"commits":[` + last + `]`, "-", ""},
		{"Gitea's, whole", old, `"total_commits":1,"commits":[` + last + `]`, "[a/new a/old b c]", "[c]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := []byte(fmt.Sprintf(`{"ref":"refs/heads/main","before":%q,"after":%q,%s}`, tc.before, head, tc.more))
			h := http.Header{"X-Github-Event": {"push"}, "X-Github-Delivery": {"guid"}, "X-Hub-Signature-256": {Sign(secret, body)}}
			c, err := GitHub(h, body, secret)
			if err != nil {
				t.Fatal(err)
			}
			if tc.files == "-" {
				if c.Files != nil || c.Gone != nil {
					t.Errorf("got %v, %v", c.Files, c.Gone)
				}
				return
			}
			if fmt.Sprint(c.Files) != tc.files || fmt.Sprint(c.Gone) != tc.gone {
				t.Errorf("got %v, %v", c.Files, c.Gone)
			}
		})
	}
}

func TestGenericFiles(t *testing.T) {
	read := func(more string) (Change, error) {
		body := []byte(fmt.Sprintf(`{"ref":"refs/heads/main","before":%q,"after":%q%s}`, old, head, more))
		return Generic(http.Header{"X-Rpmflow-Signature-256": {Sign(secret, body)}}, body, secret)
	}
	if c, err := read(""); err != nil || c.Files != nil {
		t.Errorf("without a list: %v, %v", c.Files, err)
	}
	if c, err := read(`,"files":[]`); err != nil || c.Files == nil || len(c.Files) > 0 {
		t.Errorf("an empty list: %v, %v", c.Files, err)
	}
	if c, err := read(`,"files":["a","b"],"gone":["b"]`); err != nil || fmt.Sprint(c.Files, c.Gone) != "[a b] [b]" {
		t.Errorf("%v, %v, %v", c.Files, c.Gone, err)
	}
	for _, bad := range []string{`,"files":"a"`, `,"files":["a"],"gone":["b"]`} {
		if _, err := read(bad); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
