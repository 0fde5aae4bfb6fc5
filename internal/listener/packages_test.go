package listener_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/listener"
	"github.com/rpmflow/rpmflow/internal/listener/plan"
	"github.com/rpmflow/rpmflow/internal/source"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// commit writes files, removes those that are "", and returns the commit.
func (w *fixture) commit(files map[string]string) string {
	w.t.Helper()
	for name, text := range files {
		file := filepath.Join(w.repo, name)
		if text == "" {
			testkit.Must(w.t, os.Remove(file))
			continue
		}
		testkit.Must(w.t, os.MkdirAll(filepath.Dir(file), 0o700))
		testkit.Must(w.t, os.WriteFile(file, []byte(text), 0o600))
	}
	w.git("-C", w.repo, "add", "--all")
	w.git("-C", w.repo, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "x")
	return w.git("-C", w.repo, "rev-parse", "HEAD")
}

// monorepo are options of a listener with git mirrors for two projects: mono, with the packages a, b and docs; and
// srpms, of source packages.
func (w *fixture) monorepo() listener.Options {
	w.t.Helper()
	mirrors, err := source.Open(source.Options{Dir: w.t.TempDir(), Logger: quiet})
	testkit.Must(w.t, err)
	o := w.options()
	o.Repositories = mirrors
	mono, srpms, auto := o.Projects[0], o.Projects[0], o.Projects[0]
	mono.Name, mono.Packages = "mono", []rpmflow.PackageSource{
		{Name: "a", Directory: "pkgs/a"}, {Name: "b", Directory: "pkgs/b", Spec: "rpm/b.spec",
			Paths: []string{"pkgs/b/**", "macros/**", "!**/*.md"}},
	}
	mono.Sources.Directory = "" // its packages have their own
	srpms.Name, srpms.Layout, auto.Name = "srpms", rpmflow.LayoutSRPM, "auto"
	o.Projects = []rpmflow.Project{mono, srpms, auto}
	return o
}

// builds reads the records of a push's builds out of PUSHES, as "package" or "package=path of the source package".
func (w *fixture) builds(p pushed) (names []string, records []rpmflow.Build) {
	w.t.Helper()
	for _, msg := range w.messages(events.StreamPushes) {
		var ev struct{ Data rpmflow.Push }
		testkit.Must(w.t, json.Unmarshal(msg.Data, &ev))
		if ev.Data.ID != p.Push {
			continue
		}
		for _, b := range ev.Data.Builds {
			name := b.Package
			if b.Sources.SRPM != "" {
				name += "=" + b.Sources.SRPM
			}
			names, records = append(names, name), append(records, b)
		}
	}
	return names, records
}

// listed is a push in rpmflow's own form that lists its files.
func listed(before, after, delivery string, files, gone []string) []byte {
	raw, err := json.Marshal(map[string]any{"ref": "refs/heads/main", "before": before, "after": after,
		"delivery": delivery, "files": files, "gone": gone})
	if err != nil {
		panic(err)
	}
	return raw
}

