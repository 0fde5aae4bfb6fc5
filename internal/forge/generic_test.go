package forge

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func generic(body string) (Delivery, error) {
	return Generic().Read(http.Header{GenericSignature: {Sign(secret, []byte(body))}}, []byte(body), secret)
}

func TestGeneric(t *testing.T) {
	t.Parallel()
	main, topic := Change{Ref: "refs/heads/main", Before: old, Commit: head}, Change{Ref: "refs/tags/v1", Commit: tag}
	one := `"ref":"refs/heads/main","before":"` + old + `","after":"` + head + `"`
	two := `"ref":"refs/tags/v1","after":"` + tag + `"`
	many := strings.TrimSuffix(strings.Repeat(`{`+two+`},`, maxChanges+1), ",")
	for _, test := range []struct {
		name, body string
		want       Delivery
		says       string // of the error
	}{
		{"one change", `{` + one + `,"delivery":"d1","pusher":"ann","repository":"/srv/git/hello.git"}`,
			Delivery{Forge: "generic", ID: "d1", Pusher: "ann", Repositories: []string{"/srv/git/hello.git"},
				Changes: []Change{main}}, ""},
		{"no id", `{` + one + `}`, Delivery{Forge: "generic", Repositories: []string{}, Changes: []Change{main}}, ""},
		{"no repository", `{` + one + `,"repository":7}`,
			Delivery{Forge: "generic", Repositories: []string{}, Changes: []Change{main}}, ""},
		{"two changes", `{"delivery":"d1","changes":[{` + one + `},{` + two + `}]}`,
			Delivery{Forge: "generic", ID: "d1", Repositories: []string{}, Changes: []Change{main, topic}}, ""},
		{"an empty list of changes", `{"changes":[]}`, Delivery{}, "not a full ref name"},
		{"both", `{` + one + `,"changes":[{` + two + `}]}`, Delivery{}, "both ref and changes"},
		{"a ref twice", `{"changes":[{` + one + `},{` + one + `}]}`, Delivery{}, "refs/heads/main is changed twice"},
		{"one of two is malformed", `{"changes":[{` + one + `},{"ref":"refs/heads/x"}]}`, Delivery{},
			"not a full commit id"},
		{"too many", `{"changes":[` + many + `]}`, Delivery{}, "send several deliveries"},
		{"not JSON", `ref=main`, Delivery{}, "not JSON"},
	} {
		got, err := generic(test.body)
		switch {
		case test.says != "":
			if !errors.Is(err, ErrPayload) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %+v, %v", test.name, got, err)
			}
		case err != nil || !reflect.DeepEqual(got, test.want):
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
	if _, err := Generic().Read(http.Header{}, []byte(`{}`), secret); !errors.Is(err, ErrSignature) {
		t.Errorf("no signature: %v", err)
	}
	wrong := http.Header{"X-Rpmflow-Signature-256": {Sign("wrong", []byte(`{}`))}}
	if _, err := Generic().Read(wrong, []byte(`{}`), secret); !errors.Is(err, ErrSignature) {
		t.Errorf("wrong secret: %v", err)
	}
}

func TestGenericFiles(t *testing.T) {
	t.Parallel()
	read := func(more string) (Change, error) {
		d, err := generic(fmt.Sprintf(`{"ref":"refs/heads/main","before":%q,"after":%q%s}`, old, head, more))
		return append(d.Changes, Change{})[0], err
	}
	if c, err := read(""); err != nil || c.Complete || c.Files != nil {
		t.Errorf("without a list: %v, %v", c.Files, err)
	}
	if c, err := read(`,"files":[]`); err != nil || !c.Complete || len(c.Files) > 0 {
		t.Errorf("an empty list: %v, %v", c.Files, err)
	}
	if c, err := read(`,"files":["a","b"],"gone":["b"]`); err != nil || !c.Complete ||
		fmt.Sprint(c.Files, c.Gone) != "[a b] [b]" {
		t.Errorf("%v, %v, %v", c.Files, c.Gone, err)
	}
	for _, bad := range []string{`,"files":"a"`, `,"files":["a"],"gone":["b"]`} {
		if _, err := read(bad); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
