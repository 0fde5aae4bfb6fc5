package listener_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/events"
)

func TestPushOfSourcePackages(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	srpm := func(name string) string { return string(enginetest.Package(name, "src")) }
	first := w.commit(map[string]string{"one.src.rpm": srpm("hello"), "two-1-1.srpm": srpm("two"),
		"bad-1-1.src.rpm": "no RPM at all", "README": "x", "deep/x.src.rpm": srpm("deep")})
	changed := w.commit(map[string]string{"one.src.rpm": srpm("hello2"), "README": "y"})
	twice := w.commit(map[string]string{"hello-1-1.src.rpm": srpm("hello"), "hello-2-1.src.rpm": srpm("hello")})
	gone := w.commit(map[string]string{"one.src.rpm": "", "two-1-1.srpm": "", "bad-1-1.src.rpm": "",
		"hello-1-1.src.rpm": "", "hello-2-1.src.rpm": ""})
	d := w.listen(w.monorepo())
	for _, test := range []struct {
		name, project string
		body          []byte
		want, says    string
	}{
		{"all at first", "srpms", payload("refs/heads/main", zero, first, "1"),
			"[bad=bad-1-1.src.rpm hello=one.src.rpm two=two-1-1.srpm]", "is new"},
		{"what was changed", "srpms", payload("refs/heads/main", first, changed, "2"), "[hello2=one.src.rpm]", ""},
		{"two of the same name", "srpms", payload("refs/heads/main", changed, twice, "3"),
			"[hello=hello-1-1.src.rpm hello=hello-2-1.src.rpm]", ""},
		{"as listed", "srpms", listed(first, twice, "4", []string{"two-1-1.srpm", "gone.src.rpm"},
			[]string{"gone.src.rpm"}),
			"[two=two-1-1.srpm]", ""},
		{"nothing of it", "srpms", listed(first, twice, "5", []string{"README"}, nil), "[]",
			"no source package (*.src.rpm, *.srpm) was added or changed: one file was changed (README)"},
		{"all gone", "srpms", payload("refs/heads/main", twice, gone, "6"), "[]",
			"there is no source package (*.src.rpm, *.srpm) at " + gone[:12]},
		{"recognised by what is listed", "auto", listed(changed, twice, "7", []string{"hello-1-1.src.rpm",
			"hello-2-1.src.rpm"}, nil), "[hello=hello-1-1.src.rpm hello=hello-2-1.src.rpm]", ""},
		{"left to the builder", "auto", payload("refs/heads/main", changed, twice, "8"), "[auto]", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, p := d.deliver(test.project, test.body)
			names, records := w.builds(p)
			if a.status >= 300 || fmt.Sprint(names) != test.want || !strings.Contains(p.Reason+fmt.Sprint(records),
				test.says) {
				t.Fatalf("%d %s: %v, want %s", a.status, a.text, names, test.want)
			}
			ids := p.ids()
			if slices.Sort(ids); len(slices.Compact(ids)) != len(names) {
				t.Errorf("ids are not unique: %v", ids)
			}
			if _, q := d.deliver(test.project, test.body); !q.Duplicate || !slices.Equal(q.ids(), p.ids()) {
				t.Errorf("again: %+v", q)
			}
		})
	}
}