func TestPushOfSeveralPackages(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	first := w.commit(map[string]string{"README.md": "1", "pkgs/a/a.spec": "1", "pkgs/b/rpm/b.spec": "1",
		"pkgs/ab/x": "1",
		"macros/x":  "1"})
	onlyA := w.commit(map[string]string{"pkgs/a/src/deep/x.c": "1"})
	shared := w.commit(map[string]string{"macros/x": "2"})
	none := w.commit(map[string]string{"README.md": "2", "pkgs/ab/x": "2", "pkgs/b/NEWS.md": "1"})
	w.git("-C", w.repo, "mv", "pkgs/a/src/deep/x.c", "pkgs/b/x.c")
	moved := w.commit(nil)
	deleted := w.commit(map[string]string{"pkgs/a/a.spec": ""})
	d := w.listen(w.monorepo())
	for _, test := range []struct {
		name, before, after string
		files               []string // in the delivery; nil: none are listed
		want                string
		says                string // part of the reason, or of the notes
	}{
		{"a new branch", zero, first, nil, "[a b]", "refs/heads/main is new"},
		{"without a commit before", "", first, nil, "[a b]", "does not say what was there before"},
		{"a file of one", first, onlyA, nil, "[a]", ""},
		{"a file that is in one's filter", onlyA, shared, nil, "[b]", ""},
		{"several commits", first, shared, nil, "[a b]", ""},
		{"no file of any", shared, none, nil, "[]",
			"no package is touched: 3 files were changed (README.md, pkgs/ab/x, pkgs/b/NEWS.md), " +
				"and looked for were those of a (pkgs/a/**), b (pkgs/b/**, macros/**, !**/*.md)"},
		{"a file moved from one to the other", none, moved, nil, "[a b]", ""},
		{"a package deleted", moved, deleted, nil, "[]",
			"nothing to build of a, which is not there any more: no directory pkgs/a at "},
		{"nothing", deleted, deleted, nil, "[]", "no file was changed"},
		{"an unknown old commit", strings.Repeat("ab", 20), deleted, nil, "[a b]", "commit abababababab is not in " +
			w.repo + " any more (force-pushed or deleted?)"},
		{"an unknown new commit", deleted, strings.Repeat("ab", 20), nil, "[a b]", "is not in"},
		{"the delivery says it", first, strings.Repeat("cd", 20), []string{"pkgs/a/x", "y"}, "[a]", ""},
		{"the delivery says that there is none", first, strings.Repeat("cd", 20), []string{}, "[]",
			"no file was changed"},
		{"the delivery does not say what was before a new branch", zero, first, []string{"pkgs/a/x"}, "[a b]",
			"is new"},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := payload("refs/heads/main", test.before, test.after, test.name)
			if test.files != nil {
				body = listed(test.before, test.after, test.name, test.files, nil)
			}
			a, p := d.deliver("mono", body)
			names, records := w.builds(p)
			if a.status >= 300 || fmt.Sprint(names) != test.want || (p.Reason == "") != (len(names) > 0) ||
				len(p.Builds) != len(names) {
				t.Fatalf("%d %s: %v, want %s", a.status, a.text, names, test.want)
			}
			said := p.Reason
			for i, b := range records {
				directory, spec := "pkgs/"+b.Package, ""
				if b.Package == "b" {
					spec = "pkgs/b/rpm/b.spec"
				}
				if b.Sources.Directory != directory || b.Spec != spec || b.Project != "mono" ||
					b.ID != p.Builds[i].ID ||
					b.ID != rpmflow.BuildID(p.Push, b.Package, b.Target) {
					t.Errorf("%+v", b)
				}
				said += strings.Join(b.Notes, "; ")
			}
			if !strings.Contains(said, test.says) || (test.says == "" && said != "") {
				t.Errorf("said is %q, want %q", said, test.says)
			}
			// The same delivery has the same answer, also if more is known by then.
			if again, q := d.deliver("mono", body); again.status != http.StatusOK || !q.Duplicate ||
				!slices.Equal(q.ids(), p.ids()) || q.Reason != p.Reason {
				t.Errorf("again: %d %s", again.status, again.text)
			}
		})
	}
}

