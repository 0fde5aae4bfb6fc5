package listener_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/enginetest"
	"github.com/rpmflow/rpmflow/internal/events"
)

func TestSubmitPackages(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	head := w.commit(map[string]string{"pkgs/a/x": "1", "one.src.rpm": string(enginetest.Package("one", "src")),
		"two.src.rpm": string(enginetest.Package("two", "src"))})
	o := w.monorepo()
	d := w.listen(o)
	for _, test := range []struct {
		name, project, packages string
		status                  int
		want, says              string
	}{
		{"all", "mono", `[]`, 202, "[a b]", ""},
		{"one", "mono", `["b"]`, 202, "[b]", ""},
		{"both, one of them twice", "mono", `["b","a","b"]`, 202, "[a b]", ""},
		{"none of it", "mono", `["c"]`, 400, "", `project "mono" has no package "c"`},
		{"the project itself", "mono", `["mono"]`, 400, "", "its packages are: a, b"},
		{"a project that is its one package", "auto", `["auto"]`, 202, "[auto]", ""},
		{"source packages", "srpms", `[]`, 202, "[one=one.src.rpm two=two.src.rpm]", ""},
		{"a source package", "srpms", `["two"]`, 202, "[two=two.src.rpm]", ""},
		{"no such source package", "srpms", `["three"]`, 400, "", "its packages are: one, two"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, p := d.submit(fmt.Sprintf(`{"project":%q,"ref":"main","packages":%s}`, test.project, test.packages))
			names, _ := w.builds(p)
			if a.status != test.status || (a.status < 300 && fmt.Sprint(names) != test.want) ||
				!strings.Contains(strings.ReplaceAll(a.text, `\"`, `"`), test.says) {
				t.Errorf("%d %s: %v", a.status, a.text, names)
			}
		})
	}

	// A repeated build is of the same package, with what the project says of it now.
	_, mono := d.submit(`{"project":"mono","packages":["a"]}`)
	_, srpm := d.submit(`{"project":"srpms","packages":["one"]}`)
	for _, p := range []pushed{mono, srpm} {
		if a, _ := d.ask(p.Builds[0].ID, "cancel", "{}"); a.status >= 300 {
			t.Fatalf("%d %s", a.status, a.text)
		}
	}
	d.stop()
	o.Projects[0].Packages[0].Directory = "pkgs/new"
	d = w.listen(o)
	for _, test := range []struct {
		old       pushed
		directory string
		want      string
	}{{mono, "pkgs/new", "[a]"}, {srpm, "", "[one=one.src.rpm]"}} {
		a, _ := d.ask(test.old.Builds[0].ID, "retry", "{}")
		var p pushed
		a.into(&p)
		names, records := w.builds(p)
		if fmt.Sprint(names) != test.want || records[0].Sources.Directory != test.directory ||
			records[0].Commit != head ||
			p.Builds[0].ID == test.old.Builds[0].ID {
			t.Errorf("%d %s: %+v", a.status, a.text, records)
		}
	}
	d.stop()
	o.Projects[0].Packages = o.Projects[0].Packages[1:]
	d = w.listen(o)
	if a, _ := d.ask(mono.Builds[0].ID, "retry", "{}"); a.status != http.StatusConflict ||
		!strings.Contains(a.text, "any more") {
		t.Errorf("the package is gone: %d %s", a.status, a.text)
	}
}

// More builds than a message can hold are refused with a reason, once: a push that cannot be stored would be sent for
// ever.
func TestTooManyPackages(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.monorepo()
	o.Projects[0].Packages = nil
	o.Repositories = nil // whether they are there cannot be checked
	for i := range 200 {
		o.Projects[0].Packages = append(o.Projects[0].Packages, rpmflow.PackageSource{Name: fmt.Sprintf("p%d", i),
			Directory: fmt.Sprintf("pkgs/p%d", i), Spec: strings.Repeat("x", 50<<10)})
	}
	d := w.listen(o)
	a, p := d.deliver("mono", payload("refs/heads/main", zero, w.head, "x"))
	if a.status != http.StatusOK || len(p.Builds) > 0 || !strings.Contains(p.Reason, "200 builds at once") {
		t.Errorf("%d %.500s", a.status, a.text)
	}
	if a, p = d.submit(`{"project":"mono","packages":["p7"]}`); a.status != http.StatusAccepted || len(p.Builds) != 1 {
		t.Errorf("%d %.500s", a.status, a.text)
	}
}
