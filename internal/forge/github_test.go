package forge

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestGitHubFiles(t *testing.T) {
	t.Parallel()
	many := func(n int, of string) string { return strings.TrimSuffix(strings.Repeat(of+",", n), ",") }
	commit := func(id, files string) string { return fmt.Sprintf(`{"id":%q,%s}`, id, files) }
	last := commit(head, `"added":["a/new"],"modified":["b","a/old"],"removed":["c"]`)
	for _, tc := range []struct {
		name, before, more string
		files, gone        string // "-": unknown
	}{
		{"one commit", old, `"forced":false,"commits":[` + last + `]`, "[a/new a/old b c]", "[c]"},
		{"removed and added again", old, `"forced":false,"commits":[` + commit(tag, `"removed":["b","x"]`) + `,` +
			last +
			`]`, "[a/new a/old b c x]", "[c x]"},
		{"added and removed again", old, `"forced":false,"commits":[` + commit(tag, `"added":["c"]`) + `,` + last + `]`,
			"[a/new a/old b c]", "[c]"},
		{"a new branch", zero, `"forced":false,"commits":[` + last + `]`, "-", ""},
		{"forced", old, `"forced":true,"commits":[` + last + `]`, "-", ""},
		{"no commits", old, `"forced":false,"commits":[]`, "-", ""},
		{"none at all", old, `"forced":false`, "-", ""},
		{"not up to the new commit", old, `"forced":false,"commits":[` + commit(tag, `"added":["a"]`) + `]`, "-", ""},
		{"a merge", old, `"forced":false,"commits":[` + commit(tag, `"added":["a"]`) + `,` + commit(head,
			`"added":[],"modified":[]`) + `]`, "-", ""},
		{"as many commits as there can be", old, `"forced":false,"commits":[` +
			many(2047, commit(tag, `"added":["a"]`)) +
			`,` + last + `]`, "-", ""},
		{"nearly", old, `"forced":false,"commits":[` + many(2046, commit(tag, `"added":["a"]`)) + `,` + last + `]`,
			"[a a/new a/old b c]", "[c]"},
		{"as many files as there can be", old, `"forced":false,"commits":[` + commit(head, `"added":["x",`+many(2999,
			`"a"`)+`]`) + `]`, "-", ""},
		{"forced or not", old, `"commits":[` + last + `]`, "-", ""},
		{"cut", old, `"forced":false,"total_commits":7,"commits":[` + last + `]`, "-", ""},
		{"counted", old, `"forced":false,"total_commits":1,"commits":[` + last + `]`, "[a/new a/old b c]", "[c]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := []byte(fmt.Sprintf(`{"ref":"refs/heads/main","before":%q,"after":%q,%s}`, tc.before, head, tc.more))
			h := http.Header{"X-Github-Event": {"push"}, "X-Github-Delivery": {"guid"}}
			h.Set("X-Hub-Signature-256", Sign(secret, body))
			d, err := GitHub().Read(h, body, secret)
			testkit.Must(t, err)
			c := d.Changes[0]
			if c.Complete != (tc.files != "-") {
				t.Errorf("complete is %v", c.Complete)
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