// A package that a push has removed is not built, and the answer says so; others that it changes are.
func TestRemovedPackages(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	both := w.commit(map[string]string{"pkgs/a/a.spec": "1", "pkgs/a/x": "1", "pkgs/b/rpm/b.spec": "1", "pkgs/b/x": "1",
		"README": "1"})
	noSpec := w.commit(map[string]string{"pkgs/a/a.spec": ""})
	w.git("-C", w.repo, "checkout", "--quiet", "-b", "renamed", both)
	w.git("-C", w.repo, "mv", "pkgs/a", "pkgs/c")
	renamed := w.commit(map[string]string{"pkgs/b/x": "2"})
	w.git("-C", w.repo, "rm", "-r", "--quiet", "pkgs")
	none := w.commit(nil)
	w.git("-C", w.repo, "checkout", "--quiet", "-b", "newspec", both)
	w.git("-C", w.repo, "mv", "pkgs/a/a.spec", "pkgs/a/new.spec")
	newSpec := w.commit(nil)
	w.git("-C", w.repo, "checkout", "--quiet", "-b", "one", both)
	oneSpec := w.commit(map[string]string{"hello.spec": "1", "x.src.rpm": "1"})
	noneLeft := w.commit(map[string]string{"hello.spec": "", "x.src.rpm": ""})
	w.git("-C", w.repo, "checkout", "--quiet", "main")
	for name, test := range map[string]struct {
		project, before, after string
		files, gone            []string // in the delivery; nil: git is asked
		unread                 bool     // the listener has no mirrors
		want                   string
		says                   string // part of the reason, or of what is said of those that are not built
	}{
		"its spec": {"mono", both, noSpec, nil, nil, false, "[]",
			"nothing to build of a, which is not there any more: no spec file in pkgs/a at "},
		"renamed, others changed": {"mono", both, renamed, nil, nil, false, "[b]",
			"nothing to build of a, which is not there any more: no directory pkgs/a at "},
		"all": {"mono", renamed, none, nil, nil, false, "[]",
			"nothing to build of b, which is not there any more: no directory pkgs/b at "},
		"a spec under another name": {"mono", both, newSpec, nil, nil, false, "[a]", ""},
		"a new ref without it":      {"mono", zero, renamed, nil, nil, false, "[b]", "no directory pkgs/a at "},
		"a new ref without any":     {"mono", zero, none, nil, nil, false, "[]", "no directory pkgs/a at "},
		"the delivery lists it": {"mono", both, noSpec, []string{"pkgs/a/a.spec"}, []string{"pkgs/a/a.spec"}, false,
			"[]",
			"no spec file in pkgs/a"},
		"out of reach": {"mono", both, noSpec, []string{"pkgs/a/a.spec"}, []string{"pkgs/a/a.spec"}, true, "[]",
			"pkgs/a/a.spec was removed"},
		"out of reach, another": {"mono", both, newSpec, []string{"pkgs/a/a.spec", "pkgs/a/new.spec"},
			[]string{"pkgs/a/a.spec"}, true, "[a]", ""},
		"out of reach, a file": {"mono", both, newSpec, []string{"pkgs/a/x"}, []string{"pkgs/a/x"}, true, "[a]", ""},
		// there are those in pkgs
		"of one package": {"auto", oneSpec, noneLeft, []string{"hello.spec", "x.src.rpm"},
			[]string{"hello.spec", "x.src.rpm"}, false, "[auto]", ""},
		"a source package": {"srpms", oneSpec, noneLeft, nil, nil, false, "[]", "there is no source package"},
		"a source package, listed": {"srpms", oneSpec, noneLeft, []string{"x.src.rpm"}, []string{"x.src.rpm"}, true,
			"[]",
			"nothing to build of x.src.rpm, which is not there any more"},
		"the only spec": {"auto", renamed, none, []string{"hello.spec"}, []string{"hello.spec"}, false, "[]",
			"nothing to build of auto, which is not there any more: no spec file at "},
	} {
		t.Run(name, func(t *testing.T) {
			o := w.monorepo()
			o.DataDir = t.TempDir()
			if test.unread {
				o.Repositories = nil
			}
			d := w.listen(o)
			defer d.stop()
			body := payload("refs/heads/main", test.before, test.after, name)
			if test.files != nil {
				body = listed(test.before, test.after, name, test.files, test.gone)
			}
			a, p := d.deliver(test.project, body)
			names, _ := w.builds(p)
			if a.status >= 300 || fmt.Sprint(names) != test.want || (p.Reason == "") != (len(names) > 0) {
				t.Fatalf("%d %s: %v, want %s", a.status, a.text, names, test.want)
			}
			if said := p.Reason + strings.Join(p.NotBuilt, "; "); !strings.Contains(said, test.says) ||
				(test.says == "") != (said == "") {
				t.Errorf("said is %q, want %q", said, test.says)
			}
		})
	}
}

// GitHub's own lists of files are believed where they are complete, and git is asked where they are not.
func TestGitHubPushOfSeveralPackages(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	before := w.commit(map[string]string{"pkgs/a/x": "1", "pkgs/a/a.spec": "1", "pkgs/b/x": "1",
		"pkgs/b/rpm/b.spec": "1"})
	after := w.commit(map[string]string{"pkgs/b/x": "2"})
	o := w.monorepo()
	repositories := &fakeRepositories{Repositories: o.Repositories}
	o.Repositories = repositories
	d := w.listen(o)
	for name, test := range map[string]struct {
		more, want string
		looks      int
		header     []string
	}{
		// and not what git says
		"complete": {`"forced":false,"commits":[{"id":"` + after +
			`","added":[],"removed":["pkgs/a/y"],"modified":["README"]}]`, "[a]", 0, nil},
		"forced": {`"forced":true,"commits":[{"id":"` + after + `","modified":["pkgs/a/y"]}]`, "[b]", 1, nil},
		"cut":    {`"forced":false,"commits":[{"id":"` + after + `"}]`, "[b]", 1, nil},
		"Gitea's, one commit": {`"total_commits":1,"commits":[{"id":"` + after + `","modified":["pkgs/a/y"]}]`, "[b]",
			1,
			[]string{"X-Gitea-Event", "push", "X-Gitea-Delivery", "gitea"}},
	} {
		t.Run(name, func(t *testing.T) {
			looked := repositories.count()
			body := fmt.Sprintf(`{"ref":"refs/heads/main","before":%q,"after":%q,%s}`, before, after, test.more)
			a := d.do(http.MethodPost, "/hooks/github/mono", strings.NewReader(body),
				append(test.header, "Content-Type", "application/json",
					"X-GitHub-Event", "push", "X-GitHub-Delivery", name, "X-Hub-Signature-256",
					forge.Sign(secret, []byte(body)))...)
			var p pushed
			a.into(&p)
			if names, _ := w.builds(p); a.status != http.StatusAccepted || fmt.Sprint(names) != test.want ||
				repositories.count()-looked != test.looks {
				t.Errorf("%d %s: %v, %d looks", a.status, a.text, names, repositories.count()-looked)
			}
		})
	}
}

// fakeRepositories counts reads, and delays or fails them as a test wants.
type fakeRepositories struct {
	plan.Repositories
	looks chan struct{}
	slow  bool
	fail  error
	n     atomic.Int64
}

func (l *fakeRepositories) count() int { return int(l.n.Load()) }

func (l *fakeRepositories) look(ctx context.Context) error {
	l.n.Add(1)
	if l.slow {
		<-ctx.Done()
		l.looks <- struct{}{}
		return ctx.Err()
	}
	return l.fail
}

func (l *fakeRepositories) Changed(ctx context.Context, req source.Request, before string) ([]string, error) {
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	return l.Repositories.Changed(ctx, req, before)
}

func (l *fakeRepositories) SourcePackages(ctx context.Context, req source.Request) ([]source.SRPMFile, error) {
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	return l.Repositories.SourcePackages(ctx, req)
}

// A repository that is slow, out of reach or not looked at delays a push for a bounded time, and never loses it.
func TestPushWithoutReadingTheRepository(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	before := w.commit(map[string]string{"pkgs/a/x": "1", "pkgs/b/x": "1"})
	after := w.commit(map[string]string{"pkgs/b/x": "2", "hello-1-1.src.rpm": "x"})
	for name, test := range map[string]struct {
		repositories plan.Repositories
		says         string
	}{
		"slow": {&fakeRepositories{slow: true, looks: make(chan struct{}, 10)},
			"the repository could not be read in time"},
		"out of reach": {&fakeRepositories{fail: errors.New("dial 10.0.0.1: secret")},
			"the repository could not be read; the listener's log says why"},
		"refused": {&fakeRepositories{fail: fmt.Errorf("git: %w", rpmflow.Fail(rpmflow.FailureSource, "x",
			"repository not found"))}, "repository not found"},
		"no mirrors": {nil, "this listener keeps no git mirrors"},
	} {
		t.Run(name, func(t *testing.T) {
			o := w.monorepo()
			o.Repositories, o.RequestTimeout = test.repositories, 4*time.Second
			d := w.listen(o)
			defer d.stop()
			begun := time.Now()
			_, mono := d.deliver("mono", payload("refs/heads/main", before, after, name))
			names, records := w.builds(mono)
			if fmt.Sprint(names) != "[a b]" || !strings.HasSuffix(strings.Join(records[0].Notes, ""), test.says) ||
				strings.Contains(fmt.Sprint(records), "secret") {
				t.Errorf("%v, %q", names, records[0].Notes)
			}
			_, guess := d.deliver("srpms", listed(before, after, name, []string{"hello-1-1.src.rpm", "gone-1-1.src.rpm",
				"README", "deep/x-1-1.src.rpm"}, []string{"gone-1-1.src.rpm"}))
			if names, records = w.builds(guess); fmt.Sprint(names) != "[hello=hello-1-1.src.rpm]" ||
				!strings.Contains(records[0].Notes[0], test.says) {
				t.Errorf("%v, %+v", names, records)
			}
			_, blind := d.deliver("srpms", payload("refs/heads/main", before, after, name+" blind"))
			if names, records = w.builds(blind); fmt.Sprint(names) != "[srpms]" ||
				records[0].Layout != rpmflow.LayoutSRPM ||
				!strings.Contains(records[0].Notes[0], test.says) {
				t.Errorf("%v, %+v", names, records)
			}
			if took := time.Since(begun); took > 8*time.Second {
				t.Errorf("answered after %s", took)
			}
			a, _ := d.submit(`{"project":"srpms","ref":"refs/heads/main","commit":"` + after + `"}`)
			if a.status != http.StatusBadGateway && a.status != http.StatusBadRequest {
				t.Errorf("a submission, which can be made again: %d %s", a.status, a.text)
			}
		})
	}
}
